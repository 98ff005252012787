//! `laker bench`.
//!
//! Fills the log with ticket events, then drains it into a fresh table and measures that: from the
//! loader's start to the last commit. One process does both, one after the other, so CPU and
//! memory of the drain are its own. Generating is not part of the figures but `append` is shown.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use event::{Clock, Positions};
use eventlog::EventLog;
use futures::{StreamExt, TryStreamExt, stream};
use loader::Control;
use serde::Serialize;
use table::Lake;

use crate::cli::BenchArgs;
use crate::settings::{Settings, StreamSettings};
use crate::{parts, telemetry};

/// Ticket events of about 500 bytes.
mod generate;
/// What the process has used so far.
mod usage;

use usage::Usage;

/// Events in one append, as a collector would take them from one request.
const APPEND_EVENTS: u64 = 500;
/// Appends under way at once.
const APPENDS_MAX: usize = 64;

/// What was measured. Times in seconds, sizes in bytes, rates by the second.
#[derive(Debug, Serialize)]
struct Figures {
    log: String,
    lake: String,
    events: u64,
    json_bytes: u64,
    append_seconds: f64,
    append_events_per_second: f64,
    drain_seconds: f64,
    drain_events_per_second: f64,
    drain_json_megabytes_per_second: f64,
    drain_cpu_seconds: Option<f64>,
    drain_cpu_seconds_per_gigabyte: Option<f64>,
    drain_cpu_seconds_per_million_events: Option<f64>,
    peak_memory_bytes: Option<u64>,
}

/// Measures and prints.
pub(super) async fn run(args: BenchArgs) -> Result<ExitCode> {
    if args.events == 0 {
        bail!(crate::settings::SettingsError("--events must be at least 1".to_owned()));
    }
    let scratch = tempdir().context("no scratch folder for the bench")?;
    let settings = super::load_settings(&with_scratch(args.settings, scratch.path()))?;
    telemetry::start_logging("warn");
    let clock = Clock::system();
    let figures = measure(&settings, args.events, &clock).await?;
    print(&if args.json { serde_json::to_string_pretty(&figures)? + "\n" } else { table(&figures) });
    Ok(ExitCode::SUCCESS)
}

fn tempdir() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("laker-bench-").tempdir()
}

/// Log and lake that were not named go to a folder that is removed afterwards.
fn with_scratch(mut args: crate::cli::SettingsArgs, scratch: &std::path::Path) -> crate::cli::SettingsArgs {
    let folder = |name: &str| Some(format!("file:{}", scratch.join(name).display()));
    args.log = args.log.or_else(|| folder("log"));
    args.lake = args.lake.or_else(|| folder("lake"));
    args
}

async fn measure(settings: &Settings, events: u64, clock: &Clock) -> Result<Figures> {
    let stream = &settings.streams[0];
    let log = parts::open_log(settings, clock).await?;
    let lake = parts::open_lake(settings, clock).await?;
    let mut fresh = stream.clone();
    fresh.table = format!("{}-bench-{}", stream.table, clock.new_id());
    let before = end_of(&log, &stream.topic).await?;

    let begun = clock.monotonic();
    let json_bytes = fill(&log, &stream.topic, events, clock).await?;
    let append_seconds = (clock.monotonic() - begun).as_secs_f64();

    // A group of its own, so that no running loader shares the topic with it. The table begins where
    // the log ended before, so that only this run's events are drained.
    let tables = parts::tables(&lake, &fresh, clock);
    let drained = drain(&fresh, &log, &tables, &before, clock).await;
    // Whatever came of it, a lake of the user's keeps nothing of the bench.
    for table in [&tables.main, &tables.dead] {
        remove_table(&lake, table.name()).await?;
    }
    let drained = drained?;
    if drained.rows != events {
        let landed = drained.rows;
        bail!("{events} events were appended but {landed} landed; is something else writing to the topic?");
    }
    Ok(figures(settings, events, json_bytes, append_seconds, drained.seconds, drained.cpu_seconds))
}

/// What draining the log took.
struct Drained {
    rows: u64,
    seconds: f64,
    cpu_seconds: Option<f64>,
}

async fn drain(
    stream: &StreamSettings,
    log: &Arc<dyn EventLog>,
    tables: &parts::StreamTables,
    from: &Positions,
    clock: &Clock,
) -> Result<Drained> {
    begin(tables, log, stream, from).await?;
    let loader = parts::loader(stream, &stream.table, log, tables, clock);
    let control = Control::new();
    control.finish_at(end_of(log, &stream.topic).await?);
    let used = Usage::now();
    let begun = clock.monotonic();
    let summary = loader.run(&control).await?;
    Ok(Drained {
        rows: summary.progress.rows_total,
        seconds: (clock.monotonic() - begun).as_secs_f64(),
        cpu_seconds: Usage::now().cpu_seconds_since(&used),
    })
}

/// Removes a table that the bench made under a name nobody else has.
async fn remove_table(lake: &Lake, name: &str) -> Result<()> {
    let store = lake.store();
    let objects = store.list(Some(&lake.table_path(name))).map_ok(|object| object.location).boxed();
    let removed = store.delete_stream(objects).try_for_each(|_| async { Ok(()) }).await;
    removed.with_context(|| format!("the bench's table {} could not be removed", lake.table_url(name)))
}

fn figures(
    settings: &Settings,
    events: u64,
    json_bytes: u64,
    append: f64,
    drain: f64,
    cpu: Option<f64>,
) -> Figures {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (count, bytes) = (events as f64, json_bytes as f64);
    Figures {
        log: settings.log.to_string(),
        lake: settings.lake.clone(),
        events,
        json_bytes,
        append_seconds: append,
        append_events_per_second: count / append,
        drain_seconds: drain,
        drain_events_per_second: count / drain,
        drain_json_megabytes_per_second: bytes / drain / 1e6,
        drain_cpu_seconds: cpu,
        drain_cpu_seconds_per_gigabyte: cpu.map(|cpu| cpu / (bytes / 1e9)),
        drain_cpu_seconds_per_million_events: cpu.map(|cpu| cpu / (count / 1e6)),
        peak_memory_bytes: usage::peak_memory_bytes(),
    }
}

async fn end_of(log: &Arc<dyn EventLog>, topic: &str) -> Result<Positions> {
    let described = log.describe(topic).await?;
    Ok(described.partitions.iter().map(|(partition, retained)| (*partition, retained.end())).collect())
}

async fn begin(
    tables: &parts::StreamTables,
    log: &Arc<dyn EventLog>,
    stream: &StreamSettings,
    starts: &Positions,
) -> Result<()> {
    let log_id = log.describe(&stream.topic).await?.id;
    tables.dead.create(&decode::columns::dead_letter_schema(), &log_id).await?;
    tables.dead.begin(&log_id, starts).await?;
    tables.main.create(&decode::columns::initial_schema(&stream.decode), &log_id).await?;
    tables.main.begin(&log_id, starts).await?;
    Ok(())
}

/// Appends `events` generated events and returns their bytes.
async fn fill(log: &Arc<dyn EventLog>, topic: &str, events: u64, clock: &Clock) -> Result<u64> {
    let now = clock.now();
    let appends = (0..events.div_ceil(APPEND_EVENTS)).map(|append| {
        let first = append * APPEND_EVENTS;
        let payloads: Vec<Bytes> =
            (first..events.min(first + APPEND_EVENTS)).map(|number| generate::event(number, now)).collect();
        async move {
            let bytes: u64 = payloads.iter().map(|payload| payload.len() as u64).sum();
            log.append(topic, payloads).await.map(|_| bytes)
        }
    });
    let sizes: Vec<u64> = stream::iter(appends).buffer_unordered(APPENDS_MAX).try_collect().await?;
    Ok(sizes.iter().sum())
}

fn table(figures: &Figures) -> String {
    let known =
        |value: Option<f64>| value.map_or_else(|| "not known here".to_owned(), |value| format!("{value:.2}"));
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let memory = figures.peak_memory_bytes.map(|bytes| bytes as f64 / 1e6);
    format!(
        "log                        {}\nlake                       {}\n\
         events                     {} ({:.0} MB of JSON)\n\
         append  events/s           {:.0}\n\
         drain   seconds            {:.2}\n\
         drain   events/s           {:.0}\n\
         drain   MB/s of JSON       {:.1}\n\
         drain   CPU-s per GB       {}\n\
         drain   CPU-s per million  {}\n\
         peak memory, MB            {}\n",
        figures.log,
        figures.lake,
        figures.events,
        figures.json_bytes as f64 / 1e6,
        figures.append_events_per_second,
        figures.drain_seconds,
        figures.drain_events_per_second,
        figures.drain_json_megabytes_per_second,
        known(figures.drain_cpu_seconds_per_gigabyte),
        known(figures.drain_cpu_seconds_per_million_events),
        known(memory),
    )
}

#[expect(clippy::print_stdout, reason = "the command's own words, not a log line")]
fn print(text: &str) {
    print!("{text}");
}
