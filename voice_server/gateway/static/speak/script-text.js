/**
 * The text of an answer as elements: one for each sentence, and for each word of the sentence that is being heard.
 *
 * Promises: every character of the text stands there once, in order, whatever was made of it; a word is lit only when
 * its time is known; what did not change is not touched.
 */

import { el, mark, put } from "../kit/dom.js";
import { t } from "../kit/i18n.js";
import { heardNow, placeOf, unitsOf, wordAt } from "../sound/timeline.js";

export class ScriptText {
  #element;
  #take = null;
  #spans = [];
  #places = []; // of the sentences in the text
  #end = 0; // of the last of them
  #typed = el("span", { "data-state": "typed" });
  #untyped = el("span", { "data-state": "untyped" });
  #open = null; // the sentence that has words: {span, words, lit}

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
  }

  /**
   * @param {import("../sound/take.js").Take} take
   * @param {number} headS where its listener is
   * @param {number|null} cut how much of the text was heard before it was cut off; null while that is not the question
   */
  draw(take, headS, cut) {
    if (take !== this.#take) this.#begin(take);
    for (const sentence of take.sentences.slice(this.#spans.length)) this.#add(sentence);
    this.#drawTails();
    const now = cut === null ? heardNow(take, headS) : null;
    if (this.#open && this.#open.sentence !== now) this.#close();
    take.sentences.forEach((sentence) => this.#drawSentence(sentence, stateOf(sentence, take, headS, now), cut));
  }

  /** Marks the word that is heard. @returns {HTMLElement} it, or its sentence while its words are unknown */
  light(sentence, headS) {
    const span = this.#spans[sentence.index];
    if (!sentence.words.length) return span;
    this.#open ??= { sentence, span, words: splitIntoWords(span, sentence), lit: null };
    const word = this.#open.words[sentence.words.indexOf(wordAt(sentence, headS))] ?? null;
    if (word === this.#open.lit) return word ?? span;
    this.#open.lit?.classList.remove("is-heard");
    word?.classList.add("is-heard");
    this.#open.lit = word;
    return word ?? span;
  }

  /** Words of the page that it holds are to be written anew. */
  translate() {
    for (const span of this.#spans) span.removeAttribute("title");
  }

  #begin(take) {
    [this.#take, this.#spans, this.#places, this.#end, this.#open] = [take, [], [], 0, null];
    this.#element.replaceChildren(this.#typed, this.#untyped);
  }

  #add(sentence) {
    const { text } = this.#take;
    const [begin, end] = placeOf(text, sentence.text, this.#end);
    const span = el("span", { class: "sentence", "data-tint": sentence.index % 2 });
    span.textContent = text.slice(begin, end) || sentence.text;
    this.#typed.before(text.slice(this.#end, begin), span);
    this.#spans.push(span);
    this.#places.push([begin, end]);
    this.#end = end;
  }

  #drawTails() {
    const { text, typedChars } = this.#take;
    const typed = Math.max(this.#end, typedChars);
    put(this.#typed, text.slice(this.#end, typed));
    put(this.#untyped, text.slice(typed));
  }

  #drawSentence(sentence, state, cut) {
    const span = this.#spans[sentence.index];
    const [begin, end] = this.#places[sentence.index];
    if (cut !== null) return this.#drawCut(span, Math.max(0, Math.min(end - begin, cut - begin)));
    if (span.dataset.cut) this.#mend(span);
    if (span.dataset.state === state && span.title) return;
    mark(span, "data-state", state);
    span.title = t(`script.state.${state}`, { number: sentence.index + 1, worker: sentence.worker ?? "" });
  }

  /** What was heard of a sentence, and what was not. */
  #drawCut(span, heard) {
    if (span.dataset.cut === String(heard)) return;
    const text = span.textContent;
    mark(span, "data-cut", heard);
    mark(span, "data-state", "heard");
    span.title = t(heard === text.length ? "script.state.heard" : "script.state.unheard");
    if (heard < text.length) span.replaceChildren(text.slice(0, heard), el("s", { text: text.slice(heard) }));
  }

  #mend(span) {
    delete span.dataset.cut;
    span.removeAttribute("title");
    span.textContent = span.textContent;
  }

  #close() {
    const { span } = this.#open;
    span.textContent = span.textContent; // one text again instead of many words
    this.#open = null;
  }
}

/** Replaces the text of `span` by elements for its words, and the text between them. @returns {HTMLElement[]} of the words */
function splitIntoWords(span, { text, words }) {
  const shown = span.textContent.length === text.length ? span.textContent : text; // with white space of the answer's own
  const parts = [];
  let end = 0;
  const elements = words.map((word) => {
    const [from, to] = [unitsOf(text, word.begin), unitsOf(text, word.end)];
    const element = el("span", { class: "word", text: shown.slice(from, to) });
    parts.push(shown.slice(end, from), element);
    end = to;
    return element;
  });
  span.replaceChildren(...parts, shown.slice(end));
  return elements;
}

function stateOf(sentence, take, headS, now) {
  const { state, endS } = sentence;
  if (state === "failed") return "failed";
  if (sentence === now) return "now";
  if (endS !== null && endS <= headS) return "heard";
  if (state === "arriving" || state === "rendered") return "ready";
  return take.state === "rendering" ? state : "dropped";
}
