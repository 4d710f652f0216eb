/**
 * What the server can speak and listen with, and which of it was chosen here to speak.
 *
 * Promises: looks again by itself, quickly while something is not ready and rarely when all is well; never while nobody
 * sees the page. A server that is away is looked for until it is back.
 */

import { recall, remember } from "./settings.js";

const SOON_MS = 1500;
const CALM_MS = 10_000;
const CHOSEN = "backend"; // of settings

/** Events: `change`, whenever anything below has. */
export class Backends extends EventTarget {
  /** Those that speak, as GET /backends tells them, the default first. */
  list = [];
  /** Those that listen. */
  listening = [];
  /** @type {Error|null} why the server did not answer */
  away = null;
  #api;
  #wanted = recall(CHOSEN, "");
  #timer = 0;
  #shown = "";

  /** @param {typeof import("./api.js").api} api */
  constructor(api) {
    super();
    this.#api = api;
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
  }

  /** The chosen backend, else the default one; null while none is known. */
  get chosen() {
    return this.list.find((backend) => backend.name === this.#wanted) ?? this.list[0] ?? null;
  }

  /** @returns {"ready"|"loading"|"broken"|"away"|"locked"} of the chosen backend */
  get state() {
    if (this.away?.code === "unauthorized") return "locked";
    if (this.away) return "away";
    if (!this.chosen) return "loading";
    if (this.chosen.ready) return "ready";
    const states = new Set(this.chosen.workers.map((worker) => worker.state));
    return ["waiting", "loading", "restarting", "leaving"].some((state) => states.has(state)) ? "loading" : "broken";
  }

  /** @param {string} name */
  choose(name) {
    this.#wanted = name;
    remember(CHOSEN, name);
    this.#tell();
  }

  /** A person wants it to be there. */
  reconnect() {
    this.#api.askAgain();
    return this.refresh();
  }

  /** Looks now. */
  async refresh() {
    clearTimeout(this.#timer);
    try {
      const { backends } = await this.#api.get("backends");
      this.list = backends.filter(({ kind }) => kind !== "stt");
      this.listening = backends.filter(({ kind }) => kind === "stt");
      this.away = null;
    } catch (error) {
      this.away = error;
    }
    this.#tell();
    this.#lookAgain();
  }

  #lookAgain() {
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.refresh(), this.state === "ready" ? CALM_MS : SOON_MS);
  }

  #tell() {
    const now = JSON.stringify([this.#wanted, this.away?.code ?? null, this.list, this.listening]);
    if (now === this.#shown) return; // so that nobody redraws under a finger
    this.#shown = now;
    this.dispatchEvent(new Event("change"));
  }
}
