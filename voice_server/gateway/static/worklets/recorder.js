/**
 * What the microphone hears, in blocks, on the audio thread.
 *
 * Promises: posts every sample once and in order, mono, as Float32Arrays that are handed over and not copied; its output
 * is silence. A first message of `"stop"` makes it post what is left and then `null`.
 */

const BLOCK = 2048; // samples: 43 ms at 48 kHz, quick enough for a level meter and few enough messages

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
    this.stopped = false;
    this.port.onmessage = () => this.finish();
  }

  process([input]) {
    if (this.stopped) return false;
    const heard = input[0];
    if (heard) this.append(heard); // no channel at all while the microphone is muted by the system
    return true;
  }

  append(heard) {
    this.block.set(heard, this.filled); // a quantum of 128 divides the block
    this.filled += heard.length;
    if (this.filled === BLOCK) this.hand();
  }

  hand() {
    const whole = this.block.slice(0, this.filled);
    this.port.postMessage(whole, [whole.buffer]);
    this.filled = 0;
  }

  finish() {
    this.hand();
    this.stopped = true;
    this.port.postMessage(null);
  }
}

registerProcessor("recorder", Recorder);
