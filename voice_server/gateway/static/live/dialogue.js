/**
 * Who said what: the messages of a talk, oldest first.
 *
 * Promises: knows nothing of elements; a model is told of its own answers what was heard of them, and of no more.
 */

import { heardChars } from "../sound/timeline.js";

/**
 * @typedef {object} Message
 * @property {number} id
 * @property {"you"|"voice"} role
 * @property {string} text of yours; that of the voice is its take's
 * @property {import("../sound/take.js").Take|null} take of the voice
 * @property {boolean} isAside words of yours that were only spoken back: no part of the conversation
 */

export class Dialogue {
  /** @type {Message[]} */
  messages = [];
  #last = 0;

  /** @param {string} text */
  you(text) {
    this.#add({ role: "you", text, take: null, isAside: false });
  }

  /** @param {import("../sound/take.js").Take} take @param {boolean} isAside */
  voice(take, isAside) {
    this.#add({ role: "voice", text: "", take, isAside });
  }

  clear() {
    this.messages = [];
  }

  /** The newest messages as a chat completion has them. @param {number} most */
  past(most) {
    const told = this.messages.filter(({ isAside }) => !isAside).map((message) => ({
      role: message.take ? "assistant" : "user",
      content: message.take ? heardOf(message.take) : message.text,
    }));
    return told.filter(({ content }) => content.trim()).slice(-most);
  }

  #add(message) {
    this.messages.push({ id: (this.#last += 1), ...message });
  }
}

/** Of an answer that was cut off a moment ago nobody knows it yet. */
function heardOf(take) {
  if (take.state === "cancelled" && take.spokenText === null) return "";
  return take.text.slice(0, heardChars(take) ?? take.text.length);
}
