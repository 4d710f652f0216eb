/**
 * The talk as one sees it: a list of who said what, which follows its newest message.
 *
 * Promises: an answer stands there as it is written, and after a barge-in what was not heard of it is struck out; a
 * reader who scrolled back is left where they are.
 */

import { el, mark, put, reconcile } from "../kit/dom.js";
import { onFrames } from "../kit/frames.js";
import { t, translate } from "../kit/i18n.js";
import { heardChars } from "../sound/timeline.js";

const NEAR_PX = 40; // of the end: who is there wants to see what comes

/**
 * @param {HTMLElement} root
 * @param {{dialogue: import("./dialogue.js").Dialogue, conversation: import("../sound/conversation.js").Conversation}} deps
 * @returns {() => void} asks for a drawing
 */
export function mountLog(root, { dialogue, conversation }) {
  const list = el("ol", { class: "live-list" });
  const box = el("div", { class: "live-log", role: "log", tabindex: 0, "data-i18n-label": "live.log" }, list);
  const empty = el("p", { class: "muted live-empty", "data-i18n": "live.empty" });
  root.append(empty, box);
  translate(root);
  return onFrames(conversation, (hasChanged) => {
    if (!hasChanged) return;
    const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
    empty.hidden = dialogue.messages.length > 0;
    box.hidden = !empty.hidden;
    reconcile(list, dialogue.messages, { key: ({ id }) => id, make, update: (item, message) => update(item, message, conversation) });
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  });
}

function make({ role }) {
  const words = el("p", { class: "live-words" }, el("span"), el("s"));
  return el("li", { class: "live-message", "data-role": role }, el("span", { class: "live-who" }), words, el("span", { class: "live-note" }));
}

function update(item, { role, text, take }, conversation) {
  const [who, words, note] = item.children;
  const whole = take ? take.text : text;
  const heard = (take && heardChars(take)) ?? whole.length;
  put(who, t(`live.role.${role}`));
  put(words.firstChild, whole.slice(0, heard));
  put(words.lastChild, whole.slice(heard));
  const state = take ? stateOf(take, conversation) : "said";
  mark(item, "data-state", state);
  put(note, take && state !== "heard" ? t(`live.answer.${state}`) : "");
}

/** @returns {"thinking"|"waiting"|"speaking"|"heard"|"cut"|"failed"} */
function stateOf(take, { take: current, state }) {
  if (take.state === "cancelled" || take.spokenText) return "cut";
  if (take.state === "failed") return "failed";
  if (take !== current || state === "idle") return "heard";
  if (!take.text) return "thinking";
  return take.frames && state === "speaking" ? "speaking" : "waiting";
}
