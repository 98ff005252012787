// The SQL box: a statement, its rows as a table, and a chart of them.

import { runSql } from "./api.js";
import { clear, drawColumns } from "./chart.js";
import { byId, make, setText } from "./dom.js";
import * as format from "./format.js";

const ROWS_MAX = 1_000;
/** More bars cannot be told apart. */
const BARS_MAX = 400;
/** A result with more columns is not drawn unless somebody asks for it. */
const CHART_COLUMNS_MAX = 6;
const TIME = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/;

/** @type {{ answer: SqlAnswer, kind: "bar" | "line" | "none" } | null} */
let shown = null;

/**
 * Prepares the box for a stream.
 * @param {StreamInfo} stream
 */
export function showSql(stream) {
  const text = textarea();
  const samples = examples(stream);
  const chips = samples.map(([name, sql]) => {
    const chip = make("button", { type: "button" }, name);
    chip.addEventListener("click", () => {
      text.value = sql;
      void run();
    });
    return chip;
  });
  byId("examples").replaceChildren(...chips);
  text.value = samples[0][1];
}

/** Connects keys and buttons, once. */
export function prepareSql() {
  byId("run").addEventListener("click", () => void run());
  textarea().addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      void run();
    }
  });
  for (const button of kindButtons()) {
    button.addEventListener("click", () => {
      if (!shown) return;
      shown.kind = kindOf(button);
      void showResultChart();
    });
  }
}

const textarea = () => /** @type {HTMLTextAreaElement} */ (byId("sql-text"));
const kindButtons = () => byId("result-chart-kind").querySelectorAll("button");

/** @param {HTMLButtonElement} button */
const kindOf = (button) => /** @type {"bar" | "line" | "none"} */ (button.dataset.kind);

/**
 * @param {StreamInfo} stream
 * @returns {[string, string][]}
 */
function examples(stream) {
  const table = quoted(stream.name);
  const action = quoted(stream.action_field);
  return [
    ["By action", `SELECT ${action}, count(*) AS events\nFROM ${table}\nGROUP BY ${action}\nORDER BY events DESC`],
    [
      "Per minute",
      `SELECT date_trunc('minute', _time) AS minute, count(*) AS events\nFROM ${table}\n` +
        `WHERE _time > now() - INTERVAL '1 hour'\nGROUP BY minute\nORDER BY minute`,
    ],
    ["Newest", `SELECT *\nFROM ${table}\nORDER BY _received_at DESC\nLIMIT 100`],
    ["Columns", `DESCRIBE ${table}`],
    ["Dead letters", `SELECT reason, count(*) AS events\nFROM ${quoted(`${stream.name}__dead`)}\nGROUP BY reason`],
  ];
}

/** @param {string} name */
const quoted = (name) => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`);

async function run() {
  const button = /** @type {HTMLButtonElement} */ (byId("run"));
  if (button.disabled) return;
  button.disabled = true;
  setText(byId("sql-meta"), "running…");
  byId("sql-error").hidden = true;
  try {
    showAnswer(await runSql(textarea().value, ROWS_MAX));
  } catch (error) {
    showError(error);
  } finally {
    button.disabled = false;
  }
}

/** @param {unknown} error */
function showError(error) {
  const lost = error instanceof TypeError;
  const text = lost ? "The server did not answer. Is it still running?" : error instanceof Error ? error.message : String(error);
  byId("sql-error").hidden = false;
  setText(byId("sql-error"), text);
  setText(byId("sql-meta"), "");
  byId("sql-result").hidden = true;
  clear(byId("result-chart"));
  shown = null;
}

/** @param {SqlAnswer} answer */
function showAnswer(answer) {
  const rows = answer.more ? `first ${format.count(ROWS_MAX)} rows` : format.plural(answer.rows.length, "row");
  const parts = [rows, `${Math.max(1, Math.round(answer.millis))} ms`];
  if (answer.freshness) parts.push(answer.freshness);
  setText(byId("sql-meta"), parts.join(" · "));
  byId("sql-result").hidden = answer.rows.length === 0;
  const numbers = new Set(answer.columns.filter((column) => isNumeric(answer.rows, column)));
  const head = make("tr", {}, ...answer.columns.map((column) => th(column, numbers.has(column))));
  const body = answer.rows.map((row) => make("tr", {}, ...answer.columns.map((c) => td(row[c], numbers.has(c)))));
  byId("result-table").replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
  byId("result-scroll").scrollTo(0, 0);
  shown = { answer, kind: usualKind(answer) };
  void showResultChart();
}

/**
 * @param {string} column
 * @param {boolean} number
 */
const th = (column, number) => make("th", { scope: "col", class: number ? "number" : "" }, column);

/**
 * @param {Cell | undefined} value
 * @param {boolean} number
 */
function td(value, number) {
  if (value === null || value === undefined) return make("td", { class: number ? "number null" : "null" }, "null");
  const text = format.inline(value);
  return make("td", { class: number ? "number" : "", title: text.length > 40 ? text : "" }, text);
}

async function showResultChart() {
  const element = byId("result-chart");
  const plan = shown && chartPlan(shown.answer);
  byId("result-chart-kind").hidden = !plan;
  element.hidden = !plan || shown?.kind === "none";
  for (const button of kindButtons()) button.setAttribute("aria-pressed", String(kindOf(button) === shown?.kind));
  if (!plan || !shown || shown.kind === "none") {
    clear(element);
    return;
  }
  const names = plan.up.map(({ name }) => name).join(", ");
  element.setAttribute("aria-label", `Chart of ${names} by ${plan.across.name}; the table below has the same values`);
  await drawColumns(element, shown.kind, plan.across, plan.up);
}

/**
 * @param {SqlAnswer} answer
 * @returns {"bar" | "line" | "none"} whole events are for reading, times go on, all else is compared
 */
function usualKind(answer) {
  const across = acrossColumn(answer);
  if (answer.columns.length > CHART_COLUMNS_MAX) return "none";
  return across && isTime(answer.rows, across) ? "line" : "bar";
}

/**
 * What to draw: the first column of times or texts across, all columns of numbers up.
 * @param {SqlAnswer} answer
 */
function chartPlan(answer) {
  const across = acrossColumn(answer);
  const rows = answer.rows.slice(0, BARS_MAX);
  const numbers = answer.columns.filter((column) => column !== across && isNumeric(rows, column));
  if (!across || numbers.length === 0 || rows.length < 2) return null;
  const up = numbers.slice(0, 8).map((name) => ({ name, values: rows.map((row) => asNumber(row[name])) }));
  const values = rows.map((row) => (row[across] === undefined ? null : format.inline(row[across])));
  return { across: { name: across, values, isTime: isTime(rows, across) }, up };
}

/** @param {SqlAnswer} answer */
function acrossColumn({ columns, rows }) {
  return columns.find((column) => isTime(rows, column)) ?? columns.find((column) => isText(rows, column));
}

/** @param {Cell | undefined} value */
const asNumber = (value) => (value === null || value === undefined ? null : Number(value));

/** @param {unknown} value */
const isNumber = (value) => typeof value === "number" || (typeof value === "string" && /^-?\d{16,}$/.test(value));

/**
 * @param {Record<string, Cell>[]} rows
 * @param {string} column
 * @param {(value: unknown) => boolean} holds
 */
function all(rows, column, holds) {
  const values = rows.map((row) => row[column]).filter((value) => value !== null && value !== undefined);
  return values.length > 0 && values.every(holds);
}

/** @type {(rows: Record<string, Cell>[], column: string) => boolean} */
const isNumeric = (rows, column) => all(rows, column, isNumber);
/** @type {(rows: Record<string, Cell>[], column: string) => boolean} */
const isTime = (rows, column) => all(rows, column, (value) => typeof value === "string" && TIME.test(value));
/** @type {(rows: Record<string, Cell>[], column: string) => boolean} */
const isText = (rows, column) => all(rows, column, (value) => typeof value === "string");
