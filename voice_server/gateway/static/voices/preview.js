/** A voice's short sample sentence, rendered by the server and played here; one at a time. */

import { tell } from "../kit/problems.js";

export class Preview {
  /** Whose preview loads or sounds; "" for nobody's. */
  name = "";
  /** @type {"idle"|"loading"|"playing"} */
  state = "idle";
  #api;
  #onChange;
  #audio = new Audio();

  /** @param {typeof import("../kit/api.js").api} api @param {() => void} onChange */
  constructor(api, onChange) {
    this.#api = api;
    this.#onChange = onChange;
    this.#audio.addEventListener("ended", () => this.stop());
  }

  /** Plays it, or stops where it is this one that plays. @param {string} name of a voice @param {string} backend */
  async toggle(name, backend) {
    const wasThis = this.name === name;
    this.stop();
    if (wasThis) return;
    this.#enter(name, "loading");
    try {
      const path = `v1/audio/voices/${encodeURIComponent(name)}/preview?backend=${encodeURIComponent(backend)}`;
      const sound = await this.#api.blob(path);
      if (this.name !== name) return; // another one was wanted meanwhile
      this.#audio.src = URL.createObjectURL(sound);
      await this.#audio.play();
      this.#enter(name, "playing");
    } catch (error) {
      if (this.name !== name) return;
      this.stop();
      tell(error);
    }
  }

  stop() {
    this.#audio.pause();
    if (this.#audio.src) URL.revokeObjectURL(this.#audio.src);
    this.#audio.removeAttribute("src");
    if (this.name) this.#enter("", "idle");
  }

  #enter(name, state) {
    Object.assign(this, { name, state });
    this.#onChange();
  }
}
