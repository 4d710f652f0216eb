/**
 * A button that writes down what is said in a recording, where a backend listens: a proposal, to be read and mended.
 *
 * Promises: the recording goes to this server and is not kept there; what a person types meanwhile is not overwritten.
 */

import { button } from "../kit/buttons.js";
import { put } from "../kit/dom.js";
import { onLanguage, t } from "../kit/i18n.js";
import { tell } from "../kit/problems.js";

const DOOR = "v1/audio/transcriptions";

/**
 * @param {{input: HTMLTextAreaElement, element: HTMLElement}} field of the transcript
 * @param {{api: typeof import("../kit/api.js").api, backends: import("../kit/backends.js").Backends,
 *   soundOf: () => [Blob, string], limits: {transcript_chars: number}}} deps `soundOf`: the recording and its file name
 * @returns {{forget: () => void}} `forget`: another recording, for which an answer under way is none
 */
export function mountProposal({ input, element }, { api, backends, soundOf, limits }) {
  const propose = button("wave", "studio.propose", "", { id: "studio-propose" });
  let asked = 0;
  const draw = (isBusy) => {
    propose.hidden = !backends.listening.length;
    propose.disabled = isBusy;
    put(propose.lastChild, t(isBusy ? "studio.proposing" : "studio.propose"));
  };
  propose.addEventListener("click", async () => {
    const [turn, before] = [(asked += 1), input.value];
    draw(true);
    try {
      const { text } = await api.post(DOOR, formOf(...soundOf()));
      if (turn === asked && input.value === before) input.value = text.slice(0, limits.transcript_chars);
    } catch (problem) {
      if (turn === asked) tell(problem);
    }
    if (turn === asked) draw(false);
  });
  const drawIdle = () => propose.disabled || draw(false);
  backends.addEventListener("change", drawIdle);
  onLanguage(drawIdle);
  draw(false);
  input.after(propose);
  return {
    forget() {
      asked += 1;
      draw(false);
    },
  };
}

function formOf(blob, fileName) {
  const form = new FormData();
  form.append("file", blob, fileName);
  return form;
}
