// Elements without innerHTML: what a user or an engine wrote can only ever become text.

/**
 * Makes an element.
 * @param {string} tag
 * @param {Object<string, *>} [attributes] `class`, `text`, `hidden`…; `onclick` and its like become listeners; false and
 *   null leave an attribute out; `data-i18n…` is filled by translate()
 * @param {...(Node|string|null)} children
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...children.filter((child) => child != null));
  return element;
}

function set(element, name, value) {
  if (value == null || value === false) return;
  if (name === "text") element.textContent = value;
  else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (["value", "checked", "disabled", "hidden", "open"].includes(name)) element[name] = value;
  else element.setAttribute(name, value === true ? "" : value);
}
