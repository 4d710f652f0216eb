/**
 * Elements without a framework: made in one line, and lists that change in place.
 *
 * Promises: text from a server only ever becomes text; what did not change is not touched, so that focus, selection
 * and a screen reader's place survive every update.
 */

/**
 * @param {string} tag
 * @param {Record<string, string | number | boolean | null | EventListener>} [attributes] a function is a listener:
 *   `onclick`; `text` is the content; null is left out
 * @param {...(Node | string | null)} children null is left out
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  dress(element, attributes);
  element.append(...children.filter((child) => child != null));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** The same for pictures. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  dress(element, attributes);
  element.append(...children);
  return element;
}

function dress(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null) continue;
    if (name === "text") element.textContent = value;
    else if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
}

/** Sets an element's text if it is another one. */
export function put(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Sets an attribute if it has another value. */
export function mark(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Makes the children of `parent` those of `items`, keeping the element of each key.
 *
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {{key: (item: T) => string | number, make: (item: T) => HTMLElement, update: (element: any, item: T) => void}} how
 */
export function reconcile(parent, items, { key, make, update }) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => known.get(String(key(item))) ?? keyed(make(item), key(item)));
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
