/** A button with an icon and words that follow the language. */

import { el } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @param {string} picture of icons.js
 * @param {string} key of its words
 * @param {string} [kind] "primary", "quiet"
 * @param {object} [attributes] more of them
 */
export function button(picture, key, kind = "", attributes = {}) {
  const words = el("span", { "data-i18n": key });
  return el("button", { class: `button ${kind}`.trim(), type: "button", ...attributes }, icon(picture), words);
}
