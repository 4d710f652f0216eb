// Lists and texts that change in place: what is the same is not touched, so that focus, selection and a screen reader's
// place survive every update.

/** Sets an element's text if it is another one. @param {Element} element @param {string|number} text */
export function put(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Sets an attribute if it has another value. @param {Element} element @param {string} name @param {string|number} value */
export function mark(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Makes the children of `parent` those of `items`, each key keeping its element.
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {{key: (item: T) => string|number, make: () => HTMLElement, update: (element: HTMLElement, item: T) => void}} how
 */
export function reconcile(parent, items, { key, make, update }) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => known.get(String(key(item))) ?? keyed(make(), key(item)));
  const kept = new Set(wanted);
  for (const child of known.values()) if (!kept.has(child)) child.remove();
  wanted.forEach((element, place) => {
    if (parent.children[place] !== element) parent.insertBefore(element, parent.children[place] ?? null);
    update(element, items[place]);
  });
}

function keyed(element, key) {
  element.dataset.key = String(key);
  return element;
}
