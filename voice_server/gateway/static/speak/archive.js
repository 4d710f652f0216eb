/**
 * What was said, kept in this browser: facts and sound of takes in IndexedDB.
 *
 * Promises: newest first; never more takes or bytes than allowed, the oldest go first; what is kept survives reloads and
 * later versions of the page; where the browser keeps nothing, or no sound (some private windows), the same list lasts as
 * long as the page, and `isKept` says so.
 */

import { Take } from "../sound/take.js";
import { peakBetween } from "../sound/timeline.js";

const NAME = "voice-gateway";
const STORES = { takes: "what a list shows", sounds: "all facts and the sound" };
const AT_MOST = { takes: 50, bytes: 200 * 2 ** 20 }; // an hour of speech at 24 kHz is 173 MB
const EXCERPT_CHARS = 300;
const SHAPE_BARS = 48; // of the small picture of a take
const TRIAL = "trial"; // no id of a take

/** @typedef {{id: string, at: number, text: string, backend: string, voice: string, state: string, durationS: number, bytes: number, shape: number[]}} Summary */

/**
 * @param {{takes: number, bytes: number}} [atMost]
 * @returns {Promise<Archive>}
 */
export async function openHistory(atMost = AT_MOST) {
  try {
    const shelf = new Shelf(await openDatabase());
    await shelf.tryOut();
    return new Archive(shelf, atMost, true);
  } catch {
    return new Archive(new Pocket(), atMost, false);
  }
}

class Archive {
  #shelf;
  #atMost;

  constructor(shelf, atMost, isKept) {
    Object.assign(this, { isKept });
    [this.#shelf, this.#atMost] = [shelf, atMost];
  }

  /** @param {Take} take that is finished */
  async add(take) {
    const sound = await take.pcm();
    const summary = summaryOf(take, sound.size);
    const room = this.#atMost.bytes - summary.bytes;
    if (room < 0) return;
    await this.#drop(tooMany(await this.list(), { takes: this.#atMost.takes - 1, bytes: room }));
    await this.#put(summary, { id: take.id, facts: take.facts(), sound });
  }

  /** @returns {Promise<Summary[]>} newest first */
  async list() {
    return (await this.#shelf.summaries()).sort((one, other) => other.at - one.at);
  }

  /** @param {string} id @returns {Promise<Take|null>} */
  async get(id) {
    const kept = await this.#shelf.get(id);
    return kept ? Take.restore(kept.facts, kept.sound) : null;
  }

  /** @param {string} id */
  remove(id) {
    return this.#shelf.remove([id]);
  }

  clear() {
    return this.#shelf.clear();
  }

  /** A disk may be full before our own limits are reached: then older ones go until it fits. */
  async #put(summary, kept) {
    for (;;) {
      try {
        return await this.#shelf.put(summary, kept);
      } catch (problem) {
        const oldest = (await this.list()).at(-1);
        if (!isFull(problem) || !oldest) throw problem;
        await this.#drop([oldest]);
      }
    }
  }

  #drop(summaries) {
    return this.#shelf.remove(summaries.map(({ id }) => id));
  }
}

const isFull = (problem) => problem?.name === "QuotaExceededError";

/** Which have to go, of a list with the newest first. */
function tooMany(summaries, { takes, bytes }) {
  let total = 0;
  return summaries.filter((summary, place) => {
    total += summary.bytes;
    return place >= takes || total > bytes;
  });
}

function summaryOf(take, bytes) {
  const { id, at, text, backend, voice, durationS } = take;
  const state = take.spokenText ? "cancelled" : take.state; // it may have been whole before it was cut off
  const barS = durationS / SHAPE_BARS;
  const shape = Array.from({ length: SHAPE_BARS }, (_, bar) => peakBetween(take, bar * barS, (bar + 1) * barS));
  return { id, at, text: text.slice(0, EXCERPT_CHARS), backend, voice, state, durationS, bytes, shape };
}

/** In a database. */
class Shelf {
  #database;

  constructor(database) {
    this.#database = database;
  }

  /** Rejects where facts are kept but no sound: WebKit refuses Blobs in private windows (webkit.org/b/156347). */
  async tryOut() {
    const trial = { id: TRIAL, sound: new Blob(["."]) };
    try {
      await this.#do("readwrite", ({ sounds }) => (sounds.put(trial), sounds.delete(TRIAL)));
    } catch (problem) {
      if (!isFull(problem)) throw problem; // older takes can make room
    }
  }

  summaries() {
    return this.#do("readonly", ({ takes }) => takes.getAll());
  }

  get(id) {
    return this.#do("readonly", ({ sounds }) => sounds.get(id));
  }

  put(summary, kept) {
    return this.#do("readwrite", ({ takes, sounds }) => (takes.put(summary), sounds.put(kept)));
  }

  remove(ids) {
    return this.#do("readwrite", ({ takes, sounds }) => ids.forEach((id) => (takes.delete(id), sounds.delete(id))));
  }

  clear() {
    return this.#do("readwrite", ({ takes, sounds }) => (takes.clear(), sounds.clear()));
  }

  /** All or nothing. */
  #do(mode, act) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(Object.keys(STORES), mode);
      const stores = { takes: transaction.objectStore("takes"), sounds: transaction.objectStore("sounds") };
      transaction.onabort = () => reject(transaction.error);
      try {
        const request = act(stores);
        transaction.oncomplete = () => resolve(request?.result);
      } catch (problem) {
        transaction.abort(); // or what it did before it threw would stay
        throw problem;
      }
    });
  }
}

/** In the memory of the page. */
class Pocket {
  #kept = new Map();

  async summaries() {
    return [...this.#kept.values()].map(({ summary }) => summary);
  }

  async get(id) {
    return this.#kept.get(id)?.kept;
  }

  async put(summary, kept) {
    this.#kept.set(summary.id, { summary, kept });
  }

  async remove(ids) {
    for (const id of ids) this.#kept.delete(id);
  }

  async clear() {
    this.#kept.clear();
  }
}

/** Whatever version of the page made it: the stores that are missing are added, and what is there stays. */
async function openDatabase(version) {
  const database = await opened(version);
  if (Object.keys(STORES).every((name) => database.objectStoreNames.contains(name))) return database;
  database.close();
  return openDatabase(database.version + 1);
}

function opened(version) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, version);
    request.onupgradeneeded = () => {
      for (const name of Object.keys(STORES)) {
        if (!request.result.objectStoreNames.contains(name)) request.result.createObjectStore(name, { keyPath: "id" });
      }
    };
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close(); // another tab has a newer page
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("an older page holds it"));
  });
}
