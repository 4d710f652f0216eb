/**
 * Types like a language model.
 *
 * Promises: the tokens joined are the text; they are sent in order, at the pace asked for on average however late the
 * browser's timers are (a page in the background gets few: then several tokens go at once), and never faster than
 * whoever reads them can take.
 */

const WORD_CHARS = 8; // longer words come in pieces, as from a model's vocabulary ...
const PIECE_CHARS = 4; // ... of this length
const MESSAGE_CHARS = 2000; // of text that is sent at once; the server takes 4096 in a message
const TOKEN = /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}| ?\p{L}[\p{L}\p{M}'’]*| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]|\s/gu;
const CJK = /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}/u;

/** @param {string} text @returns {string[]} */
export function tokensOf(text) {
  return (text.match(TOKEN) ?? []).flatMap(pieces);
}

function pieces(token) {
  if (CJK.test(token)) return [...token];
  const chars = [...token];
  if (chars.length <= WORD_CHARS + 1) return [token];
  const count = Math.ceil(chars.length / PIECE_CHARS);
  return Array.from({ length: count }, (_, at) => chars.slice(at * PIECE_CHARS, (at + 1) * PIECE_CHARS).join(""));
}

export class Typist {
  #tokens;
  #pace;
  #send;
  #mayType;
  #sent = 0; // tokens
  #startMs = 0; // when the token 0 was due
  #timer = 0;
  #isWaiting = false; // for the reader
  #isOver = false;

  /**
   * @param {string} text
   * @param {object} how
   * @param {number|null} how.pace tokens per second; null is as fast as it is read
   * @param {(text: string, isLast: boolean) => void} how.send
   * @param {() => boolean} [how.mayType] whether the reader takes more now
   */
  constructor(text, { pace, send, mayType = () => true }) {
    this.#tokens = tokensOf(text);
    [this.#pace, this.#send, this.#mayType] = [pace, send, mayType];
  }

  start() {
    this.#startMs = performance.now();
    this.#type();
  }

  stop() {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** The reader may take more now. */
  nudge() {
    if (!this.#isWaiting || this.#isOver || !this.#mayType()) return;
    this.#isWaiting = false;
    if (this.#pace) this.#startMs = performance.now() - this.#dueMs(this.#sent);
    this.#type();
  }

  #type() {
    while (!this.#isOver && this.#due > this.#sent) {
      if (!this.#mayType()) return void (this.#isWaiting = true);
      this.#sendSome();
    }
    if (this.#isOver) return;
    // From the beginning and not from the last timer: late timers must not add up.
    const waitMs = this.#startMs + this.#dueMs(this.#sent) - performance.now();
    this.#timer = setTimeout(() => this.#type(), Math.max(0, waitMs));
  }

  /** How many tokens should have been sent by now. */
  get #due() {
    if (!this.#pace) return this.#tokens.length || 1;
    const elapsedS = (performance.now() - this.#startMs) / 1000;
    return Math.min(Math.floor(elapsedS * this.#pace) + 1, this.#tokens.length || 1);
  }

  #dueMs(number) {
    return this.#pace ? (number * 1000) / this.#pace : 0;
  }

  #sendSome() {
    const due = this.#due;
    let text = "";
    while (this.#sent < due && text.length < MESSAGE_CHARS) text += this.#tokens[this.#sent++] ?? "";
    const isLast = this.#sent >= this.#tokens.length;
    if (isLast) this.stop();
    this.#send(text, isLast);
  }
}
