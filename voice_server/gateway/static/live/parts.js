/** The elements of a talk, without what they do. */

import { button } from "../kit/buttons.js";
import { el, mark } from "../kit/dom.js";
import { translate } from "../kit/i18n.js";
import { icon } from "../kit/icons.js";
import { recall } from "../kit/settings.js";

export const LAMPS = ["you", "thinking", "voice"];
const FLOOR_DB = -60; // the left end of the meter

/** @param {HTMLElement} root */
export function build(root) {
  const log = el("div", { class: "live-stage" });
  const none = noneListens();
  const partial = el("p", { class: "live-partial", "aria-live": "off" }, el("span", { class: "live-certain" }), el("span", { class: "live-tentative" }));
  const form = composeForm(partial);
  const clear = el("button", { class: "chip", type: "button", "data-i18n": "live.clear" });
  const head = el("div", { class: "row" }, el("h2", { class: "grow", "data-i18n": "live.title" }), lamps(), clear);
  root.append(el("section", { class: "panel stack live" }, head, none, log, form.element));
  translate(root);
  return { root, log, none, clear, certain: partial.firstChild, tentative: partial.lastChild, partial, ...form };
}

function lamps() {
  const lamp = (name) => el("span", { class: "live-lamp", "data-lamp": name }, el("span", { class: "lamp" }), el("span", { "data-i18n": `live.lamp.${name}` }));
  return el("div", { class: "row live-lamps" }, ...LAMPS.map(lamp));
}

/** How to start a server that listens. */
function noneListens() {
  const how = el("code", { text: "python -m voice_server --backend hibari --backend whisper-tiny" });
  return el("div", { class: "live-none", hidden: true }, el("p", { "data-i18n": "live.none" }), how);
}

function composeForm(partial) {
  const mic = el("button", { class: "live-mic", id: "live-mic", type: "button", "aria-pressed": "false", "data-i18n-label": "live.mic" }, icon("mic"));
  const meter = el("div", { class: "studio-meter live-meter", role: "meter", "data-i18n-label": "live.level" }, el("i"));
  mark(meter, "aria-valuemin", FLOOR_DB);
  mark(meter, "aria-valuemax", 0);
  const hint = el("p", { class: "muted small", id: "live-hint", role: "status" });
  const label = el("label", { class: "visually-hidden", for: "live-draft", "data-i18n": "live.draft" });
  const draft = el("textarea", { id: "live-draft", rows: 2, "data-i18n-placeholder": "live.placeholder" });
  const send = button("speaker", "live.speak", "primary", { type: "submit", id: "live-send", "aria-keyshortcuts": "Control+Enter Meta+Enter" });
  const speak = button("speaker", "live.speak", "", { id: "live-speak", hidden: true });
  const stop = button("stop", "live.stop", "", { id: "live-stop", "aria-keyshortcuts": "Escape" });
  const auto = el("input", { type: "checkbox", role: "switch", id: "live-auto", checked: recall("live.auto", true) });
  const by = el("label", { class: "switch small" }, auto, el("span", { "data-i18n": "live.auto" }));
  const countdown = el("span", { class: "live-countdown number small", id: "live-countdown" });
  const act = el("div", { class: "row" }, send, speak, stop, countdown, el("span", { class: "grow" }), by);
  const hear = el("div", { class: "live-hear" }, mic, el("div", { class: "stack live-heard" }, meter, partial, hint));
  const element = el("form", { class: "stack" }, hear, label, draft, act);
  return { element, mic, meter, hint, draft, send, speak, stop, auto, countdown };
}

/** @param {HTMLElement} meter @param {number} level RMS of full scale */
export function drawLevel(meter, level, isSpeaking) {
  const dB = Math.max(FLOOR_DB, 20 * Math.log10(Math.max(level, 1e-6)));
  meter.firstChild.style.setProperty("--part", (1 - dB / FLOOR_DB).toFixed(3));
  mark(meter, "data-zone", isSpeaking ? "good" : "quiet");
  mark(meter, "aria-valuenow", Math.round(dB));
}
