// Numbers, times and JSON as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** @param {number} n a count; every digit is shown */
export const count = (n) => whole.format(n);

/** @param {number} n a count; three digits and a unit when it is large */
export const about = (n) => (n < 10_000 ? whole.format(n) : compact.format(n));

/** @param {number} n events per second */
export const rate = (n) => (n < 100 ? one.format(n) : about(n));

/**
 * @param {number} n bytes
 * @returns {string}
 */
export function bytes(n) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${one.format(n)} ${units[unit]}`;
}

/**
 * @param {number} micros a duration
 * @returns {string} such as `0.4 s`, `12 s`, `3 min`, `5 h`
 */
export function duration(micros) {
  const seconds = micros / 1e6;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/**
 * @param {string} rfc3339
 * @returns {string} local time of day, or the text itself when it is no time
 */
export function timeOfDay(rfc3339) {
  const time = new Date(rfc3339);
  return Number.isNaN(time.getTime()) ? rfc3339 : clock.format(time);
}

/**
 * A value in one line.
 * @param {unknown} value
 * @returns {string}
 */
export function inline(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * `1 event`, `2 events`.
 * @param {number} n
 * @param {string} noun
 */
export const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

/**
 * Parses JSON without losing digits: an integer that a double cannot hold stays text.
 * @param {string} text
 * @returns {any}
 */
export function parseExact(text) {
  // The third argument, with the source text, is newer than the type definitions.
  /** @type {(key: string, value: any, context?: { source?: string }) => any} */
  const keepDigits = (_key, value, context) => {
    const rounded = typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
    return rounded && context?.source ? context.source : value;
  };
  return JSON.parse(text, /** @type {(key: string, value: any) => any} */ (keepDigits));
}

/**
 * JSON over several lines, numbers written as they were sent (`1.50` stays `1.50`).
 * @param {string} text
 * @returns {string} the text itself where it is no JSON
 */
export function pretty(text) {
  /** @type {{ rawJSON?: (source: string) => unknown }} newer than the type definitions */
  const json = /** @type {any} */ (JSON);
  /** @type {(key: string, value: any, context?: { source?: string }) => any} */
  const asSent = (_key, value, context) =>
    typeof value === "number" && context?.source && json.rawJSON ? json.rawJSON(context.source) : value;
  try {
    return JSON.stringify(JSON.parse(text, /** @type {(key: string, value: any) => any} */ (asSent)), null, 2);
  } catch {
    return text;
  }
}
