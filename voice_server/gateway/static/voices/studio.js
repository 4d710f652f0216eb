/**
 * Making a voice: a sound (chosen, dropped anywhere on the page, or recorded), a look at it, whose it is, done.
 *
 * Promises: nothing leaves the page before the person says so; the microphone is open only while its panel is; whatever
 * is wrong is said where it can be put right.
 */

import { button } from "../kit/buttons.js";
import { el, mark } from "../kit/dom.js";
import { translate } from "../kit/i18n.js";
import { showDone } from "./studio-done.js";
import { whenDropped } from "./studio-drop.js";
import { mountForm } from "./studio-form.js";
import { mountRecording } from "./studio-recording.js";
import { mountReview } from "./studio-review.js";

const STEPS = ["sound", "review", "about"];
const STAGES = { sound: 0, recording: 0, about: 1, done: 3 }; // and the step with which each begins
const ACCEPTED = "audio/*,.wav,.mp3,.flac,.ogg,.opus";
/** Until the server has told its own. */
const LIMITS = { sample_bytes: 20 * 2 ** 20, sample_min_s: 1, sample_max_s: 30, name_chars: 64, transcript_chars: 1000 };

/**
 * @param {HTMLElement} root
 * @param {{api: typeof import("../kit/api.js").api, backends: import("../kit/backends.js").Backends,
 *   onVoice: (name: string) => unknown}} deps `onVoice` when a voice was made
 */
export function mountStudio(root, { api, backends, onVoice }) {
  const limits = { ...LIMITS };
  const parts = build(root);
  const show = (stage) => showStage(parts, stage);
  const review = mountReview(parts.review, { limits, onAnother: () => startAnew() });
  const form = mountForm(parts.about, { limits, review, onMade: (voice) => finish(voice), api, backends });
  const recording = mountRecording(parts.recording, { limits, onSound: (sound) => take(sound), onLeave: () => startAnew() });

  const take = async (sound) => {
    recording.close();
    learnLimits(api, limits).then(review.judgeAnew);
    show("about");
    form.begin(sound);
    await review.show(sound);
    parts.review.scrollIntoView({ block: "nearest" });
  };
  const startAnew = () => {
    recording.close();
    review.clear();
    parts.done.replaceChildren(); // which also ends its sound
    show("sound");
    parts.choose.focus();
  };
  const finish = async (voice) => {
    review.clear();
    show("done");
    await onVoice(voice.name);
    await showDone(parts.done, voice, { api, onAnother: startAnew });
  };
  parts.choose.addEventListener("click", () => parts.file.click());
  parts.file.addEventListener("change", () => takeFile(parts.file, take));
  parts.record.addEventListener("click", () => {
    show("recording");
    recording.open();
  });
  parts.about.addEventListener("focusin", () => showStep(parts, STAGES.about + 1));
  parts.review.addEventListener("focusin", () => showStep(parts, STAGES.about));
  whenDropped((file) => take(soundOf(file)));
  show("sound");
}

/**
 * A sound on its way to become a voice.
 * @typedef {{blob: Blob, fileName: string, name: string, transcript: string}} Sound `name` and `transcript` are proposals
 */

function soundOf(file) {
  return { blob: file, fileName: file.name, name: nameFrom(file.name), transcript: "" };
}

/** What may be a voice's name, of a file's. */
function nameFrom(fileName) {
  const stem = fileName.normalize("NFC").replace(/\.[^.]*$/, "");
  return stem.replace(/[^\p{L}\p{N}\p{M} +._-]+/gu, " ").replace(/^[^\p{L}\p{N}]+|[ .]+$/gu, "").slice(0, LIMITS.name_chars);
}

function takeFile(input, take) {
  const [file] = input.files;
  input.value = ""; // the same file can be chosen again
  if (file) take(soundOf(file));
}

async function learnLimits(api, limits) {
  const told = await api.get("v1/audio/voices").catch(() => ({})); // the usual ones do, and the server has the last word
  Object.assign(limits, told.limits);
}

function build(root) {
  const steps = el("ol", { class: "studio-steps" }, ...STEPS.map((step) => el("li", { "data-i18n": `studio.step.${step}` })));
  const head = el("div", { class: "studio-head" }, el("h3", { "data-i18n": "studio.title" }), steps);
  const file = el("input", { type: "file", accept: ACCEPTED, hidden: true, "data-i18n-label": "studio.choose" });
  const choose = button("upload", "studio.choose");
  const record = button("mic", "studio.record");
  const zone = el("div", { class: "studio-zone" }, el("p", { "data-i18n": "studio.invite" }));
  zone.append(el("div", { class: "row" }, choose, record, file), el("p", { class: "muted small", "data-i18n": "studio.tip" }));
  const [recording, review, about, done] = ["recording", "review", "about", "done"].map(section);
  const stages = { sound: [zone], recording: [recording], about: [review, about], done: [done] };
  root.classList.add("studio");
  root.append(head, zone, recording, review, about, done);
  translate(root);
  return { root, steps, stages, file, choose, record, recording, review, about, done };
}

function section(name) {
  return el("div", { class: `studio-${name} stack` });
}

function showStage(parts, stage) {
  parts.root.dataset.stage = stage;
  for (const [name, elements] of Object.entries(parts.stages)) for (const element of elements) element.hidden = name !== stage;
  showStep(parts, STAGES[stage]);
}

function showStep({ steps }, current) {
  [...steps.children].forEach((step, at) => {
    step.classList.toggle("is-done", at < current);
    mark(step, "aria-current", at === current ? "step" : "false");
  });
}
