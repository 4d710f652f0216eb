/**
 * Figures of speech. Promises: pure; what is not known yet is null and never 0.
 */

const AUDIBLE_DBFS = -50; // as the server has it: below it even a quiet room hides the sound
const FULL_SCALE = 32768;
const AUDIBLE = FULL_SCALE * 10 ** (AUDIBLE_DBFS / 20);

/** What is not known before an answer begins. Times in ms since the person asked, `…S` in seconds. */
export const NOTHING_KNOWN = Object.freeze({
  firstAudioMs: null, // the first sample left for the loudspeakers
  onsetMs: null, // the first audible one did
  gaps: 0,
  gapS: 0,
  renderS: null, // in which at least one sentence was being rendered
  heardS: 0,
  realTimeFactor: null, // seconds of rendering per second of audio
});

/**
 * The first sample that can be heard.
 * @param {Int16Array} pcm
 * @returns {number} its index, or -1
 */
export function audibleOnset(pcm) {
  return pcm.findIndex((sample) => Math.abs(sample) > AUDIBLE);
}

/**
 * The largest absolute value of some samples, from 0 to 1.
 * @param {Int16Array} pcm
 * @param {number} from index
 * @param {number} to index, exclusive
 */
export function peakOf(pcm, from, to) {
  let peak = 0;
  for (let at = from; at < to; at += 1) peak = Math.max(peak, Math.abs(pcm[at]));
  return peak / FULL_SCALE;
}

/** @param {{durationS: number}[]} gaps @returns {{gaps: number, gapS: number}} */
export function gapFigures(gaps) {
  return { gaps: gaps.length, gapS: gaps.reduce((sum, gap) => sum + gap.durationS, 0) };
}

/** @param {number|null} renderS @param {number} durationS @returns {number|null} */
export function realTimeFactor(renderS, durationS) {
  return renderS === null || durationS === 0 ? null : renderS / durationS;
}

/** Adds up the time in which at least one of several things was under way. Times in ms, in the order in which they came. */
export class Busy {
  #open = new Set();
  #sinceMs = 0;
  #totalMs = 0;

  begin(thing, nowMs) {
    if (this.#open.size === 0) this.#sinceMs = nowMs;
    this.#open.add(thing);
  }

  end(thing, nowMs) {
    if (this.#open.delete(thing) && this.#open.size === 0) this.#totalMs += nowMs - this.#sinceMs;
  }

  /** @returns {number} seconds */
  totalS(nowMs) {
    return (this.#totalMs + (this.#open.size ? nowMs - this.#sinceMs : 0)) / 1000;
  }
}
