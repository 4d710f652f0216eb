/** A voice's short sample sentence, rendered by the server and played here; one at a time. */

import { tell } from "./problems.js";

export class Preview {
  /** @param {typeof import("./api.js").api} api @param {() => void} onChange */
  constructor(api, onChange) {
    this._api = api;
    this._onChange = onChange;
    this._audio = new Audio();
    this._audio.addEventListener("ended", () => this.stop());
    /** Whose preview loads or sounds; "" for nobody's. */
    this.name = "";
    /** @type {"idle"|"loading"|"playing"} */
    this.state = "idle";
  }

  /** Plays it, or stops where it is this one that plays. @param {string} name of a voice @param {string} backend */
  async toggle(name, backend) {
    const wasThis = this.name === name;
    this.stop();
    if (wasThis) return;
    this._enter(name, "loading");
    try {
      const path = `v1/audio/voices/${encodeURIComponent(name)}/preview?backend=${encodeURIComponent(backend)}`;
      const sound = await this._api.blob(path);
      if (this.name !== name) return; // another one was wanted meanwhile
      this._audio.src = URL.createObjectURL(sound);
      await this._audio.play();
      this._enter(name, "playing");
    } catch (error) {
      if (this.name !== name) return;
      this.stop();
      tell(error);
    }
  }

  stop() {
    this._audio.pause();
    if (this._audio.src) URL.revokeObjectURL(this._audio.src);
    this._audio.removeAttribute("src");
    if (this.name) this._enter("", "idle");
  }

  _enter(name, state) {
    Object.assign(this, { name, state });
    this._onChange();
  }
}
