/** The top of the page: whether the server can speak, with which backend, in which language and light. */

import { el } from "./dom.js";
import { LANGUAGES, chooseLanguage, currentLanguage, onLanguage, t, translate } from "./i18n.js";
import { icon } from "./icons.js";
import { recall, remember } from "./settings.js";

const THEMES = { auto: "contrast", light: "sun", dark: "moon" }; // and their icons
const LAMP = { ready: "ready", loading: "loading", broken: "broken", away: "broken", locked: "broken" };
const LIVELY = ["ready", "loading"];

/**
 * @param {HTMLElement} root `#header`, whose places it fills
 * @param {{backends: import("./backends.js").Backends}} deps
 */
export function mountHeader(root, { backends }) {
  mountLamp(root.querySelector("#lamp"), backends);
  mountBackendPicker(root.querySelector("#backend-picker"), backends);
  mountLanguage(root.querySelector("#language"));
  mountTheme(root.querySelector("#theme"));
}

function mountLamp(root, backends) {
  const lamp = el("span", { class: "lamp", "data-state": "loading" });
  const word = el("span", { class: "lamp-word" });
  const again = el("button", { class: "button quiet small", type: "button", onclick: () => backends.reconnect() });
  again.append(icon("refresh"), el("span", { "data-i18n": "header.reconnect" }));
  root.append(lamp, word, again);
  const draw = () => {
    const { state, chosen } = backends;
    lamp.dataset.state = LAMP[state];
    word.textContent = t(`header.${state}`, { backend: chosen?.name ?? "" });
    word.title = reason(backends);
    again.hidden = LIVELY.includes(state);
  };
  translate(root);
  show(draw, backends);
}

/** In the server's own words: it knows best. */
function reason({ away, chosen }) {
  return away ? away.message : (chosen?.problem ?? "");
}

function mountBackendPicker(root, backends) {
  const select = el("select", { id: "backend", "data-i18n-label": "header.backend" });
  select.addEventListener("change", () => backends.choose(select.value));
  root.append(select);
  translate(root);
  show(() => {
    select.replaceChildren(...backends.list.map(({ name, ready }) => option(name, ready ? name : t("header.notReady", { name }))));
    select.value = backends.chosen?.name ?? "";
    select.hidden = !backends.list.length;
  }, backends);
}

const option = (value, text) => el("option", { value, text });

function mountLanguage(root) {
  const select = el("select", { id: "language-select", "data-i18n-label": "header.language" });
  select.append(...Object.entries(LANGUAGES).map(([code, name]) => el("option", { value: code, lang: code, text: name })));
  select.value = currentLanguage();
  select.addEventListener("change", () => chooseLanguage(select.value));
  root.append(select);
  translate(root);
}

function mountTheme(root) {
  const names = Object.keys(THEMES);
  const button = el("button", { class: "icon-button", type: "button", id: "theme-button" });
  const draw = () => {
    const theme = recall("theme", "auto");
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.replaceChildren(icon(THEMES[theme] ?? THEMES.auto));
    button.title = t(`header.theme.${theme}`);
    button.setAttribute("aria-label", button.title);
  };
  button.addEventListener("click", () => {
    const next = names[(names.indexOf(recall("theme", "auto")) + 1) % names.length];
    remember("theme", next);
    draw();
  });
  root.append(button);
  draw();
  onLanguage(draw);
}

function show(draw, backends) {
  draw();
  backends.addEventListener("change", draw);
  onLanguage(draw);
}
