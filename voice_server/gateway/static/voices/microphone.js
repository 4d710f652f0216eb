/**
 * The microphone, as it hears unless somebody wants otherwise: no echo canceller, no noise gate, no gain that moves, all
 * of which spoil a voice.
 *
 * Promises: nothing is kept before `start()`; the device is let go of by `close()`, whatever happened before. Events:
 * `heard` {block, peak, seconds} for every block; `full` when the recording has reached its longest.
 */

import { encodeWav } from "../sound/wav.js";

const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
const REASONS = { NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "none", NotReadableError: "busy" };

/** Why there is no microphone: `reason` is insecure, denied, none, busy or unknown. */
export class NoMicrophone extends Error {
  constructor(reason) {
    super(`no microphone: ${reason}`);
    this.reason = reason;
  }
}

export class Microphone extends EventTarget {
  /**
   * Asks for the microphone; call it in a click.
   * @param {number} mostS the longest recording, seconds
   * @param {MediaTrackConstraints} [wanted] what the browser may do to the sound
   * @returns {Promise<Microphone>} rejects with NoMicrophone
   */
  static async open(mostS, wanted = RAW) {
    if (!navigator.mediaDevices || !window.AudioWorkletNode) throw new NoMicrophone("insecure");
    const microphone = new Microphone(mostS, wanted);
    try {
      await microphone.connect();
    } catch (error) {
      microphone.close();
      throw new NoMicrophone(REASONS[error.name] ?? "unknown");
    }
    return microphone;
  }

  constructor(mostS, wanted) {
    super();
    this.mostS = mostS;
    this.wanted = wanted;
    this.blocks = null; // of the recording, while there is one
    this.samples = 0;
  }

  async connect() {
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: this.wanted });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule(new URL("./worklets/recorder.js", import.meta.url));
    this.recorder = new AudioWorkletNode(this.context, "recorder", { channelCount: 1, channelCountMode: "explicit" });
    this.recorder.port.onmessage = ({ data }) => this.hear(data);
    this.context.createMediaStreamSource(this.stream).connect(this.recorder).connect(this.context.destination);
    await this.context.resume();
  }

  hear(block) {
    if (this.blocks) this.keep(block);
    const peak = block.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    this.dispatchEvent(new CustomEvent("heard", { detail: { block, peak, seconds: this.seconds } }));
    if (this.blocks && this.seconds >= this.mostS) this.dispatchEvent(new Event("full"));
  }

  keep(block) {
    const room = Math.floor(this.mostS * this.context.sampleRate) - this.samples;
    const part = block.subarray(0, room);
    this.blocks.push(part);
    this.samples += part.length;
  }

  /** Seconds recorded. */
  get seconds() {
    return this.samples / this.context.sampleRate;
  }

  start() {
    this.blocks = [];
    this.samples = 0;
  }

  /** Ends the recording and lets go of the microphone. @returns {Blob} audio/wav */
  stop() {
    const whole = new Float32Array(this.samples);
    let at = 0;
    for (const block of this.blocks ?? []) {
      whole.set(block, at);
      at += block.length;
    }
    this.close();
    return encodeWav(whole, this.context.sampleRate);
  }

  close() {
    this.blocks = null;
    if (this.recorder) this.recorder.port.onmessage = null;
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    if (this.context && this.context.state !== "closed") this.context.close();
  }
}
