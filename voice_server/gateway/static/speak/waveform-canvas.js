/**
 * The bars of a waveform and its playhead, on a canvas.
 *
 * Promises: crisp on every screen; bars are drawn once and then only copied, so that a frame of an hour of speech costs
 * what a frame of a second does.
 */

import { peakBetween, sentenceAt, spanOf } from "../sound/timeline.js";

const BAR_PX = 3; // of which one is air
const LEAST_PX = 2; // silence is a line of dots
const UNHEARD = 0.36; // of the colour
const COLOURS = ["--sentence-a", "--sentence-b", "--text", "--line"];

export class WaveformCanvas {
  #canvas;
  #bars = document.createElement("canvas");
  #shown = {}; // what the bars were drawn for
  #column = 0; // bars before it are final
  #colours = [];

  /** @param {HTMLCanvasElement} canvas @param {() => void} ask for a drawing, when its size or the theme changed */
  constructor(canvas, ask) {
    this.#canvas = canvas;
    const forget = () => {
      this.#shown = {};
      ask();
    };
    new ResizeObserver(forget).observe(canvas);
    new MutationObserver(forget).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", forget);
  }

  /** @param {import("../sound/take.js").Take|null} take @param {number} headS where its listener is */
  draw(take, headS) {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (!width) return;
    const frame = { take, width, height, scale: devicePixelRatio || 1, spanS: take ? spanOf(take) : 0 };
    if (Object.keys(frame).some((key) => frame[key] !== this.#shown[key])) this.#begin(frame);
    this.#addBars(frame);
    this.#compose(frame, frame.spanS ? Math.min(1, headS / frame.spanS) * width : 0);
  }

  #begin(frame) {
    this.#shown = frame;
    this.#column = 0;
    const style = getComputedStyle(this.#canvas);
    this.#colours = COLOURS.map((name) => style.getPropertyValue(name).trim());
    for (const canvas of [this.#canvas, this.#bars]) {
      [canvas.width, canvas.height] = [Math.round(frame.width * frame.scale), Math.round(frame.height * frame.scale)];
      canvas.getContext("2d").setTransform(frame.scale, 0, 0, frame.scale, 0, 0);
    }
  }

  /** The last one may still grow, and is drawn again. */
  #addBars({ take, width, height, spanS }) {
    if (!take || !spanS) return;
    const context = this.#bars.getContext("2d");
    const columnS = (spanS * BAR_PX) / width;
    const columns = Math.min(Math.ceil(width / BAR_PX), Math.ceil(take.durationS / columnS));
    for (let at = this.#column; at < columns; at += 1) this.#bar(context, take, at, columnS, height);
    this.#column = Math.max(0, columns - 1);
  }

  #bar(context, take, at, columnS, height) {
    const index = sentenceAt(take, (at + 0.5) * columnS)?.index ?? 0;
    const peak = peakBetween(take, at * columnS, (at + 1) * columnS);
    const length = Math.max(LEAST_PX, Math.sqrt(peak) * height); // of quiet sounds one sees more, as one hears it
    context.fillStyle = this.#colours[index % 2];
    context.clearRect(at * BAR_PX, 0, BAR_PX, height);
    context.beginPath();
    context.roundRect(at * BAR_PX, (height - length) / 2, BAR_PX - 1, length, 1);
    context.fill();
  }

  #compose({ take, width, height, spanS }, headX) {
    const context = this.#canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    this.#baseline(context, take && spanS ? (take.durationS / spanS) * width : 0, width, height);
    this.#copy(context, 0, headX, height, 1);
    this.#copy(context, headX, width, height, UNHEARD);
    if (!take || !spanS) return;
    context.fillStyle = this.#colours[2];
    context.fillRect(Math.min(headX, width - 2), 0, 2, height);
  }

  /** Where no sound is yet. */
  #baseline(context, endX, width, height) {
    context.fillStyle = this.#colours[3];
    for (let x = Math.ceil(endX / BAR_PX) * BAR_PX; x < width; x += BAR_PX) {
      context.fillRect(x, height / 2 - 1, BAR_PX - 1, LEAST_PX);
    }
  }

  #copy(context, from, to, height, alpha) {
    if (to <= from) return;
    const scale = this.#shown.scale;
    context.globalAlpha = alpha;
    const [x, width] = [from * scale, (to - from) * scale];
    context.drawImage(this.#bars, x, 0, width, height * scale, from, 0, to - from, height);
    context.globalAlpha = 1;
  }
}
