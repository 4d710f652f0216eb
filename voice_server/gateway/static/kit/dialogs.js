/** Questions that cannot wait: the token, and whether something shall really be gone. */

import { el } from "./dom.js";
import { t } from "./i18n.js";
import { icon } from "./icons.js";

/**
 * Asks for the server's token. One that was wrong is asked for again by whoever needs it.
 * @param {{wasWrong: boolean}} told
 * @returns {Promise<string|null>} null where the person does not want to
 */
export async function askToken({ wasWrong }) {
  const input = el("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  if (wasWrong) input.setAttribute("aria-describedby", "token-wrong");
  const field = el(
    "div",
    { class: "field" },
    el("label", { for: "token", text: t("token.label") }),
    input,
    wasWrong ? el("p", { class: "dialog-wrong", id: "token-wrong", text: t("token.wrong") }) : null,
  );
  const said = await ask({ title: t("token.title"), text: t("token.why"), act: t("token.open"), symbol: "key", field });
  return said ? input.value.trim() : null;
}

/**
 * @param {string} title a question @param {string} text what follows from a yes @param {string} act the word on the button
 * @returns {Promise<boolean>}
 */
export const confirmThat = (title, text, act) => ask({ title, text, act, symbol: "warning", danger: true });

function ask({ title, text, act, symbol, field = null, danger = false }) {
  const dialog = el("dialog", { "aria-labelledby": "dialog-title" });
  const buttons = el(
    "div",
    { class: "row dialog-buttons" },
    el("button", { class: "button", type: "button", text: t("dialog.cancel"), onclick: () => dialog.close("") }),
    el("button", { class: danger ? "button danger" : "button primary", type: "submit", text: act }),
  );
  const heading = el("h2", { id: "dialog-title" }, icon(symbol), el("span", { text: title }));
  const form = el("form", { class: "stack" }, heading, el("p", { class: "muted", text }), field, buttons);
  form.addEventListener("submit", (event) => {
    event.preventDefault(); // the CSP forbids forms that go anywhere
    dialog.close("yes");
  });
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
  });
}
