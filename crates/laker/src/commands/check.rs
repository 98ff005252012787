//! `laker check`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use event::{Clock, Positions, limits};
use eventlog::{EventLog, TopicDescription};
use loader::StartPolicy;
use table::{Lake, Table, TableState};

use crate::cli::CheckArgs;
use crate::settings::{Settings, StreamSettings};
use crate::{parts, telemetry};

/// Tries everything a role would need, changes nothing but the probe's own objects.
pub(super) async fn run(args: CheckArgs) -> Result<ExitCode> {
    let settings = super::load_settings(&args.settings)?;
    telemetry::start_logging("error");
    if args.print_config {
        print(&settings.describe());
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report { failed: 0 };
    report.line(
        "ok",
        "settings",
        &format!("{} stream(s); --print-config shows every value", settings.streams.len()),
    );
    let clock = Clock::system();
    let log = report.step("log", check_log(&settings, &clock).await);
    let lake = report.step("lake", check_lake(&settings, &clock).await);
    for stream in &settings.streams {
        let topic = match &log {
            Some(log) => report.step("topic", check_topic(log, stream).await),
            None => None,
        };
        if let Some(lake) = &lake {
            let tables = parts::tables(lake, stream, &clock);
            report.step("table", check_table(&*tables.main, stream, topic.as_ref()).await);
        }
    }
    Ok(report.end())
}

/// Tells each step and counts what failed.
struct Report {
    failed: usize,
}

impl Report {
    fn line(&mut self, verdict: &str, what: &str, text: &str) {
        print(&format!("{verdict:5} {what:9} {text}\n"));
    }

    fn step<T>(&mut self, what: &str, result: Result<(T, String)>) -> Option<T> {
        match result {
            Ok((value, text)) => {
                self.line("ok", what, &text);
                Some(value)
            }
            Err(error) => {
                self.failed += 1;
                self.line("FAIL", what, &format!("{error:#}"));
                None
            }
        }
    }

    fn end(self) -> ExitCode {
        match self.failed {
            0 => {
                print("\nEverything is ready.\n");
                ExitCode::SUCCESS
            }
            failed => {
                print(&format!("\n{failed} of the steps above failed.\n"));
                ExitCode::FAILURE
            }
        }
    }
}

async fn check_log(settings: &Settings, clock: &Clock) -> Result<(Arc<dyn EventLog>, String)> {
    let opened = clock.timeout(limits::CONNECT_DEADLINE * 2, parts::open_log(settings, clock)).await;
    let log = opened.unwrap_or_else(|| Err(anyhow!("{} does not answer", settings.log)))?;
    Ok((log, format!("{} can be used", settings.log)))
}

async fn check_lake(settings: &Settings, clock: &Clock) -> Result<(Lake, String)> {
    let opened = clock.timeout(limits::CONNECT_DEADLINE * 2, parts::open_lake(settings, clock)).await;
    let lake = opened.unwrap_or_else(|| Err(anyhow!("{} does not answer", settings.lake)))?;
    let text = format!("{} can be written, and keeps conditional writes", settings.lake);
    Ok((lake, text))
}

async fn check_topic(log: &Arc<dyn EventLog>, stream: &StreamSettings) -> Result<(TopicDescription, String)> {
    let described = log.describe(&stream.topic).await?;
    let offsets: u64 = described.partitions.values().map(|retained| retained.offset_count()).sum();
    let text =
        format!("{}: {} partitions, {offsets} offsets retained", stream.topic, described.partitions.len());
    Ok((described, text))
}

async fn check_table(
    table: &dyn Table,
    stream: &StreamSettings,
    topic: Option<&TopicDescription>,
) -> Result<((), String)> {
    let Some(topic) = topic else {
        return Ok(((), format!("{}: not looked at, since its topic is not known", stream.table)));
    };
    let text = match table.load(&topic.id).await? {
        None => format!(
            "{} does not exist yet; a loader would make it and begin with {}",
            stream.table,
            begin(stream)
        ),
        Some(state) if state.positions.is_empty() && !state.other_logs.is_empty() => {
            return Err(anyhow!(
                "{} was filled from another log ({}); load into another table, or give that log back",
                stream.table,
                state.other_logs[0]
            ));
        }
        Some(state) => describe_state(stream, topic, &state),
    };
    Ok(((), text))
}

fn begin(stream: &StreamSettings) -> &'static str {
    match stream.start {
        StartPolicy::Earliest => "the first record the topic has",
        StartPolicy::Latest => "the next record",
    }
}

fn describe_state(stream: &StreamSettings, topic: &TopicDescription, state: &TableState) -> String {
    format!(
        "{}: version {}, {} columns, {} offsets behind the topic; a loader would go on at {}",
        stream.table,
        state.version,
        state.schema.fields().len(),
        lag(topic, &state.positions),
        describe_positions(&state.positions),
    )
}

fn lag(topic: &TopicDescription, landed: &Positions) -> u64 {
    let behind = topic.partitions.iter().map(|(partition, retained)| {
        let next = landed.get(*partition).unwrap_or(retained.start());
        retained.end().0.saturating_sub(next.0)
    });
    behind.sum()
}

fn describe_positions(positions: &Positions) -> String {
    let parts: Vec<String> =
        positions.iter().map(|(partition, next)| format!("{partition}:{next}")).collect();
    if parts.is_empty() { "the start policy's offsets".to_owned() } else { parts.join(" ") }
}

#[expect(clippy::print_stdout, reason = "the command's own words, not a log line")]
fn print(text: &str) {
    print!("{text}");
}
