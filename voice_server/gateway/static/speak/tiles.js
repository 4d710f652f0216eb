/**
 * The figures of an answer: how soon it was heard, whether it ever ran dry, how fast it was made.
 *
 * Promises: what is not known yet is a dash and never a zero; every figure says in a line what it is.
 */

import { el, mark, put } from "../kit/dom.js";
import { count, seconds, shortly } from "../kit/figures.js";
import { onFrames } from "../kit/frames.js";
import { t, translate } from "../kit/i18n.js";

const UNKNOWN = "—";
const MS = 1000;
const FAST = 0.1; // of a real-time factor: below it two digits say nothing

/** Each tile by its name in the dictionary, and what it shows of a take. */
const TILES = {
  first: ({ stats }) => shortly(inSeconds(stats.firstAudioMs)),
  onset: ({ stats }) => shortly(inSeconds(stats.onsetMs)),
  gaps: ({ stats }) => gapsOf(stats),
  duration: (take) => (take.frames ? seconds(take.durationS) : UNKNOWN),
  factor: ({ stats: { realTimeFactor } }) => count(realTimeFactor, realTimeFactor < FAST ? 3 : 2),
  rate: ({ sampleRate }) => (sampleRate ? t("tiles.kilohertz", { value: count(sampleRate / 1000, sampleRate % 1000 ? 2 : 0) }) : UNKNOWN),
  samples: ({ frames }) => (frames ? count(frames) : UNKNOWN),
};

/**
 * @param {HTMLElement} root
 * @param {import("../sound/conversation.js").Conversation} conversation
 */
export function mountTiles(root, conversation) {
  const values = Object.fromEntries(Object.keys(TILES).map((name) => [name, el("dd", { class: "number" })]));
  root.append(el("dl", { class: "tiles" }, ...Object.entries(values).map(([name, value]) => tile(name, value))));
  translate(root);
  onFrames(conversation, () => draw(values, conversation.take));
}

function tile(name, value) {
  const title = el("dt", { "data-i18n": `tiles.${name}` });
  const help = el("dd", { class: "visually-hidden", "data-i18n": `tiles.${name}.help` });
  return el("div", { class: "tile", "data-tile": name, "data-i18n-title": `tiles.${name}.help` }, title, value, help);
}

function draw(values, take) {
  for (const [name, value] of Object.entries(values)) put(value, take ? TILES[name](take) : UNKNOWN);
  mark(values.gaps.parentElement, "data-bad", Boolean(take?.stats.gaps));
}

const inSeconds = (ms) => (ms === null ? null : ms / MS);

/** None is known before anything was heard. */
function gapsOf({ gaps, gapS, firstAudioMs }) {
  if (firstAudioMs === null) return UNKNOWN;
  return gaps ? t("tiles.gaps.value", { count: count(gaps), time: shortly(gapS) }) : count(0);
}
