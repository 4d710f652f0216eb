/** The sound before it is sent: its picture, a way to hear it, its length and level, and what would make it better. */

import { el, mark, put, svg } from "../kit/dom.js";
import { seconds } from "../kit/figures.js";
import { number, onLanguage, t, translate } from "../kit/i18n.js";
import { beginning, checkSound, decode, lengthOf, outline } from "./sound-check.js";
import { encodeWav } from "../sound/wav.js";

const COLUMNS = 120; // of the picture
const PICTURE = { width: 360, height: 56 };
const DECODED_MOST_S = 1800; // 350 MB of samples: what is longer is refused by its header
const GOOD_FROM_S = 5; // less is a voice, but one that a clone knows little of
const BYTES_PER_MIB = 2 ** 20;

/**
 * @param {HTMLElement} root
 * @param {{limits: object, onAnother: () => void}} deps
 * @returns {{show: (sound: object) => Promise<void>, clear: () => void, refuse: (words: string) => void, blob: () => Blob,
 *   problem: () => string, judgeAnew: () => void}} `problem` is why the sound cannot be sent, or ""; `judgeAnew` when the limits
 *   have changed
 */
export function mountReview(root, { limits, onAnother }) {
  const parts = build(root);
  let state = { sound: null, blob: null, samples: null, check: null };

  const look = async (sound, blob) => {
    state = { sound, blob, samples: null, check: null };
    listen(parts, blob);
    drawAll();
    const looked = await examine(blob, limits, parts.audio.src);
    if (state.blob !== blob) return; // another one was taken meanwhile
    Object.assign(state, looked);
    drawAll();
  };
  const drawAll = () => state.sound && draw(parts, state, problem(), limits);
  const problem = () => problemOf(state, limits);
  parts.another.addEventListener("click", onAnother);
  parts.cut.addEventListener("click", () => {
    const { samples, sampleRate } = state;
    look(state.sound, encodeWav(beginning(samples, sampleRate, limits.sample_max_s), sampleRate));
    parts.another.focus();
  });
  onLanguage(drawAll);
  return {
    show: (sound) => look(sound, sound.blob),
    clear: () => {
      state = { sound: null, blob: null, samples: null, check: null };
      listen(parts, null);
    },
    refuse: (words) => {
      put(parts.verdict, words);
      mark(parts.verdict, "data-verdict", "refused");
    },
    blob: () => state.blob,
    problem,
    judgeAnew: drawAll,
  };
}

async function examine(blob, limits, url) {
  if (blob.size > limits.sample_bytes) return {};
  const durationS = await lengthOf(url);
  if (durationS > DECODED_MOST_S) return { check: { durationS, verdict: "good" } };
  try {
    const { samples, sampleRate } = await decode(blob);
    return { samples, sampleRate, check: checkSound(samples, sampleRate) };
  } catch {
    return { check: { durationS, verdict: "unreadable" } }; // by this browser: the server may know better
  }
}

function problemOf({ blob, check }, limits) {
  if (blob.size > limits.sample_bytes) {
    const [size, most] = [blob.size, limits.sample_bytes].map((bytes) => number(bytes / BYTES_PER_MIB, 1));
    return t("studio.too_large", { size, most });
  }
  if (!check?.durationS) return "";
  const told = { time: seconds(check.durationS), least: seconds(limits.sample_min_s), most: seconds(limits.sample_max_s) };
  if (check.durationS < limits.sample_min_s) return t("studio.too_short", told);
  return check.durationS > limits.sample_max_s ? t("studio.too_long", told) : "";
}

function build(root) {
  const name = el("strong");
  const length = el("span", { class: "chip number" });
  const another = el("button", { class: "button quiet", type: "button", "data-i18n": "studio.another" });
  const picture = svg("svg", { class: "studio-picture", viewBox: `0 0 ${PICTURE.width} ${PICTURE.height}` }, svg("path"));
  mark(picture, "preserveAspectRatio", "none");
  mark(picture, "aria-hidden", "true");
  const audio = el("audio", { controls: true, preload: "metadata", "data-i18n-label": "studio.listen" });
  const verdict = el("p", { class: "studio-verdict", role: "status" });
  const cut = el("button", { class: "button", type: "button", hidden: true });
  root.append(el("div", { class: "row" }, name, length, el("span", { class: "grow" }), another), picture, audio, verdict, cut);
  translate(root);
  return { name, length, another, picture, audio, verdict, cut };
}

function listen({ audio }, blob) {
  if (audio.src) URL.revokeObjectURL(audio.src);
  if (blob) audio.src = URL.createObjectURL(blob);
  else audio.removeAttribute("src");
}

function draw(parts, { sound, samples, check }, problem, limits) {
  put(parts.name, sound.fileName);
  parts.length.hidden = !check?.durationS;
  put(parts.length, seconds(check?.durationS));
  parts.picture.classList.toggle("is-empty", !samples);
  parts.picture.firstChild.setAttribute("d", samples ? pathOf(outline(samples, COLUMNS)) : "");
  const verdict = problem ? "refused" : verdictOf(check);
  mark(parts.verdict, "data-verdict", verdict);
  put(parts.verdict, problem || t(`studio.verdict.${verdict}`, { level: number(check?.levelDb ?? 0) }));
  parts.cut.hidden = !samples || check.durationS <= limits.sample_max_s;
  put(parts.cut, t("studio.cut", { most: seconds(limits.sample_max_s) }));
}

function verdictOf(check) {
  if (!check) return "looking";
  return check.verdict === "good" && check.durationS < GOOD_FROM_S ? "short" : check.verdict;
}

function pathOf(peaks) {
  const middle = PICTURE.height / 2;
  const step = PICTURE.width / peaks.length;
  const line = (peak, at) => {
    const half = Math.max(0.75, peak * (middle - 1));
    return `M${((at + 0.5) * step).toFixed(1)} ${(middle - half).toFixed(1)}v${(2 * half).toFixed(1)}`;
  };
  return Array.from(peaks, line).join("");
}
