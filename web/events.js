// The newest events, as they arrive. What they hold is shown as text only.

import { follow } from "./api.js";
import { byId, make, setText } from "./dom.js";
import * as format from "./format.js";
import { dotOf } from "./numbers.js";

const ROWS_MAX = 100;
/** Events before now that the page begins with. */
const LAST = 50;
/** More per second nobody can read; of the others the page gets the count. */
const PER_SECOND = 20;
/** What one line of a row may hold; the whole event is there when the row is opened. */
const LINE_CHARS_MAX = 300;
const FIELDS_MAX = 12;
/** As the server cuts names of actions. */
const ACTION_CHARS_MAX = 64;
/** How long the list counts as a sample after an event was left out. */
const SAMPLED_MILLIS = 5_000;

/**
 * Follows one stream into the list.
 * @param {StreamInfo} stream
 * @param {(open: boolean) => void} onState
 * @returns {() => void} ends it
 */
export function showEvents(stream, onState) {
  const list = byId("events");
  const pause = byId("pause");
  /** @type {LiveEvent[]} newest last */
  let waiting = [];
  let paused = false;
  let sampledUntil = 0;
  let frame = 0;
  list.replaceChildren();

  const render = () => {
    frame = 0;
    if (paused) {
      setText(byId("events-note"), waiting.length > 0 ? `paused, ${format.about(waiting.length)} new` : "paused");
      return;
    }
    const sampled = performance.now() < sampledUntil;
    for (const event of waiting) list.prepend(row(event, stream, sampled ? "" : "fresh"));
    while (list.childElementCount > ROWS_MAX) list.lastElementChild?.remove();
    waiting = [];
    setText(byId("events-note"), sampled ? `a sample, ${PER_SECOND} a second` : "");
  };
  const soon = () => {
    frame ||= requestAnimationFrame(render);
  };
  /** @param {boolean} now */
  const setPaused = (now) => {
    paused = now;
    pause.setAttribute("aria-pressed", String(now));
    setText(pause, now ? "Resume" : "Pause");
    soon();
  };
  const onClick = () => setPaused(!paused);
  /** Whoever opens an event wants to read it: the list must not move away. @param {Event} event */
  const onToggle = (event) => {
    if (event.target instanceof HTMLDetailsElement && event.target.open) setPaused(true);
  };
  setPaused(false);
  pause.addEventListener("click", onClick);
  list.addEventListener("toggle", onToggle, true);

  const source = follow(stream.name, { last: LAST, rate: PER_SECOND }, {
    event: (event) => {
      waiting.push(event);
      if (waiting.length > ROWS_MAX) waiting.shift();
      soon();
    },
    missed: () => {
      sampledUntil = performance.now() + SAMPLED_MILLIS;
      soon();
    },
    state: onState,
  });
  return () => {
    source.close();
    cancelAnimationFrame(frame);
    pause.removeEventListener("click", onClick);
    list.removeEventListener("toggle", onToggle, true);
  };
}

/**
 * One event as a row that opens.
 * @param {LiveEvent} live
 * @param {StreamInfo} stream
 * @param {"" | "fresh"} kind a fresh one is marked as it appears
 * @returns {HTMLLIElement}
 */
function row(live, stream, kind) {
  const fields = fieldsOf(live.event);
  const action = shortText(fields?.[stream.action_field]);
  const user = shortText(fields?.[stream.user_field]);
  const summary = make(
    "summary",
    {},
    make("time", { datetime: live.received_at }, format.timeOfDay(live.received_at)),
    make("span", { class: "action" }, dotOf(action), action ?? "–"),
    make("span", { class: "user" }, user ?? ""),
    make("span", { class: "rest" }, ...rest(live, fields, stream)),
  );
  const details = make("details", {}, summary);
  // The full event is laid out only for a row that is opened.
  details.addEventListener("toggle", () => details.append(make("pre", {}, full(live))), { once: true });
  return make("li", { class: kind }, details);
}

/**
 * @param {unknown} value
 * @returns {string | null} as the server names an action: null for what is no scalar
 */
function shortText(value) {
  if (value === undefined || value === null || typeof value === "object") return null;
  return [...String(value)].slice(0, ACTION_CHARS_MAX).join("");
}

/**
 * @param {string | null} event
 * @returns {Record<string, unknown> | null} null when it is no object
 */
function fieldsOf(event) {
  try {
    const parsed = event === null ? null : format.parseExact(event);
    return parsed && typeof parsed === "object" && !Array.isArray(parsed) ? parsed : null;
  } catch {
    return null;
  }
}

/**
 * The fields that have no place of their own, in one line.
 * @param {LiveEvent} live
 * @param {Record<string, unknown> | null} fields
 * @param {StreamInfo} stream
 * @returns {(Node | string)[]}
 */
function rest(live, fields, stream) {
  if (live.event === null) return ["no value (tombstone)"];
  if (!fields) return [live.event.slice(0, LINE_CHARS_MAX)];
  const own = new Set([stream.action_field, stream.user_field, stream.event_time_field]);
  const others = Object.entries(fields).filter(([name, value]) => !own.has(name) && value !== null);
  // Ids and other marks for machines say least to whoever looks.
  others.sort(([a], [b]) => Number(a.startsWith("_")) - Number(b.startsWith("_")));
  const shown = others.slice(0, FIELDS_MAX);
  return shown.flatMap(([name, value]) => [
    make("span", { class: "quiet" }, name.slice(0, LINE_CHARS_MAX)),
    ` ${format.inline(value).slice(0, LINE_CHARS_MAX)}   `,
  ]);
}

/** @param {LiveEvent} live */
function full(live) {
  const marks = [
    `partition ${live.partition}, offset ${live.offset}, received ${live.received_at}, ${format.plural(live.bytes, "byte")}`,
    live.truncated ? "cut here because it is long" : "",
    live.lossy ? "bytes that are no UTF-8 are shown as �" : "",
  ];
  return `${format.pretty(live.event ?? "")}\n\n${marks.filter(Boolean).join("; ")}`;
}
