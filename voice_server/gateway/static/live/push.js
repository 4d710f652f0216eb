/**
 * One button for two ways to talk: held down, it listens until it is let go; tapped, it listens until the next tap.
 *
 * Promises: the same by finger, mouse and keyboard, and for a screen reader's click, which is a tap.
 */

const TAP_MS = 300;
const KEYS = [" ", "Enter"];

/**
 * @param {HTMLElement} button
 * @param {import("./ear.js").Ear} ear
 */
export function mountPush(button, ear) {
  let downMs = null; // since when it is held
  let isHandled = false; // the click that a browser makes of a press is none of its own
  const down = () => {
    if (ear.state !== "closed") return ear.close();
    downMs = performance.now();
    return ear.hold();
  };
  const press = () => {
    isHandled = true;
    down();
  };
  const up = () => {
    if (downMs === null) return;
    const wasTap = performance.now() - downMs < TAP_MS;
    downMs = null;
    if (wasTap || ear.state === "asking") ear.keepOpen();
    else ear.close();
  };
  const toggle = () => {
    if (ear.state !== "closed") return ear.close();
    return ear.open();
  };
  button.addEventListener("pointerdown", (event) => event.button === 0 && press());
  for (const name of ["pointerup", "pointercancel"]) {
    window.addEventListener(name, () => {
      up(); // wherever the finger is by then
      setTimeout(() => (isHandled = false)); // after the click, if there is one
    });
  }
  button.addEventListener("keydown", (event) => {
    if (!KEYS.includes(event.key)) return;
    event.preventDefault();
    if (!event.repeat) down();
  });
  button.addEventListener("keyup", (event) => KEYS.includes(event.key) && up());
  button.addEventListener("blur", up);
  button.addEventListener("click", () => isHandled || toggle());
}
