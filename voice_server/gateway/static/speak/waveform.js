/**
 * The waveform: grows while the answer comes, shows where its listener is, and is the slider to go elsewhere.
 *
 * Promises: sentences have their number, tint and place; a gap that was heard is marked with its length; a finished
 * answer is played from wherever one clicks, or steps with the keys; a screen reader is told the same in words.
 */

import { el, mark, put, reconcile } from "../kit/dom.js";
import { seconds, shortly } from "../kit/figures.js";
import { onFrames } from "../kit/frames.js";
import { onLanguage, t } from "../kit/i18n.js";
import { icon } from "../kit/icons.js";
import { clock, sentenceAt, spanOf } from "../sound/timeline.js";
import { WaveformCanvas } from "./waveform-canvas.js";

const STEP_S = 1; // of an arrow key
const END_S = 0.05; // before the end: nearer there is nothing left to hear
const NUMBER_PX = 22; // between two marks, so that their numbers can be read
const SYMBOLS = { speaking: "pause", paused: "play", idle: "replay" };

/**
 * @param {HTMLElement} root
 * @param {import("../sound/conversation.js").Conversation} conversation
 */
export function mountWaveform(root, conversation) {
  const parts = build(root);
  const ask = onFrames(conversation, () => draw(parts, canvas, conversation));
  const canvas = new WaveformCanvas(parts.canvas, ask);
  const seek = (atS) => seekTo(conversation, atS);
  parts.button.addEventListener("click", () => toggle(conversation));
  parts.view.addEventListener("click", (event) => seek(timeAt(parts, conversation.take, event)));
  parts.view.addEventListener("keydown", (event) => onKey(event, parts, conversation));
  parts.view.addEventListener("pointermove", (event) => tell(parts, conversation.take, timeAt(parts, conversation.take, event)));
  parts.view.addEventListener("pointerleave", () => (parts.tip.hidden = true));
  parts.view.addEventListener("blur", () => (parts.tip.hidden = true));
  onLanguage(() => mark(parts.view, "aria-label", t("waveform.label")));
}

function build(root) {
  const canvas = el("canvas", { class: "waveform-canvas", "aria-hidden": "true" });
  const marks = el("div", { class: "waveform-marks", "aria-hidden": "true" });
  const gaps = el("div", { class: "waveform-gaps", "aria-hidden": "true" });
  const tip = el("div", { class: "waveform-tip", role: "presentation", hidden: true });
  const slider = { class: "waveform-view", role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-label": t("waveform.label") };
  const view = el("div", slider, marks, canvas, gaps, tip);
  const button = el("button", { class: "icon-button waveform-button", type: "button" });
  const time = el("span", { class: "waveform-time number" });
  root.append(el("div", { class: "waveform" }, button, view, time));
  return { canvas, marks, gaps, tip, view, button, time };
}

function draw(parts, canvas, { take, player, state }) {
  const headS = take ? Math.min(player.heardS, take.durationS) : 0;
  canvas.draw(take, headS);
  const marked = [take?.id, take && spanOf(take), take?.sentences.length, take?.gaps.length, parts.view.clientWidth].join();
  if (marked !== parts.marked) drawMarks(parts, take);
  parts.marked = marked;
  drawSlider(parts, take, headS);
  drawButton(parts.button, take, state);
  put(parts.time, take?.frames ? `${clock(headS, 1)} / ${clock(take.durationS, 1)}` : t("waveform.hint"));
}

function drawMarks({ marks, gaps }, take) {
  const begun = take?.sentences.filter((sentence) => sentence.startS !== null) ?? [];
  const spaced = apart(begun, spanOf(take ?? { durationS: 1 }), marks.clientWidth);
  reconcile(marks, spaced, {
    key: ({ index }) => index,
    make: ({ index }) => el("span", { class: "waveform-mark", "data-tint": index % 2, text: index + 1 }),
    update: (element, { startS }) => place(element, startS, take),
  });
  drawGaps(gaps, take);
}

/** Without those whose number would stand on the one before. */
function apart(sentences, spanS, width) {
  let free = 0;
  return sentences.filter(({ startS }) => {
    const x = (startS / spanS) * width;
    if (x < free) return false;
    free = x + NUMBER_PX;
    return true;
  });
}

function drawGaps(gaps, take) {
  reconcile(gaps, take?.gaps ?? [], {
    key: ({ atS }) => atS,
    make: () => el("span", { class: "waveform-gap" }),
    update: (element, { atS, durationS }) => {
      put(element, shortly(durationS));
      place(element, atS, take);
    },
  });
}

function place(element, atS, take) {
  element.style.setProperty("--at", `${(100 * atS) / spanOf(take)}%`);
}

function drawSlider({ view }, take, headS) {
  const [now, end] = [Math.floor(headS), take?.durationS ?? 0];
  mark(view, "aria-valuemax", Math.ceil(end));
  mark(view, "aria-valuenow", now);
  mark(view, "aria-disabled", !canSeek(take));
  const sentence = take && sentenceAt(take, headS);
  const heard = { time: clock(headS), end: clock(end), number: sentence ? sentence.index + 1 : 0, text: sentence?.text };
  mark(view, "aria-valuetext", t(sentence ? "waveform.value" : "waveform.empty", heard));
}

function drawButton(button, take, state) {
  const symbol = SYMBOLS[state] ?? SYMBOLS.idle;
  button.disabled = !(state in SYMBOLS) || (state === "idle" && !canSeek(take));
  mark(button, "aria-label", t(`waveform.${symbol}`));
  if (button.dataset.symbol === symbol) return;
  button.dataset.symbol = symbol;
  button.replaceChildren(icon(symbol));
}

function toggle(conversation) {
  if (conversation.state === "speaking") conversation.pause();
  else if (conversation.state === "paused") conversation.resume();
  else seekTo(conversation, 0);
}

const canSeek = (take) => Boolean(take?.frames && take.state !== "rendering");

function seekTo(conversation, atS) {
  const { take } = conversation;
  if (canSeek(take)) conversation.replay(take, { fromS: Math.max(0, Math.min(atS, take.durationS - END_S)) });
}

function timeAt({ view }, take, { clientX }) {
  const { left, width } = view.getBoundingClientRect();
  return take ? ((clientX - left) / width) * spanOf(take) : 0;
}

/** What is at a time, beside it. */
function tell({ tip }, take, atS) {
  const sentence = take && atS <= take.durationS ? sentenceAt(take, atS) : null;
  tip.hidden = !sentence;
  if (!sentence) return;
  const { index, text, startS, endS } = sentence;
  put(tip, t("waveform.tip", { number: index + 1, start: seconds(startS), end: seconds(endS), text }));
  tip.style.setProperty("--at", `${(100 * atS) / spanOf(take)}%`);
}

function onKey(event, parts, conversation) {
  const { take, player } = conversation;
  if (event.key === " ") toggle(conversation);
  const atS = take && keyed(event.key, take, player.heardS);
  if (atS === null && event.key !== " ") return;
  event.preventDefault();
  if (atS === null) return;
  seekTo(conversation, atS);
  tell(parts, take, Math.max(0, Math.min(atS, take.durationS)));
}

function keyed(key, take, headS) {
  if (key === "ArrowRight" || key === "ArrowUp") return headS + STEP_S;
  if (key === "ArrowLeft" || key === "ArrowDown") return headS - STEP_S;
  if (key === "Home") return 0;
  if (key === "End") return take.durationS;
  const now = sentenceAt(take, headS)?.index ?? 0;
  if (key === "PageDown") return startOf(take.sentences.slice(now + 1), take.durationS);
  if (key === "PageUp") return startOf(take.sentences.slice(0, now).reverse(), 0);
  return null;
}

const startOf = (sentences, otherwise) => sentences.find(({ startS }) => startS !== null)?.startS ?? otherwise;
