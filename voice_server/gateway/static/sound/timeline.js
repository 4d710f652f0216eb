/**
 * Where in an answer something is.
 *
 * Promises: pure; times are seconds of the answer; text places are those of JavaScript strings.
 */

const SHORTEST_S = 5; // of a waveform that still grows: the first word shall not fill the whole width
const GROWTH = 1.5; // of its scale at a time, so that it rests in between

/** The sentence that is heard at a time, or null. @param {import("./take.js").Take} take @param {number} atS */
export function sentenceAt(take, atS) {
  return take.sentences.findLast((sentence) => sentence.startS !== null && sentence.startS <= atS) ?? null;
}

/** The sentence that a listener hears, or null: the answer has not begun, or is over. */
export function heardNow(take, headS) {
  return headS < take.durationS ? sentenceAt(take, headS) : null;
}

/** The word that is heard at a time, or null: words are known only once their sentence is whole. */
export function wordAt(sentence, atS) {
  return sentence?.words.find((word) => word.startS <= atS && atS < word.endS) ?? null;
}

/** What the whole width of a waveform stands for: more than there is, in steps, as long as more comes. */
export function spanOf({ durationS, state }) {
  if (state !== "rendering") return durationS;
  const steps = Math.ceil(Math.log(Math.max(durationS, SHORTEST_S) / SHORTEST_S) / Math.log(GROWTH));
  return SHORTEST_S * GROWTH ** steps;
}

/** The largest peak between two times, 0 to 1. */
export function peakBetween({ peaks, peakCount, peakS }, fromS, toS) {
  const to = Math.min(peakCount, Math.max(Math.ceil(toS / peakS), Math.floor(fromS / peakS) + 1));
  let peak = 0;
  for (let at = Math.floor(fromS / peakS); at < to; at += 1) peak = Math.max(peak, peaks[at]);
  return peak;
}

/** As on the display of a player: 0:07.2, 12:34, 1:02:03. @param {number} [digits] of a second */
export function clock(timeS, digits = 0) {
  const [hours, minutes] = [Math.floor(timeS / 3600), Math.floor(timeS / 60) % 60];
  const rest = (Math.floor((timeS % 60) * 10 ** digits) / 10 ** digits).toFixed(digits);
  const two = (part) => (Number(part) < 10 ? `0${part}` : String(part));
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/**
 * Where a sentence stands in the text it was cut from. White space may be another there.
 * @param {string} text
 * @param {string} sentence
 * @param {number} from where the sentence before it ends
 * @returns {[number, number]} begin and end; both are `from` where it is not found
 */
export function placeOf(text, sentence, from) {
  const at = text.indexOf(sentence, from);
  if (at >= 0) return [at, at + sentence.length];
  const words = sentence.trim().split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const loose = new RegExp(words.join("\\s+"), "g");
  loose.lastIndex = from;
  const found = loose.exec(text);
  return found ? [found.index, loose.lastIndex] : [from, from];
}

/** A place that the server counted in characters, where JavaScript counts UTF-16 units: an emoji is two of them. */
export function unitsOf(text, characters) {
  let units = 0;
  for (let at = 0; at < characters && units < text.length; at += 1) units += text.codePointAt(units) > 0xffff ? 2 : 1;
  return units;
}

/** How much of its text was heard before it was cut off, in the words of the server; null where it was not, or nobody knows. */
export function heardChars({ text, spokenText, state }) {
  if (spokenText === null || (spokenText === "" && state === "complete")) return null;
  return text.length - text.trimStart().length + spokenText.trim().length;
}
