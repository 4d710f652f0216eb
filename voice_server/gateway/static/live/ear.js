/**
 * The microphone of a talk: open, it hears utterances, and tells what is said in them.
 *
 * Promises: the device is open only between `open` and `close`; whoever closes it still gets the text of what was said.
 * Events: `change` (open, or not), `level` {level, isSpeaking}, `speech` (somebody begins to speak), `silence`
 * (an utterance has ended), those of transcription.js, and `refused` {reason} where there is no microphone.
 */

import { Microphone } from "../voices/microphone.js";
import { Transcription } from "./transcription.js";
import { Utterances } from "./utterances.js";

// Made for talks: the page does not hear itself, nor the fan. (A voice's recording wants none of this.)
const CLEAR = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
const TOLD = ["partial", "final", "overload", "problem"];

export class Ear extends EventTarget {
  /** @type {"closed"|"asking"|"open"} */
  state = "closed";
  #microphone = null;
  #utterances = null;
  #transcription;
  #isHeld = false;
  #turn = 0; // of `open` and `close`: a device that comes too late is let go of

  /** @param {typeof import("../kit/api.js").api} api */
  constructor(api) {
    super();
    this.#transcription = new Transcription(api);
    for (const name of TOLD) this.#transcription.addEventListener(name, ({ detail }) => this.#tell(name, detail));
  }

  /** Somebody speaks, or the text of what they said is still to come. */
  get isHearing() {
    return this.#transcription.isAwaited || (this.#utterances?.isOpen ?? false);
  }

  /** Call it in a click or for a key. */
  async open() {
    if (this.state !== "closed") return;
    const turn = (this.#turn += 1);
    this.#set("asking");
    try {
      const microphone = await Microphone.open(0, CLEAR);
      if (turn !== this.#turn) return microphone.close();
      this.#listenTo(microphone);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#set("closed");
      this.#tell("refused", { reason: error.reason ?? "unknown" });
    }
  }

  /** All is one utterance until it is released. */
  hold() {
    this.#isHeld = true;
    this.#utterances?.hold();
    this.open();
  }

  /** From now on utterances end by themselves. */
  keepOpen() {
    this.#isHeld = false;
    if (this.#utterances) this.#utterances.isHeld = false;
  }

  close() {
    this.#turn += 1;
    this.#isHeld = false;
    this.#utterances?.end();
    this.#microphone?.close();
    [this.#microphone, this.#utterances] = [null, null];
    this.#set("closed");
  }

  #listenTo(microphone) {
    const { sampleRate } = microphone.context;
    const to = {
      begin: () => this.#transcription.begin(sampleRate),
      hear: (block) => this.#transcription.hear(block),
      end: () => {
        this.#transcription.end();
        this.#tell("silence");
      },
    };
    [this.#microphone, this.#utterances] = [microphone, new Utterances(sampleRate, to)];
    if (this.#isHeld) this.#utterances.hold();
    microphone.addEventListener("heard", ({ detail }) => this.#hear(detail.block));
    this.#set("open");
  }

  #hear(block) {
    const { activity } = this.#utterances;
    const wasSpeaking = activity.isSpeaking;
    this.#utterances.push(block);
    if (activity.isSpeaking && !wasSpeaking) this.#tell("speech");
    this.#tell("level", { level: activity.level, isSpeaking: activity.isSpeaking });
  }

  #set(state) {
    this.state = state;
    this.#tell("change");
  }

  #tell(name, detail = {}) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
