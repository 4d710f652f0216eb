/**
 * One socket to `/transcribe`, for one utterance after the other.
 *
 * Promises: what is heard before the socket is there, or before the text of the utterance before, is not lost; each
 * `begin` is answered by one event `final` or `problem`; connects when there is something to be heard, also after the
 * server went away. Events carry the server's message: partial {text, tentative}, final {text, segments}, overload,
 * problem {code, message}.
 */

const MOST_UNSENT = 1500; // blocks, about a minute: the server drops what it cannot take in half of that
const MINE = ["partial", "final", "overload"];

export class Transcription extends EventTarget {
  #api;
  #socket = null;
  #isReady = false;
  #unsent = [];
  #isStarted = false; // the server listens to an utterance, or writes down its end
  #hasStopped = false; // all of it was sent

  /** @param {typeof import("../kit/api.js").api} api */
  constructor(api) {
    super();
    this.#api = api;
  }

  /** An utterance has begun that was not answered yet. */
  get isAwaited() {
    return this.#isStarted || this.#unsent.some(({ start }) => start);
  }

  /** @param {number} sampleRate Hz of the blocks that follow */
  begin(sampleRate) {
    if (!this.#socket) this.#connect();
    this.#unsent.push({ start: true, sample_rate: sampleRate, format: "f32le" });
    this.#pump();
  }

  /** @param {Float32Array} block */
  hear(block) {
    if (this.#unsent.length < MOST_UNSENT) this.#unsent.push(block);
    this.#pump();
  }

  /** That was the utterance. */
  end() {
    this.#unsent.push({ stop: true });
    this.#pump();
  }

  close() {
    const socket = this.#socket;
    if (!socket) return;
    this.#forget();
    socket.onclose = socket.onmessage = null;
    socket.close();
  }

  #connect() {
    const socket = (this.#socket = this.#api.socket("transcribe"));
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    socket.onclose = () => this.#onClose();
  }

  #pump() {
    while (this.#isReady && this.#unsent.length && !(this.#unsent[0].start && this.#isStarted)) this.#send(this.#unsent.shift());
  }

  #send(message) {
    if (message.start) [this.#isStarted, this.#hasStopped] = [true, false];
    else if (!this.#isStarted || this.#hasStopped) return; // the rest of an utterance that went wrong
    else if (message.stop) this.#hasStopped = true;
    this.#socket.send(message instanceof Float32Array ? message : JSON.stringify(message));
  }

  #take(message) {
    if (message.type === "ready") this.#isReady = true;
    if (message.type === "error" || message.type === "final") this.#isStarted = false;
    if (message.type === "error") this.#tell("problem", message);
    else if (MINE.includes(message.type)) this.#tell(message.type, message);
    this.#pump();
  }

  async #onClose() {
    const [wasReady, wasWaiting] = [this.#isReady, this.#isStarted || this.#unsent.length > 0];
    this.#forget();
    if (!wasWaiting) return;
    if (wasReady) return this.#tell("problem", { code: "connection_lost", message: "the connection was lost" });
    try {
      await this.#api.get("backends"); // says why: it asks for the token, or finds that nobody is there
      this.#tell("problem", { code: "backend_unavailable", message: "nobody listens there; try again" });
    } catch (problem) {
      this.#tell("problem", problem);
    }
  }

  #forget() {
    [this.#socket, this.#isReady, this.#isStarted, this.#unsent] = [null, false, false, []];
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
