/** When to draw what changes while somebody listens. */

import { onLanguage } from "./i18n.js";

const EVENTS = ["take", "change", "state", "finished"];

/**
 * Calls `draw` in the next frame after something changed, however often it did, and in every frame while sound is heard.
 * A page that nobody sees draws nothing.
 * @param {import("../sound/conversation.js").Conversation} conversation
 * @param {(hasChanged: boolean) => void} draw false: nothing but time has passed
 * @returns {() => void} asks for a drawing
 */
export function onFrames(conversation, draw) {
  let [asked, hasChanged] = [0, true];
  const askAgain = () => (asked ||= requestAnimationFrame(frame));
  const frame = () => {
    const wasChanged = hasChanged;
    [asked, hasChanged] = [0, false];
    draw(wasChanged);
    if (conversation.state === "speaking") askAgain();
  };
  const ask = () => {
    hasChanged = true;
    askAgain();
  };
  for (const name of EVENTS) conversation.addEventListener(name, ask);
  onLanguage(ask);
  ask();
  return ask;
}
