/**
 * What the page says and plays: ties the socket, the player and the takes together.
 *
 * Promises: one answer is heard at a time; a new one, or a replay, cuts off the old one before anything else; a take is
 * `finished` exactly once, when it has been heard, cut off, or lost. Events: `state`, `take` (another one is current),
 * `change` (it grew), `finished {take}`, `problem {code, msg, field}`, `queued {position, reason, eta_ms}`.
 */

import { Feed } from "./feed.js";
import { Player } from "./player.js";
import { Speech } from "./speech.js";
import { gapFigures } from "./stats.js";
import { Take } from "./take.js";

const USUAL_RATE = 24_000; // Hz, until a backend has said its own

export class Conversation extends EventTarget {
  /** @type {Take|null} */
  take = null;
  /** @type {"idle"|"connecting"|"waiting"|"speaking"|"paused"} */
  state = "idle";
  player = new Player();
  #speech;
  #feed = null;
  #isLive = false; // the take is heard for the first time
  #askedMs = 0;
  #rates = new Map(); // backend → Hz
  #cut = []; // takes whose `cancelled` has not come yet

  /** @param {{api: object}} deps */
  constructor({ api }) {
    super();
    this.#speech = new Speech(api);
    this.#listenToSpeech();
    this.#listenToPlayer();
  }

  /**
   * Says a text aloud. Call it while handling a click or a key.
   * @param {string} text empty where a `source` is still to write it
   * @param {{backend?: string, voice?: string, opts?: object, pace?: number|null, source?: import("./relay.js").Source}} [how]
   *   as for Speech.say
   */
  async say(text, how = {}) {
    this.stop();
    const take = this.#show(new Take({ text, backend: how.backend, voice: how.voice }), true);
    this.#askedMs = performance.now();
    this.#set("connecting");
    const guess = this.#rates.get(take.backend) ?? USUAL_RATE;
    const playing = this.player.begin(guess); // before the answer is there: now is the click
    playing.catch(() => {}); // told when it is awaited, if it ever is
    try {
      const ready = await this.#speech.say(text, how);
      if (!ready) how.source?.abort();
      if (take === this.take && ready) await this.#play(take, ready, guess, playing);
    } catch (problem) {
      how.source?.abort();
      if (take === this.take) this.#fail(problem);
    }
  }

  /** Silence, at once; then the server is told. */
  stop() {
    if (this.state === "idle") return;
    const take = this.take;
    this.#feed?.close(); // what grows from here on is not for this player
    this.player.stop();
    this.#noteHeard();
    const wasLive = this.#isLive;
    this.#rest();
    if (!wasLive) return;
    take.finish("cancelled");
    if (this.#speech.cancel()) this.#cut.push(take);
    else this.#close(take);
  }

  pause() {
    if (this.state !== "speaking") return;
    this.player.pause();
    this.#set("paused");
  }

  resume() {
    if (this.state !== "paused") return;
    this.player.resume();
    this.#set("speaking");
  }

  /**
   * Plays a finished take. Call it while handling a click or a key.
   * @param {Take} take
   * @param {{fromS?: number}} [where] seconds of the take that are left out
   */
  async replay(take, { fromS = 0 } = {}) {
    if (take.state === "rendering") return;
    this.stop();
    this.#show(take, false);
    this.#set("waiting");
    const isWaiting = () => take === this.take && this.state === "waiting";
    try {
      await this.player.begin(take.sampleRate, fromS);
      if (isWaiting()) this.#startFeed(take, Math.round(fromS * take.sampleRate));
    } catch (problem) {
      if (!isWaiting()) return;
      this.#tell("problem", problem);
      this.#rest();
    }
  }

  async #play(take, ready, guess, playing) {
    const { backend, voice, sample_rate: sampleRate } = ready;
    for (const name of [backend, take.backend]) this.#rates.set(name, sampleRate);
    Object.assign(take, { backend, voice: take.voice || voice, sampleRate });
    this.#set("waiting");
    await (sampleRate === guess ? playing : this.player.begin(sampleRate));
    if (take === this.take && this.#isLive) this.#startFeed(take, 0);
  }

  #startFeed(take, frame) {
    this.#feed = new Feed(take, this.player, frame);
    this.#feed.pump();
  }

  #show(take, isLive) {
    [this.take, this.#isLive] = [take, isLive];
    this.#tell("take", { take });
    return take;
  }

  #grow(change) {
    change(this.take);
    this.#feed?.pump();
    this.#tell("change");
  }

  #listenToSpeech() {
    const on = (name, act) => this.#speech.addEventListener(name, ({ detail }) => act(detail));
    on("audio", ({ pcm }) => this.#grow((take) => take.append(pcm)));
    on("sentence", (message) => this.#grow((take) => take.addSentence(message)));
    on("generating", (message) => this.#grow((take) => take.addSentence(message)));
    on("typed", ({ token }) => this.#grow((take) => take.type(token)));
    on("queued", (message) => this.#tell("queued", message));
    on("problem", (message) => this.#onProblem(message));
    on("done", () => this.#finish(this.take.frames ? "complete" : "failed"));
    on("cancelled", (message) => this.#onCancelled(message));
    on("closed", (how) => this.#onClosed(how));
  }

  #listenToPlayer() {
    const on = (name, act) => this.player.addEventListener(name, ({ detail }) => act(detail));
    on("started", ({ atMs }) => this.#onStarted(atMs));
    on("progress", () => this.#feed?.pump());
    on("gap", () => this.#noteHeard());
    on("ended", () => this.#onEnded());
    on("blocked", () => this.#tell("problem", { code: "audio_blocked", msg: "the browser keeps this page silent" }));
  }

  #onStarted(atMs) {
    this.#set("speaking");
    if (!this.#isLive) return;
    this.#grow((take) => take.noteStart(atMs - this.#askedMs));
  }

  #onProblem(message) {
    if (message.sentence !== undefined) this.#grow((take) => take.addSentence(message));
    this.#tell("problem", message);
  }

  /** All that will come has come; what is in the ring is still to be heard. */
  #finish(state) {
    this.#grow((take) => take.finish(state));
    if (this.take.frames === 0) this.#onEnded();
  }

  #fail(problem) {
    this.#tell("problem", problem);
    this.#finish("failed");
  }

  #onClosed({ wasAnswering, wasTold }) {
    for (const take of this.#cut.splice(0)) this.#close(take);
    if (!wasAnswering) return;
    if (!wasTold) this.#tell("problem", { code: "connection_lost", msg: "the connection was lost" });
    this.#finish("failed");
  }

  #onCancelled({ spoken_text: spokenText }) {
    const take = this.#cut.shift();
    take.spokenText = spokenText;
    this.#close(take);
  }

  #onEnded() {
    const [take, wasLive] = [this.take, this.#isLive];
    this.#noteHeard();
    this.#rest();
    if (wasLive) this.#close(take);
  }

  /** What this page knows of the first hearing; a replay changes none of it. */
  #noteHeard() {
    if (!this.#isLive) return;
    this.#grow((take) => {
      take.gaps = [...this.player.gaps];
      Object.assign(take.stats, gapFigures(take.gaps), { heardS: this.player.heardS });
    });
  }

  #rest() {
    this.#feed?.close();
    [this.#feed, this.#isLive] = [null, false];
    this.#set("idle");
  }

  #close(take) {
    take.release();
    this.#tell("finished", { take });
  }

  #set(state) {
    if (state === this.state) return;
    this.state = state;
    this.#tell("state", { state });
  }

  #tell(name, detail = {}) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
