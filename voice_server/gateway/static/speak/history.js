/**
 * The list of what was said: play it again, keep it as a file, forget it.
 *
 * Promises: an answer stands there as soon as it has been heard or cut off; the list survives a reload, and where the
 * browser does not allow that, it says so.
 */

import { confirmThat } from "../kit/dialogs.js";
import { el, mark, put, reconcile, svg } from "../kit/dom.js";
import { fileName, save, wavOf } from "./download.js";
import { seconds } from "../kit/figures.js";
import { currentLanguage, onLanguage, t, translate } from "../kit/i18n.js";
import { icon } from "../kit/icons.js";
import { tell } from "../kit/problems.js";
import { clock } from "../sound/timeline.js";

export { openHistory } from "./archive.js";

const BAR = { step: 2, height: 28, least: 0.06 };

/**
 * @param {HTMLElement} root
 * @param {{conversation: import("../sound/conversation.js").Conversation, history: Awaited<ReturnType<typeof import("./archive.js").openHistory>>}} deps
 * @returns {{refresh: () => Promise<void>}}
 */
export function mountHistory(root, { conversation, history }) {
  const parts = build(root, history);
  const refresh = () => drawList(parts, conversation, history, refresh);
  const change = (act) => act().then(refresh, (problem) => tell({ code: "history_failed", msg: String(problem) }));
  conversation.addEventListener("finished", ({ detail }) => detail.take.frames && change(() => history.add(detail.take)));
  for (const name of ["take", "state"]) conversation.addEventListener(name, () => drawCurrent(parts, conversation));
  parts.clear.addEventListener("click", async () => {
    const isMeant = await confirmThat(t("history.clear.title"), t("history.clear.text"), t("history.clear.act"));
    if (isMeant) change(() => history.clear());
  });
  document.addEventListener("visibilitychange", () => document.hidden || refresh()); // another tab may have spoken
  onLanguage(refresh);
  change(async () => {});
  return { refresh };
}

function build(root, history) {
  const clear = el("button", { class: "chip", type: "button", hidden: true, "data-i18n": "history.clear" });
  const note = el("p", { class: "history-note small muted", "data-i18n": history.isKept ? "history.kept" : "history.unkept" });
  const list = el("ol", { class: "history-list" });
  const head = el("div", { class: "row" }, el("h2", { class: "grow", "data-i18n": "history.title" }), clear);
  root.classList.add("panel", "stack");
  root.append(head, note, list);
  translate(root);
  return { clear, note, list };
}

async function drawList(parts, conversation, history, refresh) {
  const summaries = await history.list();
  parts.clear.hidden = !summaries.length;
  parts.note.hidden = summaries.length > 0 && history.isKept;
  reconcile(parts.list, summaries, {
    key: ({ id }) => id,
    make: (summary) => makeEntry(summary, conversation, history, refresh),
    update: updateEntry,
  });
  drawCurrent(parts, conversation);
}

function drawCurrent({ list }, { take, state }) {
  for (const entry of list.children) {
    const isCurrent = entry.dataset.key === take?.id;
    mark(entry, "aria-current", isCurrent);
    entry.classList.toggle("is-heard", isCurrent && state !== "idle");
  }
}

function makeEntry(summary, conversation, history, refresh) {
  const { id } = summary;
  const withTake = async (act) => act(await history.get(id) ?? tell({ code: "history_gone", msg: "it is not kept any more" }));
  const play = () => withTake((take) => take && conversation.replay(take));
  const keep = () => withTake(async (take) => take && save(await wavOf(take), fileName(take, "wav")));
  const forget = () => history.remove(id).then(refresh);
  const again = el("button", { class: "history-play", type: "button", onclick: play }, shapeOf(summary), words(summary));
  const buttons = [button("download", keep), button("trash", forget)];
  return el("li", { class: "history-entry" }, again, el("div", { class: "history-buttons" }, ...buttons));
}

function words({ text }) {
  return el("span", { class: "history-words" }, el("span", { class: "history-text", text: text.trim() }), el("span", { class: "history-facts" }));
}

function updateEntry(entry, { at, text, voice, backend, state, durationS }) {
  const when = new Date(at).toLocaleString(currentLanguage(), whenFormat(at));
  const told = [when, lengthOf(durationS), voice || backend, state === "complete" ? null : t(`history.${state}`)];
  put(entry.querySelector(".history-facts"), told.filter(Boolean).join(" · "));
  for (const name of ["download", "trash"]) label(entry.querySelector(`[data-act="${name}"]`), t(`history.${name}`, { text: excerpt(text) }));
  mark(entry.querySelector(".history-play"), "title", t("history.play"));
}

const lengthOf = (durationS) => (durationS < 60 ? seconds(durationS) : clock(durationS));

function label(element, text) {
  mark(element, "aria-label", text);
  mark(element, "title", text);
}

const excerpt = (text) => (text.length > 30 ? `${text.trim().slice(0, 29)}…` : text.trim());

const button = (name, onclick) => el("button", { class: "icon-button", type: "button", "data-act": name, onclick }, icon(name));

function whenFormat(at) {
  const isToday = new Date(at).toDateString() === new Date().toDateString();
  const time = { hour: "2-digit", minute: "2-digit" };
  return isToday ? time : { ...time, month: "short", day: "numeric" };
}

/** The sound as a small picture. */
function shapeOf({ shape }) {
  const { step, height, least } = BAR;
  const line = (peak, at) => {
    const length = Math.max(least, Math.sqrt(peak)) * height;
    return `M${at * step + 1} ${((height - length) / 2).toFixed(1)}v${length.toFixed(1)}`;
  };
  const box = { class: "history-shape", viewBox: `0 0 ${shape.length * step} ${height}`, "aria-hidden": "true" };
  return svg("svg", { ...box, preserveAspectRatio: "none" }, svg("path", { d: shape.map(line).join("") }));
}
