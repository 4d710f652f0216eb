/**
 * Plays PCM while it comes.
 *
 * Promises: what is pushed leaves for the loudspeakers sample by sample, at the rate it was made for, from the first
 * chunk on; `stop()` is silence within 10 ms; what was heard is counted where it leaves and not guessed; every time the
 * sound ran out although more was to come is in `gaps`, with its length. Events: `started {atMs}`, `progress`,
 * `gap {atS, durationS}`, `ended`, `blocked` (the browser wants a click first).
 */

import { ringOf } from "./ring-node.js";

const RING_S = 4; // hides pauses of the page itself; more would only be memory
const IDLE_MS = 30_000; // of silence, until the audio hardware may sleep
const BLOCKED_MS = 2_000; // a busy machine needs a second to open its audio device
const GESTURES = ["pointerdown", "keydown"];

export class Player extends EventTarget {
  /** Where the sound ran out. @type {{atS: number, durationS: number}[]} in seconds of the answer */
  gaps = [];
  isPaused = false;
  #context = null;
  #send = null; // to the ring, once there is one
  #opened = null;
  #sampleRate = 0; // Hz, of the answer
  #answer = 0;
  #isPlaying = false;
  #pushed = 0; // frames
  #heard = 0; // frames, when the ring last said so ...
  #at = 0; // ... at this frame of the context's clock
  #fromS = 0;
  #dry = 0;
  #timer = 0;

  /**
   * A new answer. Call it while handling a click or a key, before awaiting anything: browsers ask for that.
   * @param {number} sampleRate Hz
   * @param {number} [fromS] seconds of the answer that are left out
   */
  async begin(sampleRate, fromS = 0) {
    this.stop();
    clearTimeout(this.#timer);
    const answer = ++this.#answer;
    Object.assign(this, { gaps: [], isPaused: false });
    [this.#fromS, this.#pushed, this.#heard, this.#dry, this.#at] = [fromS, 0, 0, 0, 0];
    if (sampleRate !== this.#sampleRate) this.#open(sampleRate);
    this.#wake();
    await this.#opened;
    if (answer === this.#answer) this.#post({ type: "begin", soft: fromS > 0 });
  }

  /** @param {Int16Array} pcm at most `room` frames; handed over, not copied */
  push(pcm) {
    this.#isPlaying = true;
    this.#pushed += pcm.length;
    this.#post({ type: "push", pcm }, [pcm.buffer]);
  }

  /** Nothing more is to come. */
  end() {
    this.#isPlaying = true;
    this.#post({ type: "end" });
  }

  /** Silence, within 10 ms. */
  stop() {
    this.#heard = this.#frames();
    this.#isPlaying = false;
    this.#answer += 1;
    this.#post({ type: "stop" });
    this.#sleepSoon();
  }

  pause() {
    this.#heard = this.#frames();
    this.isPaused = true;
    this.#post({ type: "pause" });
  }

  resume() {
    this.isPaused = false;
    this.#at = this.#clock();
    this.#wake();
    this.#post({ type: "resume" });
  }

  /** How much of the answer was heard, in seconds. */
  get heardS() {
    return this.#fromS + (this.#sampleRate ? this.#frames() / this.#sampleRate : 0);
  }

  /** What waits in the ring, in seconds. */
  get bufferedS() {
    return this.#sampleRate ? this.#waiting / this.#sampleRate : 0;
  }

  /** Frames that leave in a second of the context's clock. */
  get frameRate() {
    return this.#context?.sampleRate ?? 0;
  }

  /** How many whole frames fit into the ring now: where the listener is between two reports is reckoned. */
  get room() {
    return this.#send ? Math.floor(this.#capacity - this.#waiting) : 0;
  }

  /** For how many seconds the ring has been dry: a gap that is not over. */
  get dryS() {
    return this.#sampleRate ? this.#dry / this.#sampleRate : 0;
  }

  /** How late the device plays what leaves the ring, in seconds; 0 where the browser does not tell. */
  get latencyS() {
    return this.#context?.outputLatency || this.#context?.baseLatency || 0;
  }

  get #waiting() {
    return Math.max(0, this.#pushed - this.#heard);
  }

  get #capacity() {
    return RING_S * this.#context.sampleRate;
  }

  #clock() {
    return this.#context ? this.#context.currentTime * this.#context.sampleRate : 0;
  }

  /** Frames heard: counted by the ring, reckoned on since its last report, less what the device still holds back. */
  #frames() {
    if (!this.#isPlaying || this.isPaused || !this.#at) return this.#heard;
    const left = Math.min(this.#pushed, this.#heard + Math.max(0, this.#clock() - this.#at));
    return Math.max(0, left - this.latencyS * this.#context.sampleRate);
  }

  #open(sampleRate) {
    this.#context?.close();
    this.#send = null;
    this.#sampleRate = sampleRate;
    const context = (this.#context = new AudioContext({ sampleRate }));
    this.#opened = this.#openRing(context);
  }

  async #openRing(context) {
    try {
      const send = await ringOf(context, this.#capacity, (report) => context === this.#context && this.#take(report));
      if (context === this.#context) this.#send = send;
    } catch (problem) {
      this.#sampleRate = 0; // so that the next answer tries again
      throw Object.assign(new Error(problem.message), { code: "audio_failed" });
    }
  }

  #post(message, transfer = []) {
    this.#send?.({ ...message, answer: this.#answer }, transfer);
  }

  #take(report) {
    if (report.type === "heard") this.#post({ type: "seen" });
    if (report.answer !== this.#answer) return;
    if (report.type === "started") this.#onStarted(report.at);
    else if (report.type === "gap") this.#onGap(report);
    else if (report.type === "ended") this.#onEnded(report.heard);
    else this.#onHeard(report);
  }

  #onStarted(at) {
    this.#at = at;
    const agoS = (this.#clock() - at) / this.#context.sampleRate;
    this.#tell("started", { atMs: performance.now() + (this.latencyS - agoS) * 1000 });
  }

  #onHeard({ heard, at, dry }) {
    [this.#heard, this.#dry] = [heard, dry];
    if (heard > 0) this.#at = at;
    this.#tell("progress");
  }

  #onGap({ heard, frames }) {
    const gap = { atS: this.#fromS + heard / this.#sampleRate, durationS: frames / this.#sampleRate };
    this.gaps.push(gap);
    this.#dry = 0;
    this.#tell("gap", gap);
  }

  #onEnded(heard) {
    this.#heard = heard;
    this.#isPlaying = false;
    this.#sleepSoon();
    this.#tell("ended");
  }

  #tell(name, detail = {}) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Browsers let a page sound after a click only, and phones take the sound away for a call. */
  #wake() {
    const context = this.#context;
    context.resume().catch(() => {}); // it was closed for another rate
    this.#timer = setTimeout(() => context.state === "running" || this.#waitForGesture(context), BLOCKED_MS);
  }

  #waitForGesture(context) {
    if (context !== this.#context) return;
    const resume = () => context.state === "closed" || context.resume();
    for (const gesture of GESTURES) document.addEventListener(gesture, resume, { once: true });
    this.#tell("blocked");
  }

  #sleepSoon() {
    clearTimeout(this.#timer);
    const context = this.#context;
    this.#timer = setTimeout(() => context?.state === "running" && context.suspend(), IDLE_MS);
  }
}
