// What the page remembers between visits, in this browser only.

const PREFIX = "voice.";

/**
 * @param {string} key
 * @param {*} fallback of anything JSON holds
 */
export function recall(key, fallback) {
  try {
    const kept = localStorage.getItem(PREFIX + key);
    return kept === null ? fallback : JSON.parse(kept);
  } catch {
    return fallback; // no storage here (a private window), or not ours
  }
}

/** @param {string} key @param {*} value undefined forgets it */
export function remember(key, value) {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // full or forbidden: the page works all the same, and begins anew next time
  }
}
