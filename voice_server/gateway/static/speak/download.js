/**
 * An answer as a file: WAV, made in the page without copying the sound, and MP3, made by the server.
 *
 * Promises: the samples of the WAV are those that the server sent; a file's name is made of what is said and by whom,
 * and is safe on every system.
 */

import { api } from "../kit/api.js";
import { el } from "../kit/dom.js";
import { onFrames } from "../kit/frames.js";
import { translate } from "../kit/i18n.js";
import { icon } from "../kit/icons.js";
import { tell } from "../kit/problems.js";
import { wavHeader } from "../sound/wav.js";

const NAME_CHARS = 48;
const FILES = { wav: wavOf, mp3: mp3Of };

/**
 * @param {HTMLElement} root
 * @param {{conversation: import("../sound/conversation.js").Conversation}} deps
 */
export function mountDownloads(root, { conversation }) {
  const buttons = Object.keys(FILES).map((format) => button(format, () => conversation.take));
  root.append(el("div", { class: "row downloads" }, ...buttons));
  translate(root);
  onFrames(conversation, () => {
    for (const each of buttons) each.disabled = each.ariaBusy === "true" || !isWhole(conversation.take);
  });
}

/** @param {import("../sound/take.js").Take} take @returns {Promise<Blob>} audio/wav */
export async function wavOf(take) {
  const pcm = await take.pcm();
  return new Blob([wavHeader(pcm.size, take.sampleRate), pcm], { type: "audio/wav" });
}

/** @param {import("../sound/take.js").Take} take @returns {Promise<Blob>} audio/mpeg */
export async function mp3Of(take) {
  return api.post(`convert?format=mp3&sample_rate=${take.sampleRate}`, await take.pcm(), { type: "audio/pcm" });
}

/** The first words and the voice: `hello-there-how-are-you.heart.wav`. @param {string} extension without the dot */
export function fileName({ text, voice }, extension) {
  const words = safe(text).slice(0, NAME_CHARS).replace(/-[^-]*$/, (end, at) => (at > NAME_CHARS / 2 ? "" : end));
  return [words || "speech", safe(voice), extension].filter(Boolean).join(".");
}

/** Lets the person save a file. @param {Blob} file @param {string} name */
export function save(file, name) {
  const url = URL.createObjectURL(file);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser may still be asking where to
}

const isWhole = (take) => Boolean(take?.frames && take.state !== "rendering");

/** Letters and digits of all scripts; everything else, also dots and slashes, is a hyphen. */
const safe = (text) => text.normalize("NFC").toLowerCase().replace(/[^\p{L}\p{M}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");

function button(format, takeOf) {
  const label = el("span", { "data-i18n": `downloads.${format}` });
  const made = el("button", { class: "button", type: "button", disabled: true, "data-format": format }, icon("download"), label);
  made.addEventListener("click", () => download(made, format, takeOf()));
  return made;
}

async function download(made, format, take) {
  [made.ariaBusy, made.disabled] = ["true", true];
  try {
    save(await FILES[format](take), fileName(take, format));
  } catch (problem) {
    tell(problem);
  } finally {
    [made.ariaBusy, made.disabled] = [null, false];
  }
}
