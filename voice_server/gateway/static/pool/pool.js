/**
 * The pool, live: who renders what, how far ahead of its listener each stream is, who waits and for how long.
 *
 * Promises: asks GET /status twice a second, and only while somebody can see it; what did not change on the screen is
 * not touched. A server that does not answer is said to be away, its last picture stays, and it is looked for again.
 */

import { el, put } from "../kit/dom.js";
import { count, duration, seconds } from "../kit/figures.js";
import { onLanguage, t } from "../kit/i18n.js";
import { drawBackends } from "./pool-backends.js";
import { recall, remember } from "../kit/settings.js";

const EVERY_MS = 500; // as fast as a person reads
const AWAY_EVERY_MS = 2000;
const PATIENCE_MS = 5000; // an answer that takes longer is none
const FOLDED = "pool.folded"; // of settings

/**
 * @param {HTMLElement} root
 * @param {{api: {get: (path: string) => Promise<any>}}} deps
 * @returns {{refresh: () => Promise<void>}} `refresh` looks at once
 */
export function mountPool(root, { api }) {
  const parts = build(root);
  const looker = new Looker(() => inTime(api.get("status")), (status, error) => draw(parts, status, error));
  watch(root, parts.fold, (seen) => (seen ? looker.start() : looker.stop()));
  onLanguage(() => looker.redraw());
  return { refresh: () => looker.look() };
}

function build(root) {
  const title = el("h2", {}, t("pool.title"));
  const glance = el("span", { class: "pool-glance" });
  const away = el("p", { class: "pool-away", role: "status" });
  const totals = el("dl", { class: "pool-totals" });
  const backends = el("div", { class: "pool-backends" });
  const fold = el("details", { class: "pool-fold" }, el("summary", {}, title, glance), away, totals, backends);
  fold.open = !recall(FOLDED, false);
  fold.addEventListener("toggle", () => remember(FOLDED, fold.open ? undefined : true));
  root.append(fold);
  return { fold, title, glance, away, totals, backends };
}

/** Looks again and again, never twice at once, and keeps the last picture. */
class Looker {
  constructor(ask, draw) {
    this.ask = ask;
    this.draw = draw;
    this.timer = 0;
    this.running = false;
    this.status = null;
    this.error = null;
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.round();
  }

  stop() {
    this.running = false;
    clearTimeout(this.timer);
  }

  async round() {
    clearTimeout(this.timer);
    await this.look();
    if (this.running) this.timer = setTimeout(() => this.round(), this.error ? AWAY_EVERY_MS : EVERY_MS);
  }

  async look() {
    try {
      this.status = await this.ask();
      this.error = null;
    } catch (error) {
      this.error = error;
    }
    this.redraw();
  }

  redraw() {
    this.draw(this.status, this.error);
  }
}

function inTime(answer) {
  const tooLong = new Promise((_, refuse) => setTimeout(() => refuse(new Error("no answer in time")), PATIENCE_MS));
  return Promise.race([answer, tooLong]);
}

/** Tells when `root` begins and ceases to be seen by a person. */
function watch(root, fold, tell) {
  let onScreen = false;
  const told = () => tell(onScreen && fold.open && document.visibilityState === "visible");
  new IntersectionObserver((entries) => {
    onScreen = entries[entries.length - 1].isIntersecting;
    told();
  }).observe(root);
  document.addEventListener("visibilitychange", told);
  fold.addEventListener("toggle", told);
}

function draw(parts, status, error) {
  put(parts.title, t("pool.title"));
  parts.fold.classList.toggle("is-away", error !== null);
  parts.away.hidden = error === null;
  put(parts.away, error === null ? "" : whyAway(error));
  if (status === null) return;
  put(parts.glance, glance(status));
  drawTotals(parts.totals, status);
  drawBackends(parts.backends, status.backends);
}

function whyAway(error) {
  return error.status ? t("pool.refused", { message: error.message }) : t("pool.away");
}

function glance(status) {
  const workers = status.backends.flatMap((backend) => backend.workers);
  const ready = workers.filter((worker) => worker.state === "ready").length;
  const told = t("pool.glance", { ready, workers: workers.length });
  return status.draining ? `${told} · ${t("pool.draining")}` : told;
}

function drawTotals(list, status) {
  const streams = status.backends.flatMap((backend) => backend.streams);
  const live = streams.filter((stream) => stream.live);
  const figures = {
    streams: count(streams.length),
    waiting: count(streams.filter((stream) => stream.state === "waiting").length),
    ahead: seconds(live.reduce((sum, stream) => sum + stream.ahead_s, 0)),
    misses: count(status.backends.reduce((sum, backend) => sum + backend.deadline_misses, 0)),
    uptime: duration(status.uptime_s),
    version: status.version,
  };
  for (const [name, value] of Object.entries(figures)) drawTile(list, name, value);
}

function drawTile(list, name, value) {
  const tile = list.querySelector(`[data-figure="${name}"]`) ?? list.appendChild(newTile(name));
  put(tile.querySelector("dt"), t(`pool.total.${name}`));
  put(tile.querySelector("dd"), value);
}

function newTile(name) {
  return el("div", { class: "tile", "data-figure": name }, el("dt"), el("dd"));
}
