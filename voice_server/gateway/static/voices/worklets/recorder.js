/**
 * What the microphone hears, in blocks, on the audio thread.
 *
 * Promises: posts every sample once and in order, mono, as Float32Arrays that are handed over and not copied; its output
 * is silence.
 */

const BLOCK = 2048; // samples: 43 ms at 48 kHz, quick enough for a level meter and few enough messages

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
  }

  process([input]) {
    const heard = input[0]; // none at all while the system mutes the microphone
    if (heard) this.append(heard);
    return true;
  }

  append(heard) {
    this.block.set(heard, this.filled); // a quantum of 128 divides the block
    this.filled += heard.length;
    if (this.filled === BLOCK) this.hand();
  }

  hand() {
    this.port.postMessage(this.block, [this.block.buffer]);
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
  }
}

registerProcessor("recorder", Recorder);
