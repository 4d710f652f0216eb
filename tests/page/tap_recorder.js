// Runs on the audio thread: posts what comes in, many quanta at a time, and lets nothing out.
"use strict";
const BLOCK = 4096; // frames in a message: a few a second at any rate of speech

class Recorder extends AudioWorkletProcessor {
  block = new Float32Array(BLOCK);
  used = 0;
  frame = null; // of the context's clock, where the first block began

  constructor() {
    super();
    this.port.onmessage = () => this.post(true);
  }

  process([input]) {
    this.frame ??= currentFrame;
    const samples = input[0]; // undefined while nothing is connected: silence
    for (let at = 0; at < 128; at += 1) {
      this.block[this.used++] = samples ? samples[at] : 0;
      if (this.used === BLOCK) this.post(false);
    }
    return true;
  }

  post(flushed) {
    this.port.postMessage({ block: this.block.slice(0, this.used), frame: this.frame, flushed });
    this.used = 0;
  }
}

registerProcessor("recorder-of-the-tests", Recorder);
