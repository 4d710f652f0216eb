/** Something happens in a few seconds, unless somebody does something. Events: `change` (see `leftS`), `over`. */

const SECOND_MS = 1000;

export class Countdown extends EventTarget {
  /** Whole seconds; 0 when nothing is about to happen. */
  leftS = 0;
  #timer = 0;

  /** @param {number} seconds */
  start(seconds) {
    this.cancel();
    this.#set(seconds);
    this.#timer = setInterval(() => this.#tick(), SECOND_MS);
  }

  cancel() {
    clearInterval(this.#timer);
    if (this.leftS) this.#set(0);
  }

  #tick() {
    if (this.leftS > 1) return this.#set(this.leftS - 1);
    this.cancel();
    this.dispatchEvent(new Event("over"));
  }

  #set(seconds) {
    this.leftS = seconds;
    this.dispatchEvent(new Event("change"));
  }
}
