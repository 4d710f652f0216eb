/** A sound file dropped anywhere on the page. Promises: other drags (text, tabs) are left to the browser. */

import { el } from "../kit/dom.js";
import { onLanguage, t } from "../kit/i18n.js";
import { icon } from "../kit/icons.js";
import { tell } from "../kit/problems.js";

const SOUND = /\.(wav|mp3|flac|ogg|opus|oga|m4a|aac|aiff?|webm)$/i; // what is none of ours the server refuses, with reasons

/** @param {(file: File) => void} onFile */
export function whenDropped(onFile) {
  const curtain = newCurtain();
  let depth = 0; // dragenter and dragleave come for every element on the way
  const show = (change) => {
    depth = Math.max(0, change);
    curtain.hidden = depth === 0;
  };
  listen("dragenter", () => show(depth + 1));
  listen("dragleave", () => show(depth - 1));
  listen("dragover", (event) => (event.dataTransfer.dropEffect = "copy"));
  listen("drop", (event) => {
    show(0);
    const files = [...event.dataTransfer.files];
    const sound = files.find(isSound);
    if (sound) onFile(sound);
    else tell({ code: "not_a_sound", msg: files[0]?.name ?? "" });
  });
}

function listen(name, act) {
  document.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    act(event);
  });
}

function isSound(file) {
  return file.type.startsWith("audio/") || SOUND.test(file.name);
}

function newCurtain() {
  const words = el("p");
  const relabel = () => (words.textContent = t("studio.drop"));
  const curtain = el("div", { class: "studio-curtain", hidden: true }, icon("upload"), words);
  relabel();
  onLanguage(relabel);
  document.body.append(curtain);
  return curtain;
}
