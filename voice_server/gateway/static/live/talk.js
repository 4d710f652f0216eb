/**
 * The tab where a person speaks, reads what was understood, and hears the answer.
 *
 * Promises: who begins to speak is heard: the page falls silent at once, and nothing is sent behind their back; what was
 * understood can be changed before it is sent; it says so where nobody listens or no model answers.
 */

import { put } from "../kit/dom.js";
import { onLanguage, t } from "../kit/i18n.js";
import { forgetProblems, tell } from "../kit/problems.js";
import { remember } from "../kit/settings.js";
import { Answer } from "./answer.js";
import { Countdown } from "./countdown.js";
import { Dialogue } from "./dialogue.js";
import { Ear } from "./ear.js";
import { mountLog } from "./log.js";
import { build, drawLevel } from "./parts.js";
import { mountPush } from "./push.js";

const SENT_AFTER_S = 3; // time enough to read a sentence and to object to it
const WINDOW = 12; // messages of the past that a model is shown, until the server has told its own number

/**
 * @param {HTMLElement} root
 * @param {{api: typeof import("../kit/api.js").api, backends: import("../kit/backends.js").Backends,
 *   conversation: import("../sound/conversation.js").Conversation,
 *   wanted: () => {backend: string, voice: string, opts: object}}} deps `wanted`: what the other parts have chosen
 */
export function mountTalk(root, { api, backends, conversation, wanted }) {
  const parts = build(root);
  const [dialogue, ear, countdown] = [new Dialogue(), new Ear(api), new Countdown()];
  const drawLog = mountLog(parts.log, { dialogue, conversation });
  const model = { isKnown: false, name: null, window: WINDOW };
  let answer = null; // of the model, newest
  let isOwed = false; // what was understood is to be sent by itself, once nobody speaks

  const sendSoon = () => {
    if (isOwed && !ear.isHearing) countdown.start(SENT_AFTER_S);
  };
  const sendNothing = () => {
    isOwed = false;
    countdown.cancel();
  };
  const silence = () => {
    answer?.abort();
    conversation.stop();
  };
  const say = (text, isAside, source = null) => {
    conversation.say(source ? "" : text, { ...wanted(), source });
    dialogue.voice(conversation.take, isAside);
    drawLog();
  };
  const takeDraft = () => {
    const text = parts.draft.value.trim();
    sendNothing();
    forgetProblems();
    if (!text) return tell({ code: "empty_text" });
    silence();
    parts.draft.value = "";
    return text;
  };
  const send = () => {
    const text = takeDraft();
    if (!text) return;
    dialogue.you(text);
    answer = new Answer(api, dialogue.past(model.window), tell);
    say("", false, answer);
  };
  const speak = () => {
    const text = takeDraft();
    if (text) say(text, true);
  };

  const draw = () => {
    drawState(parts, { ear, model, countdown, answer, conversation, mayHear: backends.listening.length > 0 });
  };
  ear.addEventListener("change", draw);
  ear.addEventListener("level", ({ detail }) => {
    drawLevel(parts.meter, detail.level, detail.isSpeaking);
    lamp(parts, "you", detail.isSpeaking);
  });
  ear.addEventListener("speech", () => {
    countdown.cancel();
    silence();
  });
  ear.addEventListener("partial", ({ detail }) => drawPartial(parts, detail));
  ear.addEventListener("final", ({ detail }) => {
    drawPartial(parts, {});
    if (detail.text) {
      parts.draft.value = [parts.draft.value.trim(), detail.text].filter(Boolean).join(" ");
      isOwed = parts.auto.checked && !root.hidden;
    }
    sendSoon();
  });
  ear.addEventListener("problem", ({ detail }) => {
    drawPartial(parts, {});
    tell(detail);
    sendSoon();
  });
  ear.addEventListener("silence", sendSoon); // of an utterance that went wrong while it was said no text comes
  ear.addEventListener("overload", ({ detail }) => tell({ code: "overload", message: detail.policy }));
  ear.addEventListener("refused", ({ detail }) => {
    parts.hint.dataset.refused = detail.reason;
    draw();
  });
  mountPush(parts.mic, ear);
  parts.mic.addEventListener("pointerdown", silence);

  countdown.addEventListener("change", draw);
  countdown.addEventListener("over", send);
  parts.draft.addEventListener("input", sendNothing);
  parts.auto.addEventListener("change", () => {
    remember("live.auto", parts.auto.checked);
    if (!parts.auto.checked) sendNothing();
  });
  parts.element.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  parts.speak.addEventListener("click", speak);
  parts.stop.addEventListener("click", () => {
    sendNothing();
    silence();
  });
  parts.clear.addEventListener("click", () => {
    silence();
    dialogue.clear();
    drawLog();
  });
  root.addEventListener("leave", () => {
    sendNothing();
    ear.close(); // nobody would see that it is open
  });
  listenToKeys(parts, send);
  for (const name of ["state", "take", "change", "finished"]) conversation.addEventListener(name, draw);
  backends.addEventListener("change", draw);
  backends.addEventListener("change", () => model.isKnown || learnModel(api, model).then(draw));
  onLanguage(draw);
  draw();
  return { dialogue, ear };
}

async function learnModel(api, known) {
  const told = await api.get("chat").catch(() => null); // an echo, until it answers
  if (told) Object.assign(known, { isKnown: true, name: told.model, window: told.window });
}

/** The tab's own keys while it is shown; in a dialog or another form they belong to it. */
function listenToKeys({ root, element, stop }, send) {
  document.addEventListener("keydown", (event) => {
    const form = event.target.closest?.("form") ?? element;
    if (form !== element || !root.checkVisibility() || document.querySelector("dialog[open]")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape") {
      stop.click();
    }
  });
}

function drawState(parts, { ear, model, countdown, answer, conversation, mayHear }) {
  const isOpen = ear.state === "open";
  parts.none.hidden = mayHear;
  parts.mic.disabled = !mayHear && ear.state === "closed";
  parts.mic.setAttribute("aria-pressed", ear.state !== "closed");
  if (ear.state !== "closed") delete parts.hint.dataset.refused;
  put(parts.hint, hintOf(parts.hint.dataset.refused, ear.state, mayHear));
  if (!isOpen) {
    drawLevel(parts.meter, 0, false);
    lamp(parts, "you", false);
  }
  lamp(parts, "thinking", Boolean(answer?.isWriting) && model.name !== null);
  lamp(parts, "voice", conversation.state === "speaking");
  put(parts.send.lastChild, model.name ? t("live.ask", { model: model.name }) : t("live.speak"));
  parts.speak.hidden = !model.name;
  parts.stop.disabled = conversation.state === "idle" && !countdown.leftS;
  put(parts.countdown, countdown.leftS ? t("live.countdown", { seconds: countdown.leftS }) : "");
}

function hintOf(refused, state, mayHear) {
  if (refused) return t(`studio.microphone.${refused}`);
  if (!mayHear) return t("live.hint.none");
  return t(`live.hint.${state}`);
}

function drawPartial({ certain, tentative }, { text = "", tentative: guess = "" }) {
  put(certain, text);
  put(tentative, guess ? ` ${guess}` : "");
}

function lamp({ root }, name, isOn) {
  const element = root.querySelector(`[data-lamp="${name}"]`);
  element.classList.toggle("is-on", isOn);
}
