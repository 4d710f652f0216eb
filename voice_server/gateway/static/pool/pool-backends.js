/**
 * One group for each backend: its workers as cards with a place for each render, and below them its streams.
 *
 * Promises: the order of workers, renders and streams stays while they live, so that nothing jumps under a person's eye.
 */

import { el, mark, put, reconcile } from "../kit/dom.js";
import { count, seconds, shortly } from "../kit/figures.js";
import { t } from "../kit/i18n.js";
import { drawStreams } from "./pool-streams.js";

const SHOWN_SEATS = 8; // of one worker
const SOON_S = 1; // a render that is due earlier is urgent
const LAMPS = {
  ready: "ready",
  spare: "ready",
  leaving: "loading",
  waiting: "loading",
  loading: "loading",
  restarting: "loading",
};

/**
 * @param {HTMLElement} root
 * @param {any[]} backends of GET /status
 */
export function drawBackends(root, backends) {
  reconcile(root, backends, { key: (backend) => backend.name, make: newBackend, update: drawBackend });
}

function newBackend() {
  const head = el("div", { class: "pool-backend-head" }, el("span", { class: "lamp" }), el("h3"), el("p"));
  return el(
    "section",
    { class: "pool-backend" },
    head,
    el("ul", { class: "pool-workers" }),
    el("ul", { class: "pool-streams" }),
    el("p", { class: "pool-more" }),
  );
}

function drawBackend(group, backend) {
  const ready = backend.workers.filter((worker) => worker.state === "ready").length;
  mark(group.querySelector(".lamp"), "data-state", lampOfAll(backend.workers, ready));
  put(group.querySelector("h3"), backend.name);
  put(group.querySelector(".pool-backend-head p"), summary(backend, ready));
  const workers = group.querySelector(".pool-workers");
  mark(workers, "aria-label", t("pool.workers_of", { backend: backend.name }));
  reconcile(workers, backend.workers, { key: (worker) => worker.name, make: newWorker, update: drawWorker });
  drawStreams(group.querySelector(".pool-streams"), group.querySelector(".pool-more"), backend);
}

function lampOfAll(workers, ready) {
  if (ready > 0) return "ready";
  return workers.some((worker) => worker.state in LAMPS) ? "loading" : "broken";
}

function summary(backend, ready) {
  const streams = (state) => backend.streams.filter((stream) => stream.state === state).length;
  return t("pool.summary", {
    ready,
    workers: backend.workers.length,
    speaking: streams("speaking"),
    waiting: streams("waiting"),
    misses: backend.deadline_misses,
  });
}

// A worker

const FIGURES = ["speed", "first_chunk", "process", "restarts"];

function newWorker() {
  const head = el(
    "div",
    { class: "pool-worker-head" },
    el("span", { class: "lamp" }),
    el("strong"),
    el("span", { class: "pool-worker-state" }),
  );
  const figures = FIGURES.map((name) => el("div", { "data-figure": name }, el("dt"), el("dd")));
  return el("li", { class: "pool-worker" }, head, el("dl", {}, ...figures), el("ul", { class: "pool-seats" }));
}

function drawWorker(card, worker) {
  mark(card, "data-state", worker.state);
  mark(card.querySelector(".lamp"), "data-state", LAMPS[worker.state] ?? "broken");
  put(card.querySelector("strong"), worker.name);
  put(card.querySelector(".pool-worker-state"), stateOf(worker));
  const told = {
    speed: count(worker.real_time_factor, 2),
    first_chunk: shortly(worker.first_chunk_s),
    process: [worker.host, worker.pid || "—"].filter(Boolean).join(" · "),
    restarts: count(worker.restarts),
  };
  for (const name of FIGURES) drawFigure(card.querySelector(`[data-figure="${name}"]`), name, told[name]);
  drawSeats(card.querySelector(".pool-seats"), worker);
}

function stateOf(worker) {
  const state = t(`pool.worker.${worker.state}`);
  return worker.stage ? `${state}: ${worker.stage}` : state;
}

function drawFigure(figure, name, value) {
  put(figure.querySelector("dt"), t(`pool.figure.${name}`));
  put(figure.querySelector("dd"), value);
  mark(figure, "title", t(`pool.figure.${name}.help`));
}

// The places of its renders

function drawSeats(list, worker) {
  mark(list, "aria-label", t("pool.renders_of", { worker: worker.name }));
  list.hidden = !["ready", "leaving"].includes(worker.state);
  reconcile(list, seatsOf(worker), { key: (seat) => seat.key, make: newSeat, update: drawSeat });
}

/** The most urgent renders in their own order, then what an engine has not let go of yet, then the free places. */
function seatsOf(worker) {
  const urgent = [...worker.renders].sort((a, b) => a.due_in_s - b.due_in_s).slice(0, SHOWN_SEATS);
  const renders = urgent.sort((a, b) => a.stream - b.stream || a.sentence - b.sentence);
  const taken = renders.map((render) => ({ key: `${render.stream}.${render.sentence}`, render }));
  const leaving = range(worker.open_renders - worker.renders.length).map((at) => ({ key: `leaving ${at}`, leaving: true }));
  const free = range(worker.capacity - worker.open_renders).map((at) => ({ key: `free ${at}` }));
  const seats = [...taken, ...leaving, ...free];
  const hidden = Math.max(worker.capacity, worker.open_renders) - SHOWN_SEATS;
  return hidden > 0 ? [...seats.slice(0, SHOWN_SEATS), { key: "more", hidden }] : seats;
}

function range(count) {
  return [...Array(Math.max(0, count)).keys()];
}

function newSeat() {
  return el("li", { class: "pool-seat" }, el("span", { class: "pool-seat-who" }), el("span", { class: "pool-seat-due" }));
}

function drawSeat(item, seat) {
  mark(item, "data-urgency", seat.render ? urgency(seat.render) : "none");
  put(item.children[0], seat.render ? t("pool.render", rendered(seat.render)) : emptySeat(seat));
  put(item.children[1], seat.render ? due(seat.render) : "");
}

function rendered(render) {
  return { stream: render.stream, sentence: render.sentence + 1 };
}

function emptySeat(seat) {
  if (seat.hidden) return t("pool.more_seats", { count: seat.hidden });
  return t(seat.leaving ? "pool.leaving" : "pool.free");
}

function urgency(render) {
  if (render.due_in_s < 0) return "late";
  return render.due_in_s < SOON_S ? "soon" : "calm";
}

function due(render) {
  const late = render.due_in_s < 0;
  return t(late ? "pool.late" : "pool.due", { audio: seconds(render.audio_s), time: seconds(Math.abs(render.due_in_s)) });
}
