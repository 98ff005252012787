// Charts, drawn by plotly.js. It is fetched when the first chart is needed, so the page is there before it.

import { make, setText } from "./dom.js";

const LIBRARY = "/assets/plotly.min.js";
const CONFIG = { displayModeBar: false, showTips: false };

/** @type {Promise<PlotlyLibrary> | undefined} */
let library;

/** @returns {Promise<PlotlyLibrary>} */
function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = make("script", { src: LIBRARY });
    script.addEventListener("load", () => (window.Plotly ? resolve(window.Plotly) : reject(new Error(LIBRARY))));
    script.addEventListener("error", () => reject(new Error(LIBRARY)));
    document.head.append(script);
  });
  return library;
}

/** @typedef {(library: PlotlyLibrary) => Promise<unknown>} Draw */

/** @type {Map<HTMLElement, Draw>} what is to be seen where */
const drawn = new Map();

// A chart takes the place it has, also when a legend beside it grows; the library looks at the window alone.
const places = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    const element = /** @type {HTMLElement} */ (target);
    if (element.classList.contains("js-plotly-plot")) void window.Plotly?.Plots.resize(element).catch(() => {});
  }
});

/**
 * Draws once the library is there, unless something newer is to be seen by then.
 * @param {HTMLElement} element
 * @param {Draw} draw
 * @returns {Promise<void>}
 */
async function show(element, draw) {
  drawn.set(element, draw);
  const ready = await plotly().catch(() => null);
  if (!ready) {
    // Asked for again with the next drawing.
    library = undefined;
    setText(element, "The chart library could not be loaded; trying again.");
    return;
  }
  if (drawn.get(element) !== draw) return;
  if (!element.classList.contains("js-plotly-plot")) element.replaceChildren();
  await draw(ready);
  places.observe(element);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const [element, draw] of drawn) void show(element, draw);
});

/**
 * A colour of the page's theme.
 * @param {string} name of the CSS variable, without the dashes
 */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** @param {number} series 1 to 8 */
const seriesColour = (series) => colour(`series-${series}`);

/**
 * Series over time, stacked.
 * @param {HTMLElement} element
 * @param {number} firstSecond seconds since 1970 at which the first step begins
 * @param {number} stepSeconds length of the steps; they begin at whole multiples of it, but for the first
 * @param {{ name: string, series: number, values: number[] }[]} stack lowest first
 * @returns {Promise<void>}
 */
export function drawStack(element, firstSecond, stepSeconds, stack) {
  const length = stack[0]?.values.length ?? 0;
  const aligned = firstSecond - (firstSecond % stepSeconds);
  const begins = Array.from({ length }, (_, step) => Math.max(firstSecond, aligned + step * stepSeconds));
  const end = aligned + length * stepSeconds;
  // The last step is drawn to its end, too.
  const times = [...begins, end].map((second) => localMillis(second * 1000));
  const peak = Math.max(0, ...stack.flatMap(({ values }) => values));
  return show(element, (library) => {
    const data = stack.map(({ name, series, values }) => ({
      type: "scatter",
      mode: "lines",
      stackgroup: "all",
      name: plain(name),
      x: times,
      y: [...values, values.at(-1)],
      line: { shape: "hv", width: 0 },
      fillcolor: seriesColour(series),
      hovertemplate: `%{y:,.1~f} ${plain(name)}<extra></extra>`,
    }));
    const range = [times[0], times.at(-1)];
    const minutes = end - firstSecond > 400 ? 2 : 1;
    const ticks = { tickformat: "%H:%M", hoverformat: "%H:%M:%S", tick0: 0, dtick: minutes * 60_000 };
    const x = { ...axis(), ...ticks, type: "date", range, showgrid: false };
    // Thousands as "2k", but no "500m" for a half.
    const y = { ...axis(), rangemode: "tozero", nticks: 5, tickformat: peak < 10 ? "~f" : ",~s" };
    return library.react(element, data, layout({ xaxis: x, yaxis: y, hovermode: "x unified" }), CONFIG);
  });
}

/**
 * Columns of a result.
 * @param {HTMLElement} element
 * @param {"bar" | "line"} kind
 * @param {{ name: string, values: (string | number | null)[], isTime: boolean }} across
 * @param {{ name: string, values: (number | null)[] }[]} up
 * @returns {Promise<void>}
 */
export function drawColumns(element, kind, across, up) {
  return show(element, (library) => {
    const data = up.map(({ name, values }, index) => ({
      type: kind === "bar" ? "bar" : "scatter",
      mode: "lines+markers",
      name: plain(name),
      x: across.values.map((value) => (typeof value === "string" ? plain(value) : value)),
      y: values,
      line: { width: 2 },
      marker: { color: seriesColour((index % 8) + 1), size: 5 },
      hovertemplate: `%{x}: %{y:,}<extra>${plain(name)}</extra>`,
    }));
    const times = across.isTime ? { type: "date", tickangle: 0, nticks: Math.max(2, element.clientWidth / 110) } : {};
    const x = { ...axis(), ...times, automargin: true, showgrid: false };
    const y = { ...axis(), rangemode: "tozero", automargin: true, separatethousands: true };
    const more = { xaxis: x, yaxis: y, showlegend: true, bargap: 0.3, hovermode: "closest" };
    return library.react(element, data, layout(more), CONFIG);
  });
}

/**
 * Takes a chart away.
 * @param {HTMLElement} element
 */
export function clear(element) {
  places.unobserve(element);
  if (drawn.delete(element)) window.Plotly?.purge(element);
}

const axis = () => ({
  gridcolor: colour("line"),
  linecolor: colour("line"),
  zerolinecolor: colour("line"),
  tickfont: { color: colour("quiet"), size: 12 },
  fixedrange: true,
});

/** @param {object} more */
const layout = (more) => ({
  margin: { l: 44, r: 8, t: 8, b: 28 },
  paper_bgcolor: "rgba(0,0,0,0)",
  plot_bgcolor: "rgba(0,0,0,0)",
  font: { family: getComputedStyle(document.body).fontFamily, color: colour("text"), size: 13 },
  colorway: [1, 2, 3, 4, 5, 6, 7, 8].map(seriesColour),
  hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("line"), font: { color: colour("text") } },
  legend: { orientation: "h", y: 1.12, x: 0 },
  showlegend: false,
  ...more,
});

/**
 * Text that plotly.js must not read as its own small markup.
 * @param {string} text
 */
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("%{", "% {");

/**
 * plotly.js draws times as UTC; this shifts them so that the local time of day is read.
 * @param {number} millis
 */
const localMillis = (millis) => millis - new Date(millis).getTimezoneOffset() * 60_000;
