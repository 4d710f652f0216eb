/** How one voice looks in the list: a radio button with what is known of it, and what can be done with it. */

import { el } from "../kit/dom.js";
import { number, t } from "../kit/i18n.js";
import { icon } from "../kit/icons.js";

const PREVIEW_ICON = { idle: "speaker", loading: "clock", playing: "stop" };

/**
 * @param {string} title
 * @param {object[]} voices
 * @param {{chosen: string, standard: string, preview: import("./preview.js").Preview}} state
 * @param {{choose: (name: string) => void, preview: (name: string) => void, remove: (name: string) => void}} actions
 */
export function group(title, voices, state, actions) {
  const head = el("h3", {}, el("span", { text: title }), el("span", { class: "number", text: voices.length }));
  return el("div", { class: "voice-group", role: "group", "aria-label": title }, head, ...voices.map((voice) => row(voice, state, actions)));
}

function row(voice, { chosen, standard, preview }, actions) {
  const { name } = voice;
  const id = `voice-${name}`;
  const meta = facts(voice, `${id}-facts`);
  const about = meta?.id ?? null; // a name of its own: nobody wants to hear a whole transcript with each step
  const radio = el("input", { type: "radio", name: "voice", id, value: name, "aria-label": name, "aria-describedby": about });
  radio.checked = name === chosen;
  radio.addEventListener("change", () => actions.choose(name));
  const words = el("span", { class: "voice-name", text: name });
  const badge = name === standard ? el("span", { class: "chip", text: t("voices.default") }) : null;
  const label = el("label", { for: id }, radio, el("span", { class: "voice-words" }, el("span", { class: "voice-title" }, words, badge), meta));
  const state = preview.name === name ? preview.state : "idle";
  const hear = button(`${id}-preview`, PREVIEW_ICON[state], t(state === "idle" ? "voices.preview" : "voices.stop", { name }), () => actions.preview(name));
  hear.dataset.state = state;
  const isOwn = voice.kind === "sample";
  const remove = isOwn ? button(`${id}-delete`, "trash", t("voices.deleteNamed", { name }), () => actions.remove(name)) : null;
  return el("div", { class: "voice", "data-voice": name }, label, hear, remove);
}

function facts(voice, id) {
  const told = [
    voice.language,
    voice.duration_s ? t("voices.seconds", { seconds: number(voice.duration_s, 1) }) : "",
    voice.transcript ? `“${voice.transcript}”` : "",
  ].filter(Boolean);
  return told.length ? el("span", { id, class: "voice-facts muted", text: told.join(" · "), title: voice.transcript }) : null;
}

function button(id, symbol, label, act) {
  return el("button", { class: "icon-button", type: "button", id, "aria-label": label, title: label, onclick: act }, icon(symbol));
}
