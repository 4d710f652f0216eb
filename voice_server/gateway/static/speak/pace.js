/** The switch "type like a language model" and how fast it types; both are remembered. */

import { el } from "../kit/dom.js";
import { onLanguage, t, translate } from "../kit/i18n.js";
import { recall, remember } from "../kit/settings.js";

const USUAL = 20; // tokens per second: what hosted models do
const SLOWEST = 2;
const FASTEST = 100;

/**
 * @param {HTMLElement} root
 * @returns {{value: () => number|null}} tokens per second; null: all at once
 */
export function mountPace(root) {
  const input = el("input", { type: "checkbox", role: "switch", id: "llm-mode", checked: recall("llm", false) });
  const words = el("span", { "data-i18n": "pace.llm", "data-i18n-title": "pace.why" });
  const slider = el("input", { type: "range", id: "pace", min: SLOWEST, max: FASTEST, step: 1, "data-i18n-label": "pace.label" });
  slider.value = recall("pace", USUAL);
  const told = el("output", { class: "number muted", for: "pace" });
  root.append(el("label", { class: "switch" }, input, words), el("span", { class: "pace-slider" }, slider, told));
  translate(root);
  const draw = () => {
    told.textContent = t("pace.tokens", { count: slider.value });
    slider.setAttribute("aria-valuetext", told.textContent);
    slider.disabled = !input.checked;
    root.classList.toggle("is-off", !input.checked);
  };
  input.addEventListener("change", () => {
    remember("llm", input.checked);
    draw();
  });
  slider.addEventListener("input", () => {
    remember("pace", slider.valueAsNumber);
    draw();
  });
  onLanguage(draw);
  draw();
  return { value: () => (input.checked ? slider.valueAsNumber : null) };
}
