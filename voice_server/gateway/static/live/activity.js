/**
 * Whether somebody speaks, by loudness alone.
 *
 * Promises: pure; a click is no speech and a breath between two words is no end of it: on after 120 ms that are loud
 * enough, off after 220 ms that are soft enough, and what lies between the two levels changes nothing.
 */

const ON = 0.02; // RMS of full scale, -34 dBFS
const OFF = 0.01; // -40 dBFS
const MIN_SPEAK_S = 0.12;
const MIN_SILENCE_S = 0.22;

export class Activity {
  isSpeaking = false;
  level = 0; // RMS of the newest block
  #sampleRate;
  #against = 0; // samples that sounded otherwise than `isSpeaking` says

  /** @param {number} sampleRate Hz */
  constructor(sampleRate) {
    this.#sampleRate = sampleRate;
  }

  /** @param {Float32Array} block @returns {boolean} whether somebody speaks now */
  push(block) {
    this.level = rms(block);
    const isAgainst = this.isSpeaking ? this.level < OFF : this.level >= ON;
    const isFor = this.isSpeaking ? this.level >= OFF : this.level < OFF;
    if (isAgainst) this.#against += block.length;
    else if (isFor) this.#against = 0;
    if (this.#against >= this.#sampleRate * (this.isSpeaking ? MIN_SILENCE_S : MIN_SPEAK_S)) this.#turn();
    return this.isSpeaking;
  }

  #turn() {
    this.isSpeaking = !this.isSpeaking;
    this.#against = 0;
  }
}

/** @param {Float32Array} block */
export function rms(block) {
  let sum = 0;
  for (const sample of block) sum += sample * sample;
  return block.length ? Math.sqrt(sum / block.length) : 0;
}
