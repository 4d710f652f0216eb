/**
 * The ring between the page and the loudspeakers, on the audio thread where browsers allow it (ring-node.js).
 *
 * Promises: every sample of an answer leaves once and in order, unchanged; what is not this answer's never does. Frames
 * that left are counted here, and so are those that had to be silent although more was to come. Nothing is allocated
 * while it plays, and a page that sleeps finds one report waiting, not thousands.
 */

const FADE_S = 0.005; // long enough not to click, short enough to be silence for who interrupts
const REPORT_S = 0.04; // of the context's clock; the page reckons on between two reports
const FULL_SCALE = 32768;

export class Ring {
  /**
   * @param {number} frames it holds
   * @param {number} rate frames per second
   * @param {(report: object) => void} post
   */
  constructor(frames, rate, post) {
    [this.rate, this.post, this.now] = [rate, post, 0];
    this.samples = new Int16Array(frames);
    this.fadeFrames = Math.round(FADE_S * rate);
    this.fade = new Float32Array(this.fadeFrames);
    this.fadeLeft = 0;
    this.isSeen = true; // the page has answered the last report
    this.reportAt = 0;
    this.begin({ answer: 0 });
  }

  // What the page says: a message's type is the name of a method

  begin({ answer, soft = false }) {
    this.answer = answer;
    this.written = 0;
    this.read = 0;
    this.dry = 0; // frames of silence since it ran out
    this.rise = soft ? this.fadeFrames : 0; // frames that are still faded in
    this.isStarted = this.isEnding = this.isPaused = false;
    this.isOver = answer === 0;
  }

  push({ pcm }) {
    if (this.dry > 0) this.tell("gap", { frames: this.dry, heard: this.read });
    this.dry = 0;
    const at = this.written % this.samples.length;
    const first = Math.min(pcm.length, this.samples.length - at);
    this.samples.set(pcm.subarray(0, first), at);
    this.samples.set(pcm.subarray(first), 0);
    this.written += pcm.length;
  }

  end() {
    this.isEnding = true;
    this.dry = 0; // nothing was missing: nothing more was to come
  }

  stop() {
    this.fadeOut();
    this.begin({ answer: 0 });
  }

  pause() {
    if (this.isPaused) return;
    this.fadeOut();
    this.isPaused = true;
    this.report();
  }

  resume() {
    this.isPaused = false;
    this.rise = this.fadeFrames;
  }

  seen() {
    this.isSeen = true;
  }

  // What the loudspeakers get

  /** @param {Float32Array} out silent so far @param {number} now frame of the context's clock */
  render(out, now) {
    this.now = now;
    const played = this.isPaused || this.isOver ? out.length : this.play(out);
    if (played < out.length) this.starve(out.length - played);
    if (this.fadeLeft > 0) this.addFade(out);
    if (!this.isOver && this.isSeen && now >= this.reportAt) this.report(out.length);
  }

  play(out) {
    const count = Math.min(out.length, this.written - this.read);
    if (count > 0 && !this.isStarted) this.start();
    for (let at = 0; at < count; at += 1) out[at] = this.next();
    return count;
  }

  next() {
    const sample = this.samples[this.read++ % this.samples.length] / FULL_SCALE;
    return this.rise > 0 ? sample * (1 - this.rise-- / this.fadeFrames) : sample;
  }

  start() {
    this.isStarted = true;
    this.tell("started", { at: this.now });
  }

  starve(missing) {
    if (this.isEnding) {
      this.isOver = true;
      this.tell("ended", { heard: this.read });
    } else if (this.isStarted) this.dry += missing;
  }

  /** What would have come next, on its way to silence. */
  fadeOut() {
    const isSilent = this.isPaused || this.isOver || !this.isStarted;
    const count = isSilent ? 0 : Math.min(this.fadeFrames, this.written - this.read);
    if (count === 0) return;
    for (let at = 0; at < count; at += 1) this.fade[at] = this.next() * (1 - (at + 1) / (count + 1));
    this.fade.copyWithin(this.fadeFrames - count, 0, count);
    this.fadeLeft = count;
  }

  addFade(out) {
    const count = Math.min(out.length, this.fadeLeft);
    const from = this.fadeFrames - this.fadeLeft;
    for (let at = 0; at < count; at += 1) out[at] += this.fade[from + at];
    this.fadeLeft -= count;
  }

  report(rendered = 0) {
    this.isSeen = false;
    this.reportAt = this.now + REPORT_S * this.rate;
    this.tell("heard", { heard: this.read, at: this.now + rendered, dry: this.dry });
  }

  tell(type, facts) {
    this.post({ type, answer: this.answer, ...facts });
  }
}

if (globalThis.AudioWorkletProcessor) {
  class RingProcessor extends AudioWorkletProcessor {
    constructor({ processorOptions }) {
      super();
      this.ring = new Ring(processorOptions.frames, sampleRate, (report) => this.port.postMessage(report));
      this.port.onmessage = ({ data }) => this.ring[data.type](data);
    }

    process(_inputs, [[out]]) {
      this.ring.render(out, currentFrame);
      return true;
    }
  }

  registerProcessor("ring", RingProcessor);
}
