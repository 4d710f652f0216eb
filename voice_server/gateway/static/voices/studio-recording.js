/** The microphone's panel: words to read aloud, a level to look at, a recording of at most as long as the server takes. */

import { button } from "../kit/buttons.js";
import { el, mark, put } from "../kit/dom.js";
import { seconds } from "../kit/figures.js";
import { onLanguage, t, translate } from "../kit/i18n.js";
import { Microphone } from "./microphone.js";
import { decibels } from "./sound-check.js";

const FLOOR_DB = -60; // the left end of the meter
const ZONES = [
  [-1, "loud"],
  [-30, "good"],
  [-Infinity, "quiet"],
];
const FALL = 0.9; // of the meter per block: it rises at once and sinks gently
const SMALLEST_PART = 0.001;

/**
 * @param {HTMLElement} root
 * @param {{limits: {sample_max_s: number}, onSound: (sound: import("./studio.js").Sound) => void, onLeave: () => void}} deps
 */
export function mountRecording(root, { limits, onSound, onLeave }) {
  const parts = build(root);
  let microphone = null;
  let level = 0;
  let wanted = 0; // the newest `open`: an older one that was left meanwhile lets go of its device

  const hear = ({ detail: { peak, seconds: recorded } }) => {
    level = Math.max(peak, level * FALL, SMALLEST_PART);
    drawLevel(parts, level);
    if (microphone.blocks) put(parts.time, t("studio.recorded", { time: seconds(recorded), most: seconds(limits.sample_max_s) }));
  };
  const stop = () => {
    const blob = microphone.stop();
    onSound({ blob, fileName: "recording.wav", name: t("studio.my_voice"), transcript: t("studio.read") });
  };
  const start = () => {
    microphone.start();
    show("recording");
    parts.stop.focus();
  };
  const open = async () => {
    const turn = (wanted += 1);
    show("asking");
    try {
      const opened = await Microphone.open(limits.sample_max_s);
      if (turn !== wanted) return opened.close();
      microphone = opened;
    } catch (error) {
      if (turn === wanted) refuse(error.reason ?? "unknown");
      return;
    }
    microphone.addEventListener("heard", hear);
    microphone.addEventListener("full", stop, { once: true });
    show("ready");
    parts.start.focus();
  };
  const refuse = (reason) => {
    parts.problem.dataset.i18n = `studio.microphone.${reason}`;
    translate(parts.problem);
    show("refused");
  };
  const show = (state) => showState(parts, state);
  parts.start.addEventListener("click", start);
  parts.stop.addEventListener("click", stop);
  parts.leave.addEventListener("click", onLeave);
  onLanguage(() => drawLevel(parts, level));
  return {
    open,
    close() {
      wanted += 1;
      microphone?.close();
      microphone = null;
    },
  };
}

function build(root) {
  const bar = el("i");
  const meter = el("div", { class: "studio-meter", role: "meter", "data-i18n-label": "studio.level" }, bar);
  mark(meter, "aria-valuemin", FLOOR_DB);
  mark(meter, "aria-valuemax", 0);
  const zone = el("span", { class: "small" });
  const time = el("p", { class: "studio-time number", role: "timer" });
  const start = button("record", "studio.start", "primary");
  const stop = button("stop", "studio.stop", "primary");
  const leave = el("button", { class: "button quiet", type: "button", "data-i18n": "studio.back" });
  const problem = el("p", { class: "studio-problem", role: "alert" });
  const asking = el("p", { class: "muted", "data-i18n": "studio.asking" });
  const invitation = el("figcaption", { class: "muted small", "data-i18n": "studio.read_aloud" });
  const words = el("figure", {}, invitation, el("blockquote", { "data-i18n": "studio.read" }));
  const measured = el("div", { class: "studio-level" }, meter, zone);
  root.append(words, asking, measured, time, problem, el("div", { class: "row" }, start, stop, leave));
  translate(root);
  return { root, bar, meter, zone, time, start, stop, problem, asking, measured, leave };
}

function showState(parts, state) {
  parts.root.dataset.state = state;
  parts.asking.hidden = state !== "asking";
  parts.problem.hidden = state !== "refused";
  parts.start.hidden = state !== "ready";
  parts.stop.hidden = parts.time.hidden = state !== "recording";
  parts.measured.hidden = !["ready", "recording"].includes(state);
}

function drawLevel(parts, level) {
  const dB = Math.max(FLOOR_DB, decibels(level));
  const [, zone] = ZONES.find(([from]) => dB >= from);
  parts.bar.style.setProperty("--part", (1 - dB / FLOOR_DB).toFixed(3));
  mark(parts.meter, "data-zone", zone);
  mark(parts.meter, "aria-valuenow", Math.round(dB));
  mark(parts.meter, "aria-valuetext", t(`studio.level.${zone}`));
  put(parts.zone, t(`studio.level.${zone}`));
}
