/** The voice is made: it speaks a sentence at once, if any backend here can speak it. */

import { button } from "../kit/buttons.js";
import { el } from "../kit/dom.js";
import { t, translate } from "../kit/i18n.js";
import { icon } from "../kit/icons.js";
import { tell } from "../kit/problems.js";

/**
 * @param {HTMLElement} root
 * @param {{name: string, backends: string[]}} voice as the server made it
 * @param {{api: typeof import("../kit/api.js").api, onAnother: () => void}} deps
 */
export async function showDone(root, voice, { api, onAnother }) {
  const [backend] = voice.backends ?? [];
  const told = el("strong", { text: t("studio.made", { name: voice.name }) });
  const title = el("p", { class: "studio-made", tabindex: "-1" }, icon("check"), told);
  const hint = el("p", { class: "muted small", "data-i18n": backend ? "studio.preview" : "studio.nobody_speaks" });
  const audio = el("audio", { controls: true, hidden: true, "data-i18n-label": "studio.preview" });
  const another = button("plus", "studio.make_another", "", { onclick: onAnother });
  root.replaceChildren(title, hint, audio, el("div", { class: "row" }, another));
  translate(root);
  title.focus();
  if (backend) await preview(audio, pathOf(voice.name, backend), api);
}

function pathOf(voice, backend) {
  return `v1/audio/voices/${encodeURIComponent(voice)}/preview?backend=${encodeURIComponent(backend)}`;
}

async function preview(audio, path, api) {
  try {
    const sound = await api.blob(path);
    if (!audio.isConnected) return; // the person went on
    audio.src = URL.createObjectURL(sound);
    audio.hidden = false;
  } catch (error) {
    tell(error);
    return;
  }
  await audio.play().catch(() => null); // a browser that lets nothing sound without a click: its button is there
}
