/**
 * The streams of a backend, a row each: what was heard, what lies ahead, when it runs out, and its place in line.
 *
 * Promises: the bar is a window around the playhead, which stands still in its middle; the line beside it is what lay
 * ahead in the last half minute.
 */

import { el, mark, put, reconcile, svg } from "../kit/dom.js";
import { seconds } from "../kit/figures.js";
import { t } from "../kit/i18n.js";

const SHOWN_STREAMS = 40; // of one backend: who waits and who speaks first
const WINDOW_S = 10; // on each side of the playhead: so much is rendered ahead at most
const LOOKS = 60; // of which the line is drawn
const LINE = { width: 60, height: 16 };
const RANK = { speaking: 0, waiting: 0, idle: 1 };

/**
 * @param {HTMLElement} list
 * @param {HTMLElement} more says how many are not shown
 * @param {any} backend of GET /status
 */
export function drawStreams(list, more, backend) {
  const shown = [...backend.streams].sort(byRank).slice(0, SHOWN_STREAMS).sort((a, b) => a.id - b.id);
  const hidden = backend.streams.length - shown.length;
  mark(list, "aria-label", t("pool.streams_of", { backend: backend.name }));
  reconcile(list, shown, { key: (stream) => stream.id, make: newStream, update: drawStream });
  put(more, t("pool.more_streams", { count: hidden }));
  more.hidden = hidden === 0;
}

function byRank(a, b) {
  return RANK[a.state] - RANK[b.state] || a.id - b.id;
}

function newStream() {
  const name = el("span", { class: "pool-stream-name" }, el("strong"), el("span"));
  const bar = el("span", { class: "pool-bar", role: "img" }, el("i", { class: "heard" }), el("i", { class: "ahead" }));
  const row = el("li", { class: "pool-stream" }, name, el("span", { class: "chip" }), bar, newLine());
  row.append(el("span", { class: "pool-stream-ahead" }), el("span", { class: "pool-stream-line" }));
  row.looks = [];
  return row;
}

function newLine() {
  const line = svg("svg", { class: "pool-line", viewBox: `0 0 ${LINE.width} ${LINE.height}`, "aria-hidden": "true" });
  line.append(svg("polyline"));
  return line;
}

function drawStream(row, stream) {
  const [name, voice] = row.querySelector(".pool-stream-name").children;
  put(name, t(stream.live ? "pool.stream" : "pool.file", { id: stream.id }));
  put(voice, stream.voice);
  mark(row, "title", t("pool.client", { client: stream.client }));
  mark(row, "data-state", stream.state);
  put(row.querySelector(".chip"), t(`pool.stream.${stream.state}`));
  drawBar(row.querySelector(".pool-bar"), stream);
  drawLine(row, stream);
  put(row.querySelector(".pool-stream-ahead"), runsOut(stream));
  put(row.querySelector(".pool-stream-line"), placeOf(stream));
}

function drawBar(bar, stream) {
  const [heard, ahead] = bar.children;
  heard.style.setProperty("--part", Math.min(stream.heard_s / WINDOW_S, 1).toFixed(3));
  ahead.style.setProperty("--part", Math.min(stream.ahead_s / WINDOW_S, 1).toFixed(3));
  mark(bar, "aria-label", t("pool.playhead", { heard: seconds(stream.heard_s), ahead: seconds(stream.ahead_s) }));
}

function drawLine(row, stream) {
  row.looks = [...row.looks, stream.ahead_s].slice(-LOOKS);
  const step = LINE.width / (LOOKS - 1);
  const point = (ahead, at) => {
    const x = LINE.width - (row.looks.length - 1 - at) * step;
    return `${x.toFixed(1)},${(LINE.height - 1 - Math.min(ahead / WINDOW_S, 1) * (LINE.height - 2)).toFixed(1)}`;
  };
  row.querySelector("polyline").setAttribute("points", row.looks.map(point).join(" "));
}

function runsOut(stream) {
  if (!stream.live) return t("pool.rendered", { time: seconds(stream.ahead_s) });
  return stream.state === "speaking" ? t("pool.runs_out", { time: seconds(Math.max(0, stream.runs_out_in_s)) }) : "";
}

function placeOf(stream) {
  if (stream.position === 0) return "";
  const known = stream.eta_s !== null;
  const place = t(known ? "pool.place_in" : "pool.place", { position: stream.position, time: seconds(stream.eta_s) });
  return stream.admitted ? place : `${place} · ${t("pool.not_admitted")}`;
}
