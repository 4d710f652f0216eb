/** When to draw what changes while somebody listens. */

import { onLanguage } from "./i18n.js";

const EVENTS = ["take", "change", "state", "finished"];

/**
 * Calls `draw` in the next frame after something changed, however often it did, and in every frame while sound is heard.
 * A page that nobody sees draws nothing.
 * @param {import("./conversation.js").Conversation} conversation
 * @param {() => void} draw
 * @returns {() => void} asks for a drawing
 */
export function onFrames(conversation, draw) {
  let asked = 0;
  const ask = () => (asked ||= requestAnimationFrame(frame));
  const frame = () => {
    asked = 0;
    draw();
    if (conversation.state === "speaking") ask();
  };
  for (const name of EVENTS) conversation.addEventListener(name, ask);
  onLanguage(ask);
  ask();
  return ask;
}
