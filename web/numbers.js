// The tiles, and the chart of the last ten minutes.

import { drawStack } from "./chart.js";
import { byId, make, setText } from "./dom.js";
import * as format from "./format.js";

/**
 * Which of the colours 1 to 7 each action has; kept while the page is open, so that colours stay.
 * @type {Map<string | null, number>}
 */
const colours = new Map();
const COLOURS = 7;
/** Seconds that one step of the chart is the mean of. */
const STEP_SECONDS = 5;
/** How far back the chart may go. */
const SPANS_SECONDS = [120, 300, 600];
/** The colour of everything that has none of its own. */
const OTHER = 8;

/** @param {string | null} action */
const seriesOf = (action) => colours.get(action) ?? OTHER;

/**
 * A mark in the colour of an action.
 * @param {string | null} action
 * @returns {HTMLElement}
 */
export function dotOf(action) {
  const dot = make("span", { class: "dot", "data-series": String(seriesOf(action)) });
  actions.set(dot, action);
  return dot;
}

/** @type {WeakMap<Element, string | null>} which action each mark stands for */
const actions = new WeakMap();

/** Gives marks the colours that actions got since they were made. */
function recolour() {
  for (const dot of document.querySelectorAll(".events .dot")) {
    dot.setAttribute("data-series", String(seriesOf(actions.get(dot) ?? null)));
  }
}

/**
 * Shows the numbers of one moment.
 * @param {Stats} stats
 */
export function showNumbers(stats) {
  tile("rate", format.rate(stats.rate.events_per_second), [
    `${format.bytes(stats.rate.bytes_per_second)}/s · ${format.count(sum(stats.window.events))} in 10 min`,
  ]);
  showTable(stats);
}

/** @param {Stats} stats */
function showTable({ lag, partitions, table }) {
  if (!table) {
    const unknown = ["unknown: no loader in this process"];
    tile("lag", "–", unknown);
    tile("age", "–", unknown);
    tile("dead", "–", unknown);
    return;
  }
  const state = table.state && table.state !== "running" ? [table.state] : [];
  const where = format.plural(partitions.length, "partition");
  tile("lag", lag === null ? "–" : format.about(lag), [lag === 0 ? "everything has landed" : `events in ${where}`]);
  const age = table.age_micros === null ? "none yet" : `${format.duration(table.age_micros)} ago`;
  tile("age", age, [...state, `table version ${table.version}`]);
  tile("dead", format.about(table.dead_total), [`${format.plural(table.conflict_total, "value")} in _residual`]);
  byId("dead").classList.toggle("alarm", table.dead_total > 0);
}

/**
 * @param {string} id
 * @param {string} value
 * @param {string[]} more
 */
function tile(id, value, more) {
  setText(byId(id), value);
  const line = byId(`${id}-more`);
  setText(line, more.join(" · "));
  line.title = more.join(" · ");
}

/**
 * Draws the last minutes: as many of the ten as there is something to see in.
 * @param {Stats} stats
 * @returns {Promise<void>}
 */
export function showChart({ window, rate }) {
  for (const { action } of window.actions) giveColour(action, window.actions);
  recolour();
  const stack = window.actions.map(({ action, events, total }) => ({
    name: action ?? "no action",
    series: seriesOf(action),
    values: events,
    total,
  }));
  const others = sum(window.other);
  if (others > 0 || stack.length === 0) {
    stack.push({ name: "other", series: OTHER, values: window.other, total: others });
  }
  // By colour, so that actions with about the same count don't change places all the time.
  stack.sort((a, b) => a.series - b.series);
  showLegend(stack.filter(({ total }) => total > 0));
  const seconds = span(window.events);
  const chart = byId("chart");
  chart.setAttribute(
    "aria-label",
    `Events per second in the last ${seconds / 60} minutes: now ${format.rate(rate.events_per_second)}, ` +
      `at most ${format.count(Math.max(...window.events))}`,
  );
  setText(byId("chart-span"), `last ${seconds / 60} minutes, mean of ${STEP_SECONDS} s`);
  const first = window.first_second + window.events.length - seconds;
  return drawStack(chart, first, STEP_SECONDS, stack.map((one) => ({ ...one, values: steps(one.values, first, seconds) })));
}

/** @param {number[]} series */
const sum = (series) => series.reduce((total, n) => total + n, 0);

/**
 * @param {number[]} events per second
 * @returns {number} the shortest of the usual spans that has all of them, in seconds
 */
function span(events) {
  const first = events.findIndex((n) => n > 0);
  const needed = first < 0 ? 0 : events.length - first;
  return SPANS_SECONDS.find((seconds) => seconds >= needed) ?? events.length;
}

/**
 * Means over steps that begin at whole multiples of their length, so that they stay as they are
 * while the window moves on. The first and the last may be shorter.
 * @param {number[]} values per second, the last one being the newest
 * @param {number} first second since 1970 that is drawn first
 * @param {number} seconds to draw
 * @returns {number[]}
 */
function steps(values, first, seconds) {
  const drawn = values.slice(-seconds);
  const means = [];
  for (let at = 0; at < drawn.length; ) {
    const end = at + STEP_SECONDS - ((first + at) % STEP_SECONDS);
    const step = drawn.slice(at, end);
    means.push(sum(step) / step.length);
    at = end;
  }
  return means;
}

/**
 * Gives an action a colour of its own, taking one from an action that is no longer shown.
 * @param {string | null} action
 * @param {{ action: string | null }[]} shown
 */
function giveColour(action, shown) {
  if (colours.has(action)) return;
  if (colours.size < COLOURS) {
    colours.set(action, colours.size + 1);
    return;
  }
  for (const [stale, colour] of colours) {
    if (shown.some((one) => one.action === stale)) continue;
    colours.delete(stale);
    colours.set(action, colour);
    return;
  }
}

/** @param {{ name: string, series: number, total: number }[]} stack */
function showLegend(stack) {
  const items = stack.map(({ name, series, total }) =>
    make(
      "li",
      {},
      make("span", { class: "dot", "data-series": String(series) }),
      make("span", { class: "name" }, name),
      make("span", { class: "quiet" }, format.about(total)),
    ),
  );
  byId("legend").replaceChildren(...items);
}
