/**
 * What the server can speak with, and which of it was chosen here.
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
  /** @param {{get: (path: string) => Promise<any>}} api */
  constructor(api) {
    super();
    this._api = api;
    this._wanted = recall(CHOSEN, "");
    this._timer = 0;
    this._shown = "";
    /** As GET /backends tells them, the default first. */
    this.list = [];
    /** @type {Error|null} why the server did not answer */
    this.away = null;
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
  }

  /** The chosen backend, else the default one; null while none is known. */
  get chosen() {
    return this.list.find((backend) => backend.name === this._wanted) ?? this.list[0] ?? null;
  }

  /** @returns {"ready"|"loading"|"broken"|"away"} of the chosen backend */
  get state() {
    if (this.away) return "away";
    if (!this.chosen) return "loading";
    if (this.chosen.ready) return "ready";
    const states = new Set(this.chosen.workers.map((worker) => worker.state));
    return ["waiting", "loading", "restarting"].some((state) => states.has(state)) ? "loading" : "broken";
  }

  /** @param {string} name */
  choose(name) {
    this._wanted = name;
    remember(CHOSEN, name);
    this._tell();
  }

  /** Looks now. */
  async refresh() {
    clearTimeout(this._timer);
    try {
      this.list = (await this._api.get("backends")).backends;
      this.away = null;
    } catch (error) {
      this.away = error;
    }
    this._tell();
    this._lookAgain();
  }

  _lookAgain() {
    clearTimeout(this._timer);
    if (!document.hidden) this._timer = setTimeout(() => this.refresh(), this.state === "ready" ? CALM_MS : SOON_MS);
  }

  _tell() {
    const now = JSON.stringify([this._wanted, this.away?.code ?? null, this.list]);
    if (now === this._shown) return; // so that nobody redraws under a finger
    this._shown = now;
    this.dispatchEvent(new Event("change"));
  }
}
