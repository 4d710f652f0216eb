/**
 * Tabs, each with its panel: one is shown, the others are hidden.
 *
 * Promises: what ARIA asks of tabs (one of them in the order of Tab, arrows and Home and End go through them); the address
 * names the one that is shown (`#talk`), and without one it is that of the last visit. A panel that is left gets the event
 * `leave`.
 */

import { el } from "./dom.js";
import { translate } from "./i18n.js";
import { icon } from "./icons.js";
import { recall, remember } from "./settings.js";

const CHOSEN = "tab"; // of settings

/**
 * @param {HTMLElement} root that becomes the list of tabs
 * @param {{id: string, picture: string}[]} tabs `id` of the panel; its name is the text `tab.ID`
 */
export function mountTabs(root, tabs) {
  const panels = tabs.map(({ id }) => document.getElementById(id));
  const buttons = tabs.map((tab) => tabOf(tab));
  const show = (at) => {
    buttons.forEach((button, place) => {
      button.setAttribute("aria-selected", place === at);
      button.tabIndex = place === at ? 0 : -1;
      if (place !== at && !panels[place].hidden) panels[place].dispatchEvent(new Event("leave"));
      panels[place].hidden = place !== at;
    });
  };
  const choose = (at) => {
    show(at);
    remember(CHOSEN, tabs[at].id);
    history.replaceState(null, "", `#${tabs[at].id}`); // which scrolls nowhere
  };
  const showAddress = () => {
    const at = panels.findIndex((panel) => namedIn(panel, location.hash.slice(1)));
    if (at >= 0) show(at);
  };
  buttons.forEach((button, at) => button.addEventListener("click", () => choose(at)));
  root.addEventListener("keydown", (event) => {
    const to = targetOf(event.key, buttons.indexOf(document.activeElement), buttons.length);
    if (to === null) return;
    event.preventDefault();
    choose(to);
    buttons[to].focus();
  });
  window.addEventListener("hashchange", showAddress);
  root.setAttribute("role", "tablist");
  root.append(...buttons);
  translate(root);
  show(Math.max(0, tabs.findIndex(({ id }) => id === recall(CHOSEN, ""))));
  showAddress();
}

function tabOf({ id, picture }) {
  const words = el("span", { "data-i18n": `tab.${id}` });
  return el("button", { class: "tab", type: "button", role: "tab", id: `tab-${id}`, "aria-controls": id }, icon(picture), words);
}

/** Whether it is this panel, or something in it, that an address names. */
const namedIn = (panel, id) => id !== "" && (panel.id === id || panel.contains(document.getElementById(id)));

function targetOf(key, from, count) {
  if (from < 0) return null;
  const to = { ArrowRight: from + 1, ArrowLeft: from - 1, Home: 0, End: count - 1 }[key];
  return to === undefined ? null : (to + count) % count;
}
