/**
 * Moves the sound of a take into a player as its ring drains.
 *
 * Promises: every sample once and in order; never more than the ring has room for; one read of sealed sound at a time;
 * what is in memory is handed over at once, without waiting for anything.
 */

const PIECE_S = 0.5; // of a read of sealed sound: far less than the ring holds, and few reads

export class Feed {
  #take;
  #player;
  #at; // frame
  #isReading = false;
  #isOver = false;

  /**
   * @param {import("./take.js").Take} take
   * @param {import("./player.js").Player} player that has begun
   * @param {number} [fromFrame]
   */
  constructor(take, player, fromFrame = 0) {
    [this.#take, this.#player, this.#at] = [take, player, fromFrame];
  }

  /** Call it when the take has grown or is finished, and when the ring has drained a little. */
  pump() {
    while (!this.#isReading && !this.#isOver && this.#step());
  }

  close() {
    this.#isOver = true;
  }

  /** @returns {boolean} whether there may be more to do at once */
  #step() {
    const left = this.#take.frames - this.#at;
    if (left === 0) return this.#endIfWhole();
    const count = Math.min(left, this.#player.room);
    if (count === 0) return false;
    const pcm = this.#take.recent(this.#at, count);
    return pcm ? this.#push(pcm) : this.#read(left);
  }

  #push(pcm) {
    this.#at += pcm.length;
    this.#player.push(pcm);
    return true;
  }

  #endIfWhole() {
    if (this.#take.state === "rendering") return false;
    this.close();
    this.#player.end();
    return false;
  }

  #read(left) {
    const count = Math.min(left, Math.ceil(PIECE_S * this.#player.frameRate));
    if (this.#player.room < count) return false;
    this.#isReading = true;
    this.#take.read(this.#at, count).then((pcm) => this.#onRead(pcm));
    return false;
  }

  #onRead(pcm) {
    this.#isReading = false;
    if (this.#isOver) return;
    this.#push(pcm);
    this.pump();
  }
}
