/**
 * The voices of a backend: to search, hear, choose, and delete where they are your own.
 *
 * Promises: a choice is kept for each backend; a voice that is gone gives way to the default one; one preview sounds at a
 * time.
 */

import { confirmThat } from "../kit/dialogs.js";
import { el } from "../kit/dom.js";
import { onLanguage, t, translate } from "../kit/i18n.js";
import { icon } from "../kit/icons.js";
import { Preview } from "./preview.js";
import { tell } from "../kit/problems.js";
import { recall, remember } from "../kit/settings.js";
import { group } from "./voice-rows.js";

const LIST = "v1/audio/voices";
const GROUPS = ["sample", "engine"]; // a voice somebody made is what they look for

/**
 * @param {HTMLElement} root
 * @param {{api: typeof import("../kit/api.js").api}} deps
 * @returns {{show: (backend: object|null) => Promise<void>, value: () => string, select: (name: string) => Promise<void>,
 *   hush: () => void}} `value` is "" where the server shall choose
 */
export function mountVoices(root, { api }) {
  const parts = build(root);
  const preview = new Preview(api, () => draw());
  let backend = null;
  let known = []; // voices of all backends
  const mine = () => known.filter((voice) => voice.backends.includes(backend?.name));
  const chosen = () => {
    const kept = recall(`voice.${backend?.name}`, "");
    const names = mine().map((voice) => voice.name);
    return names.includes(kept) || !names.length ? kept : (backend?.voice ?? "");
  };
  const draw = () => drawAll(parts, { backend, voices: mine(), known, chosen: chosen(), preview }, actions);
  const look = async () => {
    known = (await api.get(LIST)).voices.map(complete);
    draw();
  };
  const actions = {
    choose: (name) => remember(`voice.${backend.name}`, name),
    preview: (name) => preview.toggle(name, backend.name),
    async remove(name) {
      if (!(await confirmThat(t("voices.deleteTitle", { name }), t("voices.deleteText"), t("voices.delete")))) return;
      preview.stop();
      await quietly(async () => {
        await api.remove(`${LIST}/${encodeURIComponent(name)}`);
        await look();
      });
      parts.search.focus();
    },
  };
  parts.refresh.addEventListener("click", () => quietly(look));
  parts.search.addEventListener("input", draw);
  onLanguage(draw);
  draw();
  return {
    value: () => chosen(),
    hush: () => preview.stop(),
    async show(wanted) {
      const isNew = wanted?.name !== backend?.name;
      const hasNew = JSON.stringify([wanted?.name, wanted?.voices]) !== JSON.stringify([backend?.name, backend?.voices]);
      backend = wanted;
      if (isNew) preview.stop();
      draw();
      if (hasNew) await quietly(look);
    },
    async select(name) {
      if (backend) remember(`voice.${backend.name}`, name);
      await quietly(look);
      parts.list.querySelector("input:checked")?.scrollIntoView({ block: "nearest" });
    },
  };
}

async function quietly(act) {
  try {
    await act();
  } catch (error) {
    tell(error);
  }
}

/** Servers of before voices were made here tell less. */
const complete = (voice) => ({ kind: "engine", aliases: [], ...voice, backends: voice.backends ?? [voice.model] });

function build(root) {
  const count = el("span", { class: "chip", hidden: true });
  const refresh = el("button", { class: "icon-button", type: "button", "data-i18n-label": "voices.refresh", "data-i18n-title": "voices.refresh" });
  refresh.append(icon("refresh"));
  const search = el("input", { type: "search", autocomplete: "off", "data-i18n-label": "voices.search", "data-i18n-placeholder": "voices.search" });
  const head = el("div", { class: "row" }, el("h2", { "data-i18n": "voices.title" }), count, el("span", { class: "grow" }), refresh);
  const list = el("div", { class: "voice-list", role: "radiogroup", "data-i18n-label": "voices.title" });
  const note = el("p", { class: "voice-note muted small", hidden: true });
  root.classList.add("stack");
  root.append(head, el("div", { class: "voice-search" }, icon("search"), search), list, note);
  translate(root);
  return { count, refresh, search, list, note };
}

function drawAll(parts, { backend, voices, known, chosen, preview }, actions) {
  const found = voices.filter((voice) => matches(voice, parts.search.value));
  const focused = parts.list.contains(document.activeElement) ? document.activeElement.id : "";
  parts.count.textContent = voices.length;
  parts.count.hidden = !voices.length;
  const state = { chosen, standard: backend?.voice ?? "", preview };
  const groups = GROUPS.map((kind) => [kind, found.filter((voice) => voice.kind === kind)]).filter(([, some]) => some.length);
  parts.list.replaceChildren(...groups.map(([kind, some]) => group(t(`voices.${kind}`), some, state, actions)));
  if (!groups.length) parts.list.append(el("p", { class: "muted voice-none", text: emptiness(backend, voices) }));
  if (focused) document.getElementById(focused)?.focus();
  parts.note.textContent = cloningNote(backend, known);
  parts.note.hidden = !parts.note.textContent;
}

/** Every word of the search is somewhere in what is known of the voice. */
function matches(voice, search) {
  const told = [voice.name, voice.language, voice.transcript, ...voice.aliases].join(" ").toLowerCase();
  return search.toLowerCase().split(/\s+/).every((word) => told.includes(word));
}

function emptiness(backend, voices) {
  if (voices.length) return t("voices.noneFound");
  return t(backend?.ready ? "voices.none" : "voices.notYet");
}

function cloningNote(backend, known) {
  if (!backend?.ready || backend.can_clone) return "";
  const others = new Set(known.filter((voice) => voice.kind === "sample").flatMap((voice) => voice.backends));
  const who = [...others].filter((name) => name !== backend.name).join(", ");
  return who ? t("voices.cannotClone", { backend: backend.name, others: who }) : t("voices.nobodyClones", { backend: backend.name });
}
