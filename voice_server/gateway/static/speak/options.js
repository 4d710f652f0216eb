/**
 * The options of a backend, drawn from its own table.
 *
 * Promises: knows no option by name; what was not changed is not sent, so that the server's defaults stay in force; what
 * cannot be right is not kept. Changes are remembered for each backend.
 */

import { el } from "../kit/dom.js";
import { hasWords, onLanguage, t, translate } from "../kit/i18n.js";
import { icon } from "../kit/icons.js";
import { recall, remember } from "../kit/settings.js";

const SLIDER_STEPS = 10_000; // a range with more has no slider: nobody hits a seed with one
const DRAWN = { float: drawNumber, int: drawNumber, bool: drawSwitch, choice: drawChoice, str: drawText };

/**
 * @param {HTMLElement} root
 * @returns {{show: (backend: {name: string, options: Object<string, object>} | null) => void,
 *   values: () => Object<string, *>}} `values` are those that differ from the defaults
 */
export function mountOptions(root) {
  let shown = null;
  const count = el("span", { class: "chip", hidden: true });
  const title = el("span", { "data-i18n": "options.title" });
  const reset = el("button", { class: "button quiet", type: "button", "data-i18n": "options.resetAll" });
  const grid = el("div", { class: "options-grid" });
  const fold = el("details", { class: "options" }, el("summary", {}, icon("sliders"), title, count, icon("chevron")), grid, reset);
  root.append(fold);
  translate(root);
  fold.open = recall("options.open", false);
  fold.addEventListener("toggle", () => remember("options.open", fold.open));

  const key = () => `options.${shown.name}`;
  const changed = () => (shown ? recall(key(), {}) : {});
  const keep = (name, value) => {
    const { [name]: _, ...others } = changed();
    remember(key(), value === undefined ? others : { ...others, [name]: value });
    tally();
  };
  const tally = () => {
    const many = Object.keys(values()).length;
    count.hidden = reset.hidden = !many;
    count.textContent = t("options.changed", { count: many });
  };
  const values = () => fitting(changed(), shown?.options ?? {});
  const draw = () => {
    const kept = values();
    const rows = Object.entries(shown?.options ?? {}).map(([name, spec]) => row(name, spec, kept[name], keep));
    fold.hidden = !rows.length;
    grid.replaceChildren(...rows);
    tally();
  };
  reset.addEventListener("click", () => {
    remember(key(), undefined);
    draw();
    fold.querySelector("summary").focus();
  });
  onLanguage(draw);
  draw();
  return {
    values,
    show(backend) {
      const isSame = JSON.stringify(backend?.options) === JSON.stringify(shown?.options) && backend?.name === shown?.name;
      shown = backend;
      if (!isSame) draw(); // else somebody may be typing there
    },
  };
}

/** What was remembered may be of another version of the backend. */
function fitting(values, specs) {
  return Object.fromEntries(Object.entries(values).filter(([name, value]) => name in specs && fits(value, specs[name])));
}

function fits(value, { type, min, max, choices }) {
  if (type === "bool") return typeof value === "boolean";
  if (type === "choice") return choices.includes(value);
  if (type === "str") return typeof value === "string";
  return Number.isFinite(value) && value >= (min ?? -Infinity) && value <= (max ?? Infinity);
}

function row(name, spec, kept, keep) {
  const id = `option-${name}`;
  const reset = el("button", { class: "icon-button", type: "button", "aria-label": t("options.reset", { name }) }, icon("replay"));
  reset.title = t("options.resetTo", { value: shownValue(spec) });
  reset.hidden = kept === undefined;
  const set = (value) => {
    const isDefault = value === spec.default || value === undefined;
    reset.hidden = isDefault;
    keep(name, isDefault ? undefined : value);
  };
  const control = DRAWN[spec.type](id, spec, kept ?? spec.default, set);
  reset.addEventListener("click", () => {
    control.put(spec.default);
    set(undefined);
    control.focus();
  });
  const help = spec.help ? el("p", { class: "help", id: `${id}-help`, text: spec.help }) : null;
  if (help) control.labelled.forEach((input) => input.setAttribute("aria-describedby", help.id));
  const word = label(name);
  const code = word.toLowerCase() === name ? null : el("code", { text: name, class: "muted" });
  const words = el("label", { for: id }, el("span", { text: word }), code);
  const head = el("div", { class: "option-head" }, words, reset);
  return el("div", { class: "field option", "data-option": name }, head, control.element, help);
}

const label = (name) => (hasWords(`option.${name}`) ? t(`option.${name}`) : name.replaceAll("_", " "));

const shownValue = ({ default: value }) => (value === null || value === "" ? t("options.unset") : String(value));

function drawNumber(id, spec, value, set) {
  const { min, max, type } = spec;
  const step = type === "int" ? 1 : 10 ** (Math.floor(Math.log10((max ?? 1) - (min ?? 0) || 1)) - 2);
  const number = el("input", { type: "number", id, min, max, step: type === "int" ? 1 : "any", placeholder: t("options.unset") });
  const hasSlider = min !== null && max !== null && spec.default !== null && (max - min) / step <= SLIDER_STEPS;
  const slider = hasSlider ? el("input", { type: "range", min, max, step, "aria-label": label(id.slice("option-".length)) }) : null;
  const put = (wanted) => {
    number.value = wanted ?? "";
    if (slider) slider.value = wanted ?? spec.default;
  };
  slider?.addEventListener("input", () => {
    number.value = slider.valueAsNumber;
    set(slider.valueAsNumber);
  });
  number.addEventListener("change", () => {
    const nearest = nearestFit(number.valueAsNumber, spec);
    put(nearest ?? spec.default);
    set(nearest);
  });
  put(value);
  const element = el("div", { class: slider ? "option-number" : "option-number bare" }, slider, number);
  return { element, put, focus: () => number.focus(), labelled: [number, slider].filter(Boolean) };
}

/** undefined for no number at all: the default then. */
function nearestFit(value, { min, max, type }) {
  if (!Number.isFinite(value)) return undefined;
  const inRange = Math.min(Math.max(value, min ?? -Infinity), max ?? Infinity);
  return type === "int" ? Math.round(inRange) : inRange;
}

function drawSwitch(id, spec, value, set) {
  const input = el("input", { type: "checkbox", role: "switch", id });
  const word = el("span", { class: "muted" });
  const put = (wanted) => {
    input.checked = Boolean(wanted);
    word.textContent = t(input.checked ? "options.on" : "options.off");
  };
  input.addEventListener("change", () => {
    put(input.checked);
    set(input.checked);
  });
  put(value);
  return { element: el("span", { class: "switch" }, input, word), put, focus: () => input.focus(), labelled: [input] };
}

function drawChoice(id, spec, value, set) {
  const unset = spec.default === null ? [el("option", { value: "", text: t("options.unset") })] : [];
  const select = el("select", { id }, ...unset, ...spec.choices.map((choice) => el("option", { value: choice, text: choice })));
  const put = (wanted) => (select.value = wanted ?? "");
  select.addEventListener("change", () => set(select.value || undefined));
  put(value);
  return { element: select, put, focus: () => select.focus(), labelled: [select] };
}

function drawText(id, spec, value, set) {
  const input = el("input", { type: "text", id, maxlength: spec.max, minlength: spec.min, placeholder: t("options.unset"), autocomplete: "off" });
  const put = (wanted) => (input.value = wanted ?? "");
  input.addEventListener("input", () => set(input.value === "" && spec.default === null ? undefined : input.value));
  put(value);
  return { element: input, put, focus: () => input.focus(), labelled: [input] };
}
