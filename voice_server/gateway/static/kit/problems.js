/**
 * Errors that a person understands: what happened, and what to do next.
 *
 * Promises: the same problem stands there once, however often it comes; nothing leaves before it was closed, or before
 * the next attempt makes it old.
 */

import { el } from "./dom.js";
import { hasWords, onLanguage, t } from "./i18n.js";
import { icon } from "./icons.js";

const AT_MOST = 4; // at once: more are not read
const shown = new Map(); // by code and field
let place = null;

/** @param {HTMLElement} root `#problems` */
export function mountProblems(root) {
  place = root;
  onLanguage(draw);
}

/**
 * Shows a problem. Codes are those of docs/stream-tokens.md and of the page's own parts; of one without words the
 * server's own message is shown.
 * @param {{code?: string, msg?: string, message?: string, field?: string|null}} problem an ApiError or a message of a socket
 */
export function tell(problem) {
  const code = problem.code ?? "internal_error";
  const told = { code, field: problem.field ?? "", message: problem.msg ?? problem.message ?? "" };
  const key = `${told.code} ${told.field}`;
  shown.delete(key);
  shown.set(key, told);
  for (const oldest of [...shown.keys()].slice(0, -AT_MOST)) shown.delete(oldest);
  draw();
}

/** A new attempt: what was wrong with the one before is old. */
export function forgetProblems() {
  shown.clear();
  draw();
}

function draw() {
  place?.replaceChildren(...[...shown].map(([key, problem]) => toast(key, problem)));
}

function toast(key, { code, message }) {
  const known = hasWords(`problem.${code}`);
  const close = el("button", { class: "icon-button", type: "button", "aria-label": t("problem.close") }, icon("close"));
  close.addEventListener("click", () => {
    shown.delete(key);
    draw();
  });
  const words = el(
    "div",
    { class: "toast-words" },
    el("p", { class: "toast-what", text: known ? t(`problem.${code}`) : message || code }),
    el("p", { text: t(known ? `problem.${code}.next` : "problem.other.next") }),
    known && message ? el("p", { class: "toast-detail", text: message }) : null,
  );
  return el("div", { class: "toast", "data-code": code }, icon("warning"), words, close);
}
