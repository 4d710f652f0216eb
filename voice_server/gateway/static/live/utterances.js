/**
 * Cuts what a microphone hears into utterances: what is said while the button is held, or between two silences.
 *
 * Promises: pure; nothing but utterances is handed on; an utterance that begins by itself has the half second before it,
 * so that its first word is whole; each `begin` has one `end`.
 */

import { Activity } from "./activity.js";

const BEFORE_S = 0.5;
const PAUSE_S = 0.8; // of silence that ends an utterance: people stop to think for less

export class Utterances {
  isHeld = false;
  isOpen = false; // an utterance has begun and not ended
  activity;
  #sampleRate;
  #to;
  #before = []; // the newest blocks, while nobody speaks
  #silentS = 0;

  /**
   * @param {number} sampleRate Hz
   * @param {{begin: () => void, hear: (block: Float32Array) => void, end: () => void}} to
   */
  constructor(sampleRate, to) {
    [this.#sampleRate, this.#to, this.activity] = [sampleRate, to, new Activity(sampleRate)];
  }

  /** @param {Float32Array} block of a tenth of a second or less */
  push(block) {
    const isSpeaking = this.activity.push(block);
    if (!this.isOpen && (isSpeaking || this.isHeld)) this.#begin();
    if (!this.isOpen) return this.#keep(block);
    this.#to.hear(block);
    this.#silentS = isSpeaking ? 0 : this.#silentS + this.#seconds(block);
    if (!this.isHeld && this.#silentS >= PAUSE_S) this.end();
  }

  /** The button is down: all is one utterance until `end`. */
  hold() {
    this.isHeld = true;
  }

  end() {
    this.isHeld = false;
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#to.end();
  }

  #begin() {
    [this.isOpen, this.#silentS] = [true, 0];
    this.#to.begin();
    for (const block of this.#before.splice(0)) this.#to.hear(block);
  }

  #keep(block) {
    this.#before.push(block);
    while (this.#before.length * this.#seconds(block) > BEFORE_S) this.#before.shift();
  }

  #seconds(block) {
    return block.length / this.#sampleRate;
  }
}
