//! `laker check`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use event::{Clock, Positions, limits};
use eventlog::{EventLog, LogError, TopicDescription};
use loader::{Standing, StartPolicy};
use table::{Lake, Table, TableState};

use crate::cli::CheckArgs;
use crate::settings::{LogUrl, Settings, SpoolSettings, StreamSettings};
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
    let log = report.step("log", check_log(&settings, &clock).await).flatten();
    if let Some(spool) = &settings.spool {
        report.step("spool", check_spool(spool, &clock).await);
    }
    let lake = report.step("lake", check_lake(&settings, &clock).await);
    for stream in &settings.streams {
        let topic = match &log {
            Some(log) => report.step("topic", check_topic(log, &settings.log, stream).await).flatten(),
            None => None,
        };
        if let Some(lake) = &lake {
            let tables = parts::tables(lake, stream, &clock);
            let checked = check_table(&*tables.main, stream, log.as_deref(), topic.as_ref()).await;
            report.step("table", checked);
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

/// The log, where it can be looked into without getting in anybody's way.
async fn check_log(settings: &Settings, clock: &Clock) -> Result<(Option<Arc<dyn EventLog>>, String)> {
    let name = &settings.log;
    if let LogUrl::Folder(folder) = name
        && !folder.exists()
    {
        try_parent(folder)?;
        return Ok((None, format!("{name} does not exist yet and would be made")));
    }
    match parts::look_at_log(settings, clock) {
        Ok(log) => Ok((Some(log), format!("{name} can be used"))),
        Err(error) if is_in_use(&error) => {
            Ok((None, format!("{name} is open in another process: a laker is running on it")))
        }
        Err(error) => Err(error),
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LogError::InUse { .. }))
}

/// Tries whether `folder` could be made, and leaves nothing behind.
fn try_parent(folder: &Path) -> Result<()> {
    let parent = folder.ancestors().skip(1).find(|parent| parent.exists());
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let tried = tempfile::tempdir_in(parent);
    tried.map(drop).with_context(|| {
        format!(
            "the log's folder {} cannot be made; correct `log`, or the rights of {}",
            folder.display(),
            parent.display()
        )
    })
}

async fn check_spool(spool: &SpoolSettings, clock: &Clock) -> Result<((), String)> {
    let folder = spool.folder.display();
    let waiting = match eventlog::spool::look(&parts::spool_options(spool), clock).await {
        Ok(waiting) => waiting,
        Err(LogError::InUse { .. }) => {
            return Ok((
                (),
                format!("{folder} is in use by a running collector; its /readyz says what waits there"),
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let waiting: Vec<String> = waiting
        .iter()
        .filter(|(_, events)| **events > 0)
        .map(|(topic, events)| format!("up to {events} events of topic {topic}"))
        .collect();
    let text = match waiting.is_empty() {
        true => format!("{folder}: nothing waits there"),
        false => format!("{folder}: {} wait; a collector forwards them when it starts", waiting.join(", ")),
    };
    Ok(((), text))
}

async fn check_lake(settings: &Settings, clock: &Clock) -> Result<(Lake, String)> {
    let opened = clock.timeout(limits::CONNECT_DEADLINE * 2, parts::open_lake(settings, clock)).await;
    let lake = opened.unwrap_or_else(|| Err(anyhow!("{} does not answer", settings.lake)))?;
    let text = format!("{} can be written, and keeps conditional writes", settings.lake);
    Ok((lake, text))
}

async fn check_topic(
    log: &Arc<dyn EventLog>,
    url: &LogUrl,
    stream: &StreamSettings,
) -> Result<(Option<TopicDescription>, String)> {
    let described = match log.describe(&stream.topic).await {
        Err(LogError::TopicMissing { .. }) if matches!(url, LogUrl::Folder(_)) => {
            return Ok((None, format!("{}: does not exist yet and would be made", stream.topic)));
        }
        described => described?,
    };
    let offsets: u64 = described.partitions.values().map(|retained| retained.offset_count()).sum();
    let text =
        format!("{}: {} partitions, {offsets} offsets retained", stream.topic, described.partitions.len());
    Ok((Some(described), text))
}

async fn check_table(
    table: &dyn Table,
    stream: &StreamSettings,
    log: Option<&dyn EventLog>,
    topic: Option<&TopicDescription>,
) -> Result<((), String)> {
    let (Some(log), Some(topic)) = (log, topic) else {
        let text = match table.snapshot(None).await? {
            None => "does not exist yet; a loader would make it".to_owned(),
            Some(snapshot) => format!(
                "version {}, {} columns, {} files; how far it is behind is known only with the log",
                snapshot.version,
                snapshot.schema.fields().len(),
                snapshot.files.len()
            ),
        };
        return Ok(((), format!("{}: {text}", stream.table)));
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
        Some(state) => {
            // Looked at anew: positions must be older than what they are compared with.
            let standing = Standing::ask(&state, &topic.id, log, &stream.topic).await?;
            standing.checked(&stream.name, &stream.topic, table.name(), &topic.id)?;
            describe_state(stream, topic, &state)
        }
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
