/**
 * What the language model writes, from POST /chat: a source of tokens for Conversation.say.
 *
 * Promises: never throws while it is read; what went wrong is told once, and what was written until then stands; `abort`
 * ends it at once, at the server and at the model as well.
 */

import { ApiError } from "../kit/api.js";

export class Answer {
  /** Somebody writes: from the question to the last token. */
  isWriting = true;
  #api;
  #messages;
  #tell;
  #aborter = new AbortController();

  /**
   * @param {typeof import("../kit/api.js").api} api
   * @param {{role: "user"|"assistant", content: string}[]} messages
   * @param {(problem: {code: string, message: string}) => void} tell
   */
  constructor(api, messages, tell) {
    [this.#api, this.#messages, this.#tell] = [api, messages, tell];
  }

  abort() {
    this.isWriting = false;
    this.#aborter.abort();
  }

  async *[Symbol.asyncIterator]() {
    try {
      const body = await this.#api.stream("chat", { messages: this.#messages }, this.#aborter.signal);
      yield* this.#tokens(body);
    } catch (problem) {
      if (!this.#aborter.signal.aborted) this.#tell(told(problem));
    } finally {
      this.isWriting = false;
    }
  }

  async *#tokens(body) {
    for await (const { token, done, error } of events(body)) {
      if (error) throw error;
      if (done) return;
      if (token) yield token;
    }
    throw new ApiError({ code: "connection_lost", message: "the connection was lost" });
  }
}

/** A refusal has a code in words; what the browser says of a broken line has none. */
const told = (problem) => (typeof problem.code === "string" ? problem : { code: "connection_lost", message: String(problem) });

/** The data of server-sent events, each a line of JSON. @param {ReadableStream<Uint8Array>} body */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader(); // Safari iterates over no stream
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) yield JSON.parse(line.slice("data: ".length));
  }
}
