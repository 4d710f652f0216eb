/**
 * The text with what is being heard: each sentence with its state, the word under the listener's ear, and after a
 * barge-in what was heard of it.
 *
 * Promises: honest about what is known: before a sentence is whole its words have no times, and only the sentence is
 * lit. Follows the voice until the person scrolls, and again when asked to.
 */

import { el, put } from "../kit/dom.js";
import { onFrames } from "../kit/frames.js";
import { onLanguage, t, translate } from "../kit/i18n.js";
import { ScriptText } from "./script-text.js";
import { heardChars, heardNow } from "../sound/timeline.js";

const SCROLLS = ["wheel", "touchmove", "pointerdown", "keydown"]; // what people do it with
const MARGIN = 0.25; // of the height, above and below what is heard

/**
 * @param {HTMLElement} root
 * @param {import("../sound/conversation.js").Conversation} conversation
 */
export function mountScript(root, conversation) {
  const parts = build(root);
  const text = new ScriptText(parts.text);
  const view = { follows: true, ended: 0, now: null };
  const ask = onFrames(conversation, (hasChanged) => draw(parts, text, view, conversation, hasChanged));
  for (const name of SCROLLS) parts.text.addEventListener(name, () => setFollowing(parts, view, false), { passive: true });
  parts.follow.addEventListener("click", () => {
    setFollowing(parts, view, true);
    ask();
  });
  conversation.addEventListener("take", () => {
    setFollowing(parts, view, true);
    view.ended = 0;
  });
  onLanguage(() => text.translate());
}

function build(root) {
  const text = el("p", { class: "script-text", tabindex: 0, role: "region", "data-i18n-label": "script.label" });
  const status = el("span", { class: "grow" });
  const follow = el("button", { class: "chip", type: "button", hidden: true, "data-i18n": "script.follow" });
  const live = el("p", { class: "visually-hidden", "aria-live": "polite" });
  root.append(el("div", { class: "script", hidden: true }, text, el("div", { class: "row script-status" }, status, follow)), live);
  translate(root);
  return { box: root.firstElementChild, text, status, follow, live };
}

function draw(parts, text, view, conversation, hasChanged) {
  const { take, player, state } = conversation;
  parts.box.hidden = !take;
  if (!take) return;
  const headS = take.frames ? player.heardS : -1;
  const cut = state === "idle" ? heardChars(take) : null;
  const now = cut === null ? heardNow(take, headS) : null;
  if (hasChanged || now !== view.now) drawAll(parts, text, view, take, headS, cut);
  view.now = now;
  const heard = now && text.light(now, headS);
  if (heard && view.follows) scrollTo(parts.text, heard);
}

/** Everything; between two sentences only the word changes. */
function drawAll(parts, text, view, take, headS, cut) {
  text.draw(take, headS, cut);
  put(parts.status, statusOf(take, headS, cut));
  announce(parts.live, view, take, headS);
}

function statusOf(take, headS, cut) {
  if (cut !== null) return t(cut ? "script.cut" : "script.cut.nothing");
  const of = (state) => take.sentences.filter((sentence) => sentence.state === state);
  const [now, rendering] = [heardNow(take, headS), of("rendering").concat(of("arriving"))];
  const waiting = take.state === "rendering" ? of("waiting").length : 0;
  const told = [
    now && t("script.now", { number: now.index + 1, count: take.sentences.length }),
    take.state === "rendering" && rendering.map(({ index, worker }) => t("script.rendering", { number: index + 1, worker })),
    waiting && t("script.waiting", { count: waiting }),
    of("failed").map(({ index }) => t("script.failed", { number: index + 1 })),
  ];
  return told.flat().filter(Boolean).join(" · ");
}

/** To those who cannot see it: the ends of sentences, and nothing between them. */
function announce(live, view, take, headS) {
  const ended = take.sentences.filter(({ endS }) => endS !== null && endS <= headS).length;
  if (ended > view.ended) put(live, t("script.ended", { number: ended, count: take.sentences.length }));
  view.ended = ended;
}

function setFollowing(parts, view, follows) {
  view.follows = follows;
  parts.follow.hidden = follows || parts.text.scrollHeight <= parts.text.clientHeight;
}

function scrollTo(box, element) {
  const [top, height] = [element.offsetTop - box.scrollTop, box.clientHeight];
  if (top > height * MARGIN && top < height * (1 - 2 * MARGIN)) return;
  const goal = Math.max(0, Math.min(element.offsetTop - height * MARGIN, box.scrollHeight - height));
  if (Math.abs(goal - box.scrollTop) > 4) box.scrollTo({ top: goal });
}
