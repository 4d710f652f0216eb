/**
 * One socket to `/stream-tokens`.
 *
 * Promises: an event for each message of the server that belongs to the answer asked for last, and none that belongs to
 * an older one; connects when there is something to say, also after the server went away; at most one answer at a time.
 * Events carry the server's message as their detail: ready, queued, generating, sentence, audio {pcm}, resumed,
 * cancelled, problem, done, closed {code, wasAnswering, wasTold}, typed {token}.
 */

import { Relay } from "./relay.js";
import { Typist } from "./tokens.js";

const RATE = "native"; // nothing is resampled on the way: the player takes any rate
const AHEAD_CHARS = 16 * 1024; // of text that is not being rendered yet; the server refuses more than twice as much
const STALL_MS = 5_000; // without a message: what was sent is no sentence, such as a page of blank lines
const IDLE_CODES = ["idle_timeout", "going_away"]; // no news for a person while nothing is being said
const NAMES = { error: "problem" };

export class Speech extends EventTarget {
  #api;
  #socket = null;
  #backend = null;
  #ready = null; // a promise of the first message
  #typist = null;
  #run = 0;
  #cuts = 0; // answers that were cancelled and whose last messages may still come
  #isAnswering = false;
  #wasTold = false; // an error came that may be the reason of what follows
  #texts = null; // see newTexts
  #stall = 0;

  /** @param {{socket: (path: string) => WebSocket, get: (path: string) => Promise<*>}} api */
  constructor(api) {
    super();
    this.#api = api;
  }

  /**
   * Says a text; an answer under way is cut off.
   * @param {string} text
   * @param {object} [how]
   * @param {string} [how.backend] empty: the server's default
   * @param {string} [how.voice] empty: the backend's default
   * @param {object} [how.opts] of the backend
   * @param {number|null} [how.pace] tokens per second; null is all at once
   * @param {import("./relay.js").Source|null} [how.source] who is still writing the text, which is passed on as it comes
   * @returns {Promise<object|null>} the server's `ready` message once typing begins; null when it was cancelled before
   * @throws what the server or api.js says when there is no connection
   */
  async say(text, { backend = "", voice = "", opts = {}, pace = null, source = null } = {}) {
    if (this.#isAnswering) this.cancel();
    const run = ++this.#run;
    const ready = await this.#connected(backend, run);
    if (run !== this.#run) return null;
    [this.#isAnswering, this.#wasTold, this.#texts] = [true, false, newTexts()];
    this.#send({ voice, opts });
    const how = { pace, send: (token, isLast) => this.#type(token, isLast), mayType: () => this.#hasRoom };
    this.#typist = source ? new Relay(source, how) : new Typist(text.toWellFormed?.() ?? text, how);
    this.#typist.start();
    return ready;
  }

  /** Barge-in. @returns {boolean} whether a `cancelled` will come */
  cancel() {
    this.#run += 1;
    this.#typist?.stop();
    const mayBeHeard = this.#texts !== null && this.#isOpen;
    if (mayBeHeard) this.#send({ cancel: true });
    this.#cuts += mayBeHeard ? 1 : 0;
    [this.#isAnswering, this.#texts] = [false, null];
    this.#watchForStall();
    return mayBeHeard;
  }

  close() {
    this.cancel();
    this.#drop();
  }

  get #isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  #send(message) {
    if (this.#isOpen) this.#socket.send(JSON.stringify(message));
  }

  #type(token, isLast) {
    this.#texts.sent += token.length;
    this.#send(isLast ? { token, done: true } : { token });
    this.#watchForStall();
    this.#tell("typed", { token });
  }

  get #hasRoom() {
    return this.#texts.sent - this.#texts.rendered < AHEAD_CHARS;
  }

  #watchForStall() {
    clearTimeout(this.#stall);
    if (this.#texts === null || this.#hasRoom) return;
    this.#stall = setTimeout(() => {
      this.#texts.rendered = this.#texts.sent;
      this.#typist.nudge();
    }, STALL_MS);
  }

  async #connected(backend, run) {
    try {
      return await (this.#fits(backend) ? this.#ready : this.#connect(backend));
    } catch (problem) {
      if (problem.code !== "unreachable" || run !== this.#run) throw problem;
    }
    await this.#api.get("backends"); // says why: it asks for the token, or finds that nobody is there
    return run === this.#run ? this.#connect(backend) : null;
  }

  #fits(backend) {
    return this.#socket && backend === this.#backend && this.#socket.readyState <= WebSocket.OPEN;
  }

  #connect(backend) {
    this.#drop();
    const query = new URLSearchParams({ keep_open: "1", words: "1", sample_rate: RATE, ...(backend && { backend }) });
    const socket = (this.#socket = this.#api.socket(`stream-tokens?${query}`));
    this.#backend = backend;
    socket.binaryType = "arraybuffer";
    this.#ready = new Promise((resolve, reject) => {
      socket.onmessage = ({ data }) => {
        const first = JSON.parse(data);
        if (first.type !== "ready") return reject(first);
        socket.onmessage = (message) => this.#take(message.data);
        this.#tell("ready", first);
        return resolve(first);
      };
      socket.onclose = ({ code }) => {
        reject({ code: "unreachable", msg: "the connection could not be opened" });
        if (socket === this.#socket) this.#onClose(code);
      };
    });
    return this.#ready;
  }

  /** Lets go of the socket; whatever still comes from it is not heard. */
  #drop() {
    const socket = this.#socket;
    if (!socket) return;
    socket.onmessage = null;
    this.#onClose(1000);
    socket.close();
  }

  #onClose(code) {
    const [wasAnswering, wasTold] = [this.#isAnswering, this.#wasTold];
    this.#typist?.stop();
    [this.#socket, this.#isAnswering, this.#texts, this.#cuts] = [null, false, null, 0];
    this.#watchForStall();
    this.#tell("closed", { code, wasAnswering, wasTold });
  }

  #take(data) {
    const message = typeof data === "string" ? JSON.parse(data) : { type: "audio", pcm: new Int16Array(data) };
    if (message.type === "cancelled") this.#cuts = Math.max(0, this.#cuts - 1);
    else if (this.#cuts > 0) return; // of an answer that nobody wants any more
    this.#note(message);
    if (IDLE_CODES.includes(message.code) && !this.#isAnswering) return;
    this.#tell(NAMES[message.type] ?? message.type, message);
  }

  #note(message) {
    if (message.type === "done") this.#isAnswering = false;
    if (message.type === "error") this.#wasTold = true;
    if (!this.#texts) return;
    if (message.event === "accepted") this.#noteAccepted(message);
    if (message.type === "generating") this.#noteRendering(message.index);
    this.#watchForStall();
    this.#typist.nudge();
  }

  /** What is not spoken is never rendered: it counts at once, and not when one behind it is. */
  #noteAccepted({ text, spoken = true }) {
    this.#texts.accepted.push(spoken ? text.length : 0);
    if (!spoken) this.#texts.rendered += text.length;
  }

  #noteRendering(index) {
    for (; this.#texts.last < index; this.#texts.rendered += this.#texts.accepted[this.#texts.last]) this.#texts.last += 1;
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** How far the text of an answer is, in characters: sent, and being rendered up to the sentence `last`. */
const newTexts = () => ({ sent: 0, accepted: [], rendered: 0, last: -1 });
