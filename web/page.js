// Puts the page together: which stream, how often, and whether all is well.

import * as api from "./api.js";
import { byId, make, setText } from "./dom.js";
import { showEvents } from "./events.js";
import { count } from "./format.js";
import { showChart, showNumbers } from "./numbers.js";
import { prepareSql, showSql } from "./sql.js";

const REFRESH_MILLIS = 1_000;

/** @type {{ stream: StreamInfo, end: () => void } | null} */
let following = null;
let eventsOpen = false;
/** @type {Stats | null} */
let latest = null;

async function start() {
  prepareSql();
  const list = await untilAnswered(api.streams);
  byId("sql").hidden = !list.sql;
  const choice = /** @type {HTMLSelectElement} */ (byId("stream"));
  choice.replaceChildren(...list.streams.map(({ name }) => make("option", { value: name }, name)));
  const wanted = new URLSearchParams(location.search).get("stream");
  const first = list.streams.find(({ name }) => name === wanted) ?? list.streams[0];
  if (!first) {
    notice("No stream is configured: add [streams.NAME] to laker.toml.");
    return;
  }
  choice.value = first.name;
  choice.addEventListener("change", () => {
    const stream = list.streams.find(({ name }) => name === choice.value);
    if (stream) show(stream);
  });
  prepareCopy();
  show(first);
  void refresh();
}

/**
 * Asks until there is an answer: the page may be open before the server is.
 * @template T
 * @param {() => Promise<T>} ask
 * @returns {Promise<T>}
 */
async function untilAnswered(ask) {
  for (;;) {
    try {
      return await ask();
    } catch {
      connection("bad", "Not connected, trying again");
      await new Promise((again) => setTimeout(again, REFRESH_MILLIS));
    }
  }
}

/** @param {StreamInfo} stream */
function show(stream) {
  following?.end();
  latest = null;
  document.title = `${stream.name} · Laker`;
  const address = new URL(location.href);
  address.searchParams.set("stream", stream.name);
  history.replaceState(null, "", address);
  const end = showEvents(stream, (open) => {
    eventsOpen = open;
    showConnection();
  });
  following = { stream, end };
  setText(byId("empty-command"), firstCommand(stream));
  showSql(stream);
}

/** Fetches and shows the numbers, again and again; less often while nobody looks. */
async function refresh() {
  for (;;) {
    const stream = following?.stream.name ?? "";
    try {
      const stats = await api.stats(stream);
      if (stream === following?.stream.name) {
        latest = stats;
        showConnection();
        if (!document.hidden) showStats(stats);
      }
    } catch {
      latest = null;
      showConnection();
    }
    const pause = document.hidden ? 5 * REFRESH_MILLIS : REFRESH_MILLIS;
    await new Promise((again) => setTimeout(again, pause));
  }
}

/** @param {Stats} stats */
function showStats(stats) {
  showNumbers(stats);
  const none = byId("events").childElementCount === 0;
  byId("empty").hidden = !none;
  byId("events").hidden = none;
  const before = stats.partitions.reduce((sum, { newest }) => sum + newest, 0);
  setText(byId("empty-title"), before > 0 ? "No events since this server started" : "No events yet");
  // Not waited for: the numbers go on while the chart library is still on its way.
  void showChart(stats);
}

function showConnection() {
  if (!latest || !eventsOpen) {
    connection(latest ? "starting" : "bad", latest ? "Connecting…" : "Not connected, trying again");
    return;
  }
  const { state, reason, skipped_total: skipped } = latest.log;
  if (state === "unavailable") connection("bad", "Log unavailable, trying again");
  else if (state === "starting") connection("starting", "Connecting to the log…");
  else connection("live", "Live");
  const behind = `This page could not keep up: ${count(skipped)} events are in no count here. The table is not affected.`;
  notice(reason ?? (skipped > 0 ? behind : ""));
}

/**
 * @param {string} state
 * @param {string} text
 */
function connection(state, text) {
  byId("connection").dataset.state = state;
  document.body.classList.toggle("stale", state === "bad");
  setText(byId("connection"), text);
}

/** @param {string} text nothing takes the notice away */
function notice(text) {
  byId("notice").hidden = text === "";
  setText(byId("notice"), text);
}

/** @param {StreamInfo} stream */
function firstCommand(stream) {
  const event = { [stream.action_field]: "search", [stream.user_field]: "ada", keyword: "jazz" };
  return `curl ${location.origin}/events/${stream.name} -d '${JSON.stringify(event)}'`;
}

function prepareCopy() {
  const button = byId("empty-copy");
  // Browsers have a clipboard only for pages of this machine and over TLS.
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId("empty-command").textContent ?? "");
    setText(button, "Copied");
  });
}

void start();
