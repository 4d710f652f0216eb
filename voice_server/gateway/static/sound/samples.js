/**
 * The sound of one answer, however long it gets.
 *
 * Promises: samples come back as they were appended. Only the last seconds are in the page's memory; what is older is
 * sealed into Blobs, which browsers keep outside of it and on disk when they are many.
 */

const BLOCK_FRAMES = 1 << 18; // 11 s at 24 kHz, 512 KiB: few Blobs, and little that is not sealed
const BYTES_PER_FRAME = 2;

export class Samples {
  #blobs = [];
  #sealed = 0; // frames in all blobs
  #block = null; // the open one, of BLOCK_FRAMES
  #used = 0;
  #previous = null; // sealed, and at hand for a player that is close behind

  /** @param {Blob} [blob] PCM s16le to begin with */
  constructor(blob) {
    if (!blob) return;
    this.#blobs = [blob];
    this.#sealed = blob.size / BYTES_PER_FRAME;
  }

  get frames() {
    return this.#sealed + this.#used;
  }

  /** @param {Int16Array} pcm */
  append(pcm) {
    for (let at = 0; at < pcm.length; ) {
      this.#block ??= new Int16Array(BLOCK_FRAMES);
      const count = Math.min(pcm.length - at, BLOCK_FRAMES - this.#used);
      this.#block.set(pcm.subarray(at, at + count), this.#used);
      this.#used += count;
      at += count;
      if (this.#used === BLOCK_FRAMES) this.seal();
    }
  }

  /** Moves what is open out of the page's memory. */
  seal() {
    if (this.#used === 0) return;
    const whole = this.#block.subarray(0, this.#used);
    this.#blobs.push(new Blob([whole]));
    this.#previous = { start: this.#sealed, samples: whole };
    this.#sealed += this.#used;
    [this.#block, this.#used] = [null, 0];
  }

  /** Forgets what a player close behind would need. */
  release() {
    this.#previous = null;
  }

  /**
   * A copy of what is still in memory, without waiting.
   * @param {number} at frame
   * @param {number} count frames
   * @returns {Int16Array|null} at most `count` frames; null when they are sealed
   */
  recent(at, count) {
    if (at >= this.#sealed) return this.#block.slice(at - this.#sealed, Math.min(at - this.#sealed + count, this.#used));
    const previous = this.#previous;
    if (!previous || at < previous.start) return null;
    return previous.samples.slice(at - previous.start, at - previous.start + count);
  }

  /**
   * @param {number} at frame
   * @param {number} count frames
   * @returns {Promise<Int16Array>} from the sealed ones
   */
  async read(at, count) {
    const bytes = new Blob(this.#blobs).slice(at * BYTES_PER_FRAME, (at + count) * BYTES_PER_FRAME);
    return new Int16Array(await bytes.arrayBuffer());
  }

  /** Everything so far, as PCM s16le. @returns {Blob} */
  blob() {
    const open = this.#used ? [this.#block.slice(0, this.#used)] : [];
    return new Blob([...this.#blobs, ...open]);
  }
}
