/**
 * Numbers as a person reads them, in the language of the page.
 *
 * Promises: pure but for the language; a number that is not known is a dash.
 */

import { number, t } from "./i18n.js";

const UNKNOWN = "—";
const TENTHS_BELOW_S = 100; // above it nobody reads tenths

/** @param {number | null | undefined} value @param {number} [digits] after the point */
export function count(value, digits = 0) {
  return value === null || value === undefined ? UNKNOWN : number(value, digits);
}

/** @param {number | null | undefined} value seconds */
export function seconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return t("figure.seconds", { value: number(value, value < TENTHS_BELOW_S ? 1 : 0) });
}

/** @param {number | null | undefined} value seconds, told in milliseconds while that is short */
export function shortly(value) {
  if (value === null || value === undefined || value >= 1) return seconds(value);
  return t("figure.milliseconds", { value: Math.round(value * 1000) });
}

/** @param {number} value seconds, of hours or days */
export function duration(value) {
  const minutes = Math.floor(value / 60);
  if (minutes < 1) return t("figure.seconds", { value: Math.floor(value) });
  if (minutes < 60) return t("figure.minutes", { minutes });
  return t("figure.hours", { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
}
