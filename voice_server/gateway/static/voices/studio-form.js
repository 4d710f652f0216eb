/**
 * What is told about a voice, and its upload.
 *
 * Promises: what a person typed stays until the voice is made; a refusal stands at the field that it is about, in words
 * that say what would be right; consent is given anew for each sound.
 */

import { button } from "../kit/buttons.js";
import { el, mark, put } from "../kit/dom.js";
import { currentLanguage, hasWords, onLanguage, t, translate } from "../kit/i18n.js";
import { tell } from "../kit/problems.js";
import { mountProposal } from "./studio-proposal.js";
import { upload } from "./upload.js";

const PATH = "v1/audio/voices";
const LANGUAGES =
  "ar da de el en es fi fr he hi id it ja km ko lo ms my nl no pl pt ru sv sw th tl tr vi zh".split(" "); // of VoxCPM
const LICENCES = ["", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0"];
const OF_THE_SOUND = new Set(["bad_sample", "sample_too_large", "voice_exists"]); // where the server names no field

/**
 * @param {HTMLElement} root
 * @param {{limits: {name_chars: number, transcript_chars: number}, review: {blob: () => Blob, problem: () => string,
 *   refuse: (words: string) => void}, onMade: (voice: object) => void, api: typeof import("../kit/api.js").api,
 *   backends: import("../kit/backends.js").Backends}} deps
 * @returns {{begin: (sound: import("./studio.js").Sound) => void}}
 */
export function mountForm(root, { limits, review, onMade, api, backends }) {
  const parts = build();
  const { form, fields } = parts;
  root.append(form);
  const proposal = mountProposal(fields.transcript, { api, backends, soundOf: () => [review.blob(), parts.fileName], limits });
  translate(root);
  fillLists(fields);
  onLanguage(() => fillLists(fields));
  form.addEventListener("input", ({ target }) => complain(fields[target.name], ""));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!isComplete(fields, review)) return;
    busy(parts, true);
    try {
      const sent = formOf(fields, review.blob(), parts.fileName);
      onMade(await upload(PATH, sent, (part) => drawProgress(parts, part)));
    } catch (error) {
      refuse(fields, review, error);
    } finally {
      busy(parts, false);
    }
  });
  return {
    begin(sound) {
      parts.fileName = sound.fileName;
      proposal.forget();
      for (const field of Object.values(fields)) complain(field, "");
      fields.name.input.maxLength = limits.name_chars;
      fields.transcript.input.maxLength = limits.transcript_chars;
      fields.name.input.value = sound.name;
      fields.transcript.input.value = sound.transcript;
      fields.transcript.help.dataset.i18n = sound.transcript ? "studio.transcript.recorded" : "studio.transcript.help";
      translate(fields.transcript.help);
      fields.language.input.value = sound.transcript ? currentLanguage() : fields.language.input.value;
      fields.consent.input.checked = false;
    },
  };
}

function build() {
  const fields = {
    name: field("name", el("input", { type: "text", autocomplete: "off", required: true })),
    transcript: field("transcript", el("textarea", { rows: "4" })),
    language: field("language", el("select")),
    licence: field("licence", el("select")),
    consent: tick("consent"),
  };
  const send = button("check", "studio.make", "primary", { type: "submit" });
  const bar = el("progress", { max: "1", value: "0", "data-i18n-label": "studio.sending" });
  const words = el("span", { class: "muted small" });
  const progress = el("div", { class: "studio-progress", role: "status", hidden: true }, bar, words);
  const pair = el("div", { class: "studio-pair" }, fields.language.element, fields.licence.element);
  const form = el("form", { class: "stack", novalidate: true }, fields.name.element, fields.transcript.element, pair);
  form.append(fields.consent.element, progress, send);
  return { form, fields, send, progress, bar, words, fileName: "" };
}

function field(name, input) {
  const id = `studio-${name}`;
  const label = el("label", { for: id, "data-i18n": `studio.${name}` });
  const help = helpFor(name);
  return { ...named(name, input, [label, input, help]), help };
}

function helpFor(name) {
  return el("span", { class: "help", id: `studio-${name}-help`, "data-i18n": `studio.${name}.help` });
}

function tick(name) {
  const input = el("input", { type: "checkbox", required: true });
  const label = el("label", { class: "studio-consent" }, input, el("span", { "data-i18n": `studio.${name}` }));
  return named(name, input, [label, helpFor(name)]);
}

function named(name, input, children) {
  const error = el("span", { class: "studio-error", id: `studio-${name}-error`, role: "alert" });
  Object.assign(input, { id: `studio-${name}`, name });
  input.setAttribute("aria-describedby", `studio-${name}-error studio-${name}-help`);
  return { name, input, error, element: el("div", { class: "field" }, ...children, error) };
}

function fillLists({ language, licence }) {
  const names = new Intl.DisplayNames(currentLanguage(), { type: "language" });
  const languages = LANGUAGES.map((code) => [code, names.of(code)]);
  languages.sort((one, other) => one[1].localeCompare(other[1], currentLanguage()));
  fill(language.input, [["", t("studio.language.unknown")], ...languages]);
  fill(licence.input, LICENCES.map((code) => [code, code || t("studio.licence.none")]));
}

function fill(select, options) {
  const chosen = select.value;
  select.replaceChildren(...options.map(([value, text]) => el("option", { value, text })));
  select.value = chosen;
}

function complain({ input, error }, words) {
  put(error, words);
  mark(input, "aria-invalid", words !== "");
}

/** Says at each field what is missing, and leads to the first of them. */
function isComplete(fields, review) {
  const missing = [];
  if (!fields.name.input.value.trim()) missing.push(fields.name);
  if (!fields.consent.input.checked) missing.push(fields.consent);
  for (const field of missing) complain(field, t(`studio.${field.name}.missing`));
  missing[0]?.input.focus();
  if (review.problem()) review.refuse(review.problem());
  return missing.length === 0 && !review.problem();
}

function formOf(fields, blob, fileName) {
  const form = new FormData();
  for (const name of ["name", "transcript", "language", "licence"]) form.append(name, fields[name].input.value.trim());
  form.append("consent", `${t("studio.consent")} (${new Date().toISOString().slice(0, 10)})`);
  form.append("audio_sample", blob, fileName); // last: a refused name costs no upload where the server reads in order
  return form;
}

function refuse(fields, review, error) {
  const field = fields[error.field];
  if (field) {
    complain(field, refusal(error));
    field.input.focus();
  } else if (OF_THE_SOUND.has(error.code)) review.refuse(refusal(error));
  else tell(error);
}

/** The server's own words hold the figures; in other languages than its own, what they are about comes before them. */
function refusal({ code, message }) {
  const known = currentLanguage() !== "en" && hasWords(`problem.${code}`);
  return known ? `${t(`problem.${code}`)} ${t(`problem.${code}.next`)} (${message})` : sentence(message);
}

function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".");
}

function busy({ send, progress }, is) {
  send.disabled = is;
  progress.hidden = !is;
}

function drawProgress({ bar, words }, part) {
  if (part < 1) bar.value = part;
  else bar.removeAttribute("value"); // nobody knows how long the server will look at it
  put(words, t(part < 1 ? "studio.sending" : "studio.cleaning"));
}
