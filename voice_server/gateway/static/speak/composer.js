/**
 * Where a person writes what shall be said, and says it: at once, or token by token as a language model would.
 *
 * Promises: text and mode survive a reload; Ctrl or Cmd with Enter speaks, Escape is silence; one line always tells what
 * is going on.
 */

import { el } from "../kit/dom.js";
import { currentLanguage, number, onLanguage, t, translate } from "../kit/i18n.js";
import { icon } from "../kit/icons.js";
import { mountPace } from "./pace.js";
import { forgetProblems, tell } from "../kit/problems.js";
import { recall, remember } from "../kit/settings.js";
import { statusLine } from "./status-line.js";

const ANSWER_CHARS = 200 * 1024; // the server's limit of one answer
const NEAR = 0.9; // of the limit, from where on the count is a warning
const EXAMPLES = ["greeting", "numbers", "story"];
const TEXT = "text"; // of settings

/**
 * @param {HTMLElement} root
 * @param {{conversation: import("../sound/conversation.js").Conversation,
 *   wanted: () => {backend: string, voice: string, opts: object}}} deps `wanted`: what the other parts have chosen
 * @returns {{say: () => Promise<void>, optionsRoot: HTMLElement}}
 */
export function mountComposer(root, { conversation, wanted }) {
  const parts = build(root);
  const pace = mountPace(parts.pace);
  const { text } = parts;
  const changed = () => {
    remember(TEXT, text.value);
    drawCount(parts, text.value);
  };
  const say = async () => {
    forgetProblems();
    text.focus();
    if (!text.value.trim()) return tell({ code: "empty_text" });
    return conversation.say(text.value, { ...wanted(), pace: pace.value() });
  };
  const pauseOrGoOn = () => (conversation.state === "paused" ? conversation.resume() : conversation.pause());
  text.value = recall(TEXT, "") || t("composer.example.greeting.text");
  text.addEventListener("input", changed);
  parts.form.addEventListener("submit", (event) => {
    event.preventDefault();
    say();
  });
  parts.stop.addEventListener("click", () => conversation.stop());
  parts.pause.addEventListener("click", pauseOrGoOn);
  listenToKeys(parts.form, say, () => conversation.stop());
  drawExamples(parts, changed);
  drawOnChange(parts, conversation);
  changed();
  return { say, optionsRoot: parts.options };
}

function build(root) {
  const text = el("textarea", { id: "text", rows: 4, spellcheck: "true", "data-i18n-placeholder": "composer.placeholder" });
  const label = el("label", { for: "text", class: "visually-hidden", "data-i18n": "composer.text" });
  const examples = el("div", { class: "row composer-examples", role: "group", "data-i18n-label": "composer.examples" });
  const count = el("span", { class: "composer-count number" });
  const say = button("primary", "say", "play", "composer.say", { type: "submit", "aria-keyshortcuts": "Control+Enter Meta+Enter" });
  const pause = button("", "pause", "pause", "composer.pause");
  const stop = button("", "stop", "stop", "composer.stop", { "aria-keyshortcuts": "Escape" });
  const pace = el("div", { class: "composer-pace" });
  const status = el("p", { class: "composer-status", id: "status", role: "status" });
  const act = el("div", { class: "row composer-act" }, say, pause, stop, status);
  const below = el("div", { class: "row composer-below" }, examples, count);
  const options = el("div", { id: "options" });
  const form = el("form", { class: "stack" }, label, text, below, act);
  root.append(form, pace, options);
  translate(root);
  return { text, examples, count, say, pause, stop, pace, status, options, form };
}

function button(kind, id, symbol, key, more = {}) {
  const attributes = { class: `button ${kind}`, id, type: "button", ...more };
  return el("button", attributes, icon(symbol), el("span", { "data-i18n": key }));
}

/** The page's own keys while this is shown; in a dialog, another form or a list they belong to it. */
function listenToKeys(own, say, stop) {
  document.addEventListener("keydown", (event) => {
    const form = event.target.closest?.("form") ?? own;
    if (form !== own || !own.checkVisibility() || document.querySelector("dialog[open]")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      say();
    } else if (event.key === "Escape" && !event.target.closest?.("select, input[type=search]")) {
      stop();
    }
  });
}

function drawExamples({ examples, text }, changed) {
  const draw = () => {
    const chips = EXAMPLES.map((name) => {
      const chip = el("button", { class: "chip", type: "button", text: t(`composer.example.${name}`) });
      chip.addEventListener("click", () => {
        text.value = t(`composer.example.${name}.text`);
        changed();
        text.focus();
      });
      return chip;
    });
    examples.replaceChildren(...chips);
    examples.lang = currentLanguage();
  };
  draw();
  onLanguage(draw);
}

function drawCount({ count, say }, text) {
  const chars = [...text].length; // as the server counts them
  count.textContent = t("composer.count", { chars: number(chars), limit: number(ANSWER_CHARS) });
  count.dataset.state = chars > ANSWER_CHARS ? "over" : chars > NEAR * ANSWER_CHARS ? "near" : "well";
  say.disabled = chars > ANSWER_CHARS;
}

function drawOnChange(parts, conversation) {
  let queued = null;
  const draw = () => {
    const { state } = conversation;
    if (state !== "waiting" && state !== "connecting") queued = null;
    parts.stop.disabled = state === "idle";
    parts.pause.hidden = state !== "speaking" && state !== "paused";
    parts.pause.replaceChildren(
      icon(state === "paused" ? "play" : "pause"),
      el("span", { text: t(state === "paused" ? "composer.resume" : "composer.pause") }),
    );
    parts.status.dataset.state = state;
    const line = statusLine(state, queued, conversation.take);
    if (parts.status.textContent !== line) parts.status.textContent = line;
  };
  for (const name of ["state", "take", "finished"]) conversation.addEventListener(name, draw);
  conversation.addEventListener("queued", ({ detail }) => {
    queued = detail;
    draw();
  });
  onLanguage(() => {
    draw();
    drawCount(parts, parts.text.value);
  });
  draw();
}
