/** The voice is made: it speaks a sentence at once, if any backend here can speak it. */

import { el } from "./dom.js";
import { t, translate } from "./i18n.js";
import { icon } from "./icons.js";
import { tell } from "./problems.js";

/**
 * @param {HTMLElement} root
 * @param {{name: string, backends: string[]}} voice as the server made it
 * @param {{api: typeof import("./api.js").api, onAnother: () => void}} deps
 */
export async function showDone(root, voice, { api, onAnother }) {
  const [backend] = voice.backends ?? [];
  const title = el("p", { class: "studio-made", tabindex: "-1" }, icon("check"), el("strong", { text: t("studio.made", { name: voice.name }) }));
  const hint = el("p", { class: "muted small", "data-i18n": backend ? "studio.preview" : "studio.nobody_speaks" });
  const audio = el("audio", { controls: true, hidden: true, "data-i18n-label": "studio.preview" });
  const another = el("button", { class: "button", type: "button", onclick: onAnother }, icon("plus"), el("span", { "data-i18n": "studio.make_another" }));
  root.replaceChildren(title, hint, audio, el("div", { class: "row" }, another));
  translate(root);
  title.focus();
  if (backend) await preview(audio, `v1/audio/voices/${encodeURIComponent(voice.name)}/preview?backend=${encodeURIComponent(backend)}`, api);
}

async function preview(audio, path, api) {
  try {
    audio.src = URL.createObjectURL(await api.blob(path));
    audio.hidden = false;
  } catch (error) {
    tell(error);
    return;
  }
  await audio.play().catch(() => null); // a browser that lets nothing sound without a click: its button is there
}
