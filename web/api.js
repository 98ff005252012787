// Talks to the server. Every request goes to where the page came from.

import { parseExact } from "./format.js";

const TIMEOUT_MILLIS = 8_000;

/** A request the server refused, in its own words. */
export class Refused extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * @param {string} path
 * @returns {Promise<any>}
 */
async function getJson(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MILLIS) });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** @returns {Promise<StreamList>} */
export const streams = () => getJson("/live/streams");

/**
 * @param {string} stream
 * @returns {Promise<Stats>}
 */
export const stats = (stream) => getJson(`/live/${encodeURIComponent(stream)}/stats`);

/**
 * Follows a stream; the browser reconnects by itself.
 * @param {string} stream
 * @param {{ last: number, rate: number }} wanted events before now, and at most so many per second
 * @param {{ event: (event: LiveEvent) => void, missed: (count: number) => void, state: (open: boolean) => void }} on
 * @returns {EventSource}
 */
export function follow(stream, wanted, on) {
  const path = `/live/${encodeURIComponent(stream)}/events?last=${wanted.last}&rate=${wanted.rate}`;
  const source = new EventSource(path);
  source.addEventListener("message", (message) => on.event(JSON.parse(message.data)));
  source.addEventListener("missed", (message) => on.missed(JSON.parse(message.data).missed));
  source.addEventListener("open", () => on.state(true));
  source.addEventListener("error", () => on.state(false));
  return source;
}

/**
 * Runs one statement and reads the first rows of its answer.
 * @param {string} sql
 * @param {number} rowsMax
 * @returns {Promise<SqlAnswer>}
 */
export async function runSql(sql, rowsMax) {
  const begun = performance.now();
  const stop = new AbortController();
  const headers = { accept: "application/x-ndjson", "content-type": "application/sql" };
  const response = await fetch("/sql", { method: "POST", body: sql, headers, signal: stop.signal });
  if (!response.ok) throw await refusal(response);
  /** @type {SqlAnswer} */
  const answer = { columns: [], rows: [], more: false, freshness: freshness(response), millis: 0 };
  try {
    for await (const line of lines(response)) {
      if (answer.rows.length === rowsMax) {
        answer.more = true;
        stop.abort();
        break;
      }
      answer.rows.push(parseExact(line));
    }
  } catch {
    throw new Refused("broken_off", "The answer broke off. The server's log says why.");
  }
  answer.columns = Object.keys(answer.rows[0] ?? {});
  answer.millis = performance.now() - begun;
  return answer;
}

/**
 * @param {Response} response
 * @returns {string} what the answer says of its tables, for people
 */
function freshness(response) {
  /** @type {{ text: string }[]} */
  const tables = JSON.parse(response.headers.get("laker-freshness") ?? "[]");
  return tables.map(({ text }) => text).join("; ");
}

/**
 * @param {Response} response
 * @returns {AsyncGenerator<string>} lines that are not empty
 */
async function* lines(response) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) if (part.trim()) yield part;
  }
  if (rest.trim()) yield rest;
}

/**
 * @param {Response} response
 * @returns {Promise<Refused>}
 */
async function refusal(response) {
  const text = await response.text();
  try {
    const body = JSON.parse(text);
    return new Refused(body.code, body.message);
  } catch {
    return new Refused(String(response.status), text || response.statusText);
  }
}
