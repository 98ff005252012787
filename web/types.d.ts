// Shapes the page exchanges with the server (docs/live.md) and the part of plotly.js it uses.

interface StreamInfo {
  name: string;
  topic: string;
  action_field: string;
  event_time_field: string;
  user_field: string;
}

interface StreamList {
  streams: StreamInfo[];
  sql: boolean;
}

interface Stats {
  stream: string;
  now: string;
  log: {
    state: "starting" | "following" | "unavailable";
    reason: string | null;
    events_total: number;
    skipped_total: number;
  };
  rate: { events_per_second: number; bytes_per_second: number };
  window: {
    seconds: number;
    first_second: number;
    events: number[];
    actions: { action: string | null; total: number; events: number[] }[];
    other: number[];
  };
  lag: number | null;
  partitions: { partition: number; newest: number; landed: number | null }[];
  table: null | {
    version: number;
    age_micros: number | null;
    dead_total: number;
    conflict_total: number;
    state: string;
  };
}

interface LiveEvent {
  partition: number;
  offset: number;
  received_at: string;
  event: string | null;
  bytes: number;
  truncated?: boolean;
  lossy?: boolean;
}

type Cell = null | boolean | number | string | object;

interface SqlAnswer {
  columns: string[];
  rows: Record<string, Cell>[];
  /** Whether the server had more rows than were read. */
  more: boolean;
  /** What it says of its tables, for people. */
  freshness: string;
  millis: number;
}

interface PlotlyLibrary {
  react(element: HTMLElement, data: object[], layout: object, config: object): Promise<unknown>;
  purge(element: HTMLElement): void;
  Plots: { resize(element: HTMLElement): Promise<unknown> };
}

interface Window {
  Plotly?: PlotlyLibrary;
}
