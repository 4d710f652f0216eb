/** What is going on, in one line. Pure. */

import { number, t } from "../kit/i18n.js";

const UNHEARD_S = 0.25; // of the end: more, and somebody stopped it

/**
 * @param {"idle"|"connecting"|"waiting"|"speaking"|"paused"} state of the conversation
 * @param {{position: number, reason: string, eta_ms?: number}|null} queued the last message of this kind of this answer
 * @param {import("../sound/take.js").Take|null} take
 * @returns {string}
 */
export function statusLine(state, queued, take) {
  if (state === "waiting" && queued) return queuedLine(queued);
  if (state !== "idle") return t(`status.${state}`);
  return take ? overLine(take) : t("status.idle");
}

function queuedLine({ position, reason, eta_ms: etaMs }) {
  if (reason === "loading") return t("status.loading");
  if (etaMs === undefined) return t("status.queued", { position });
  return t("status.queuedAbout", { position, seconds: number(etaMs / 1000, 1) });
}

function overLine({ state, durationS, stats }) {
  const heardS = stats.heardS ?? 0;
  if (state === "failed") return t("status.failed");
  if (state !== "complete" || heardS < durationS - UNHEARD_S) return t("status.stopped", { seconds: number(heardS, 1) });
  const seconds = number(durationS, 1);
  if (stats.firstAudioMs == null) return t("status.complete", { seconds });
  return t("status.completeAfter", { seconds, ms: number(stats.firstAudioMs) });
}
