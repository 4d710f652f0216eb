/**
 * One answer: its text, its sound and what is known of both.
 *
 * Promises: knows nothing of sockets and loudspeakers; grows while the answer is rendered and never changes after
 * `finish` but for what was heard of it; an hour of speech stays out of the page's memory (samples.js). `facts()` and
 * `pcm()` hold all of it, and `Take.restore` makes an equal one of them.
 */

import { Samples } from "./samples.js";
import { audibleOnset, Busy, NOTHING_KNOWN, peakOf, realTimeFactor } from "./stats.js";

const PEAK_S = 0.02; // of audio in one peak: finer than a pixel of any waveform of a sentence
const FIRST_PEAKS = 1024;

/**
 * @typedef {object} Sentence times are seconds of the answer, null while unknown
 * @property {number} index
 * @property {string} text
 * @property {"waiting"|"rendering"|"arriving"|"rendered"|"failed"} state
 * @property {string|null} worker that renders or rendered it
 * @property {number|null} startS
 * @property {number|null} endS
 * @property {{word: string, startS: number, endS: number, begin: number, end: number}[]} words `begin` and `end` are
 *   offsets into the sentence's text; empty until the sentence is rendered
 */

export class Take {
  /** @type {Sentence[]} */
  sentences = [];
  /** Of the sound: one that was cut off when all of it was here is complete. @type {"rendering"|"complete"|"cancelled"|"failed"} */
  state = "rendering";
  /** How much of the text was sent, in characters. */
  typedChars = 0;
  /** After a barge-in: what the server takes to have been heard; null without one. @type {string|null} */
  spokenText = null;
  /** Where the sound ran out while it was first played. @type {{atS: number, durationS: number}[]} */
  gaps = [];
  peakCount = 0;
  #peaks = new Float32Array(FIRST_PEAKS);
  #samples;
  #busy = new Busy();
  #onset = -1; // frame

  /**
   * @param {object} about
   * @param {string} about.text
   * @param {string} [about.backend]
   * @param {string} [about.voice]
   * @param {number} [about.sampleRate] Hz; may be set later, before the first append
   */
  constructor({ text, backend = "", voice = "", sampleRate = 0, id = newId(), at = Date.now() }, sound) {
    Object.assign(this, { id, at, text, backend, voice, sampleRate, stats: { ...NOTHING_KNOWN } });
    this.#samples = new Samples(sound);
  }

  get frames() {
    return this.#samples.frames;
  }

  get durationS() {
    return this.sampleRate ? this.frames / this.sampleRate : 0;
  }

  /** One for each 20 ms of audio: its largest sample, 0 to 1. Only the first `peakCount` count. @returns {Float32Array} */
  get peaks() {
    return this.#peaks;
  }

  get peakS() {
    return PEAK_S;
  }

  /** Seconds of the answer until something can be heard; null before. */
  get onsetS() {
    return this.#onset < 0 ? null : this.#onset / this.sampleRate;
  }

  /** Its first sample leaves for the loudspeakers. @param {number} firstAudioMs since it was asked for */
  noteStart(firstAudioMs) {
    this.stats.firstAudioMs = firstAudioMs;
    this.#noteOnset();
  }

  /** So much more of the text was sent; one that is still being written grows by it. @param {string} token */
  type(token) {
    this.typedChars += token.length;
    if (this.typedChars > this.text.length) this.text += token;
  }

  /** @param {Int16Array} pcm */
  append(pcm) {
    if (this.#onset < 0) this.#findOnset(pcm);
    this.#addPeaks(pcm);
    this.#samples.append(pcm);
  }

  /**
   * A message about a sentence: `sentence`, `generating`, or `error` with a `sentence`.
   * @param {object} message of the server
   */
  addSentence(message, nowMs = performance.now()) {
    const sentence = this.#sentence(message);
    if (message.type === "generating") this.#onRendering(sentence, message, nowMs);
    else if (message.type === "error") this.#onOver(sentence, "failed", nowMs);
    else if (message.event === "start") Object.assign(sentence, { state: "arriving", startS: this.durationS });
    else if (message.event === "end") this.#onEnd(sentence, message, nowMs);
  }

  /** Nothing more will come. @param {"complete"|"cancelled"|"failed"} state */
  finish(state, nowMs = performance.now()) {
    if (this.state !== "rendering") return;
    this.state = state;
    this.#figure(nowMs);
    this.#samples.seal();
  }

  /** @returns {Promise<Blob>} PCM s16le, mono, everything so far */
  async pcm() {
    return this.#samples.blob();
  }

  /** Samples without waiting, or null: see Samples.recent. */
  recent(at, count) {
    return this.#samples.recent(at, count);
  }

  /** @returns {Promise<Int16Array>} */
  read(at, count) {
    return this.#samples.read(at, count);
  }

  /** Nobody is about to play its end: lets go of what it kept at hand. */
  release() {
    this.#samples.release();
  }

  /** All but the sound, as plain data that IndexedDB takes. */
  facts() {
    const { id, at, text, backend, voice, sampleRate, sentences, state, typedChars, spokenText, gaps, stats } = this;
    const own = { id, at, text, backend, voice, sampleRate, state, typedChars, spokenText, durationS: this.durationS };
    const peaks = this.#peaks.slice(0, this.peakCount);
    return structuredClone({ ...own, sentences, gaps, stats, peaks, onset: this.#onset });
  }

  /** @param {object} facts of `facts()` @param {Blob} sound of `pcm()` @returns {Take} */
  static restore({ peaks, onset, durationS: _, ...facts }, sound) {
    const take = Object.assign(new Take(facts, sound), facts);
    [take.#peaks, take.peakCount, take.#onset] = [peaks, peaks.length, onset];
    return take;
  }

  #sentence({ index, sentence = index, text = "" }) {
    const at = index ?? sentence;
    const blank = { index: at, text, state: "waiting", worker: null, startS: null, endS: null, words: [] };
    return (this.sentences[at] ??= blank);
  }

  #onRendering(sentence, { worker }, nowMs) {
    this.#busy.begin(sentence.index, nowMs);
    sentence.worker = worker;
    if (sentence.state === "waiting") sentence.state = "rendering";
  }

  #onEnd(sentence, message, nowMs) {
    sentence.endS = this.durationS;
    sentence.words = (message.words ?? []).map((word) => inAnswer(word, sentence.startS));
    this.#onOver(sentence, "rendered", nowMs);
  }

  #onOver(sentence, state, nowMs) {
    sentence.state = state;
    this.#busy.end(sentence.index, nowMs);
    this.#figure(nowMs);
  }

  #figure(nowMs) {
    const renderS = this.frames ? this.#busy.totalS(nowMs) : null;
    Object.assign(this.stats, { renderS, realTimeFactor: realTimeFactor(renderS, this.durationS) });
  }

  #findOnset(pcm) {
    const at = audibleOnset(pcm);
    if (at < 0) return;
    this.#onset = this.frames + at;
    this.#noteOnset();
  }

  #noteOnset() {
    const { firstAudioMs } = this.stats;
    if (firstAudioMs !== null && this.onsetS !== null) this.stats.onsetMs = firstAudioMs + this.onsetS * 1000;
  }

  #addPeaks(pcm) {
    const perPeak = Math.round(PEAK_S * this.sampleRate);
    for (let at = 0; at < pcm.length; ) {
      const number = Math.floor((this.frames + at) / perPeak);
      const to = Math.min(pcm.length, (number + 1) * perPeak - this.frames);
      this.#raisePeak(number, peakOf(pcm, at, to));
      at = to;
    }
  }

  #raisePeak(number, peak) {
    if (number === this.#peaks.length) {
      const longer = new Float32Array(this.#peaks.length * 2);
      longer.set(this.#peaks);
      this.#peaks = longer;
    }
    this.#peaks[number] = Math.max(this.#peaks[number], peak);
    this.peakCount = number + 1;
  }
}

const newId = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`; // randomUUID needs https

const inAnswer = ({ word, start_ms: startMs, end_ms: endMs, begin, end }, sentenceS) => {
  return { word, startS: sentenceS + startMs / 1000, endS: sentenceS + endMs / 1000, begin, end };
};
