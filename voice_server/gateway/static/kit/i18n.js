// The words of the page: one flat file per language, and the elements that show them.

import { recall, remember } from "./settings.js";

/** Each language by its code, named in itself. */
export const LANGUAGES = { en: "English", zh: "中文" };
const DEFAULT = "en";

const listeners = new Set();
const ATTRIBUTES = {
  "data-i18n-label": "aria-label",
  "data-i18n-placeholder": "placeholder",
  "data-i18n-title": "title",
};
let words = {};
let language = DEFAULT;

/** The code of the language that is shown. */
export const currentLanguage = () => language;

/** The language chosen here before, else the browser's, else English. */
export function preferredLanguage() {
  const wanted = [recall("language", ""), ...navigator.languages].map((code) => String(code).slice(0, 2));
  return wanted.find((code) => code in LANGUAGES) ?? DEFAULT;
}

/** Shows the page in another language and tells every listener. @param {string} code */
export async function loadLanguage(code) {
  const answer = await fetch(new URL(`../locales/${code}.json`, import.meta.url));
  words = await answer.json();
  language = code;
  document.documentElement.lang = code;
  translate(document);
  for (const listener of listeners) listener();
}

/** The same as a choice that is kept. @param {string} code */
export async function chooseLanguage(code) {
  remember("language", code);
  await loadLanguage(code);
}

/**
 * @param {string} key "part.key"
 * @param {Object<string, *>} [values] for the `{name}`s in the sentence
 */
export function t(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Whether there are words for it. @param {string} key */
export const hasWords = (key) => key in words;

/** A number as people write it here. @param {number} value @param {number} [digits] after the point */
export const number = (value, digits = 0) =>
  value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Fills `data-i18n` (text), `-label` (aria-label), `-placeholder` and `-title` in and below `root`. @param {ParentNode} root */
export function translate(root) {
  for (const element of all(root, "data-i18n")) element.textContent = t(element.getAttribute("data-i18n"));
  for (const [source, target] of Object.entries(ATTRIBUTES)) {
    for (const element of all(root, source)) element.setAttribute(target, t(element.getAttribute(source)));
  }
}

/** Calls back after every change of language. @param {() => void} listener */
export function onLanguage(listener) {
  listeners.add(listener);
}

function all(root, attribute) {
  const below = [...root.querySelectorAll(`[${attribute}]`)];
  return root instanceof Element && root.hasAttribute(attribute) ? [root, ...below] : below;
}
