/**
 * Passes a text on while somebody else is still writing it: the same as a Typist, for tokens that come by themselves.
 *
 * Promises: the tokens in order, as soon as they come and never faster than whoever reads them can take; then one last,
 * empty one; a source that is not wanted any more is told so, once.
 */

const PIECE = /.{1,2000}/gsu; // of a token; the server takes 4096 characters in a message

/** @typedef {AsyncIterable<string> & {abort: () => void}} Source that does not throw */

export class Relay {
  #source;
  #send;
  #mayType;
  #wake = () => {};
  #isOver = false;

  /**
   * @param {Source} source
   * @param {{send: (text: string, isLast: boolean) => void, mayType: () => boolean}} how
   */
  constructor(source, { send, mayType }) {
    [this.#source, this.#send, this.#mayType] = [source, send, mayType];
  }

  async start() {
    for await (const token of this.#source) {
      for (const piece of token.match(PIECE) ?? []) {
        while (!this.#isOver && !this.#mayType()) await new Promise((resolve) => (this.#wake = resolve));
        if (this.#isOver) return;
        this.#send(piece, false);
      }
    }
    if (this.#isOver) return;
    this.#isOver = true;
    this.#send("", true);
  }

  stop() {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#source.abort();
    this.#wake();
  }

  /** The reader may take more now. */
  nudge() {
    this.#wake();
  }
}
