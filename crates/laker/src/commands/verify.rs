//! `laker verify`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::{Result, bail};
use event::Clock;
use eventlog::EventLog;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use table::Lake;
use verify::{PartitionReport, Problem, Report, Stage, Subject, VerifyError, Watch};

use crate::cli::{ReportFormat, VerifyArgs};
use crate::settings::{LogUrl, Settings, SettingsError, StreamSettings};
use crate::{parts, telemetry};

/// Verifies one stream or all of them.
pub(super) async fn run(args: VerifyArgs) -> Result<ExitCode> {
    let settings = super::load_settings(&args.settings)?;
    telemetry::start_logging("error");
    let streams = chosen(&settings, args.stream.as_deref())?;
    let clock = Clock::system();
    let lake = Lake::open(&settings.lake, &settings.environment)?;
    let log = log_beside(&settings, &clock);
    let mut verified = Vec::new();
    for stream in streams {
        let tables = parts::histories(&lake, stream, &clock);
        let subject = Subject {
            stream: stream.name.clone(),
            lake: lake.clone(),
            main: tables.main,
            dead: tables.dead,
            log: log.clone().map(|log| (log, stream.topic.clone())),
            own_id: stream.decode.event_id.as_deref() == Some(decode::columns::ID),
        };
        match subject.verify(&Bar::new(stream, args.quiet)).await {
            Ok(report) => verified.push(Verified { stream: stream.name.to_string(), report }),
            Err(VerifyError::NoTable { .. }) if args.stream.is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if verified.is_empty() {
        bail!("no stream has a table yet on {}; there is nothing to verify", settings.lake);
    }
    let all = All { proven: verified.iter().all(|one| one.report.proven), streams: verified };
    match args.format {
        ReportFormat::Json => print(&format!("{}\n", serde_json::to_string_pretty(&all)?)),
        ReportFormat::Text => all.streams.iter().for_each(|one| print(&text(one, &lake))),
    }
    Ok(if all.proven { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The log, if it can be read beside whatever runs: Kafka, or a folder that no process has open.
fn log_beside(settings: &Settings, clock: &Clock) -> Result<Arc<dyn EventLog>, String> {
    match &settings.log {
        LogUrl::Folder(folder) if !folder.exists() => Err(format!("there is no log at {}", folder.display())),
        _ => parts::look_at_log(settings, clock).map_err(|error| format!("{error:#}")),
    }
}

/// The stream that was named, or all.
fn chosen<'a>(settings: &'a Settings, named: Option<&str>) -> Result<Vec<&'a StreamSettings>, SettingsError> {
    match named {
        None => Ok(settings.streams.iter().collect()),
        Some(name) => settings.named_stream(name).map(|stream| vec![stream]),
    }
}

/// What was found of one stream.
#[derive(Debug, Serialize)]
struct Verified {
    stream: String,
    #[serde(flatten)]
    report: Report,
}

/// What was found of all.
#[derive(Debug, Serialize)]
struct All {
    proven: bool,
    streams: Vec<Verified>,
}

/// Progress in a terminal; nothing elsewhere.
struct Bar(Mutex<(Option<Stage>, ProgressBar)>);

impl Bar {
    fn new(stream: &StreamSettings, quiet: bool) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
        bar.set_prefix(stream.name.to_string());
        Self(Mutex::new((None, bar)))
    }
}

impl Watch for Bar {
    fn at(&self, stage: Stage, done: u64, total: u64) {
        let Ok(mut shown) = self.0.lock() else { return };
        let (last, bar) = &mut *shown;
        if last.replace(stage) != Some(stage) {
            let template = match stage {
                Stage::History => "{prefix}: commits  {bar:30} {human_pos} of {human_len}",
                Stage::Files => {
                    "{prefix}: files    {bar:30} {bytes} of {total_bytes}  {binary_bytes_per_sec}  {eta} left"
                }
                Stage::Log => {
                    "{prefix}: log      {bar:30} {human_pos} of {human_len} offsets  {per_sec}  {eta} left"
                }
            };
            bar.reset();
            bar.set_style(
                ProgressStyle::with_template(template).expect("the templates above are well-formed"),
            );
        }
        bar.set_length(total);
        bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Ok(shown) = self.0.lock() {
            shown.1.finish_and_clear();
        }
    }
}

fn text(verified: &Verified, lake: &Lake) -> String {
    let Verified { stream, report } = verified;
    let mut text = format!("{stream}: version {} of {}\n\n", report.version, lake.table_url(&report.table));
    text.push_str(&partitions(report));
    let line = |text: &mut String, name: &str, value: &str| {
        let _ = writeln!(text, "  {name:9} {value}");
    };
    line(&mut text, "files", &files(report));
    line(&mut text, "log", &log(report));
    if report.skipped > 0 {
        line(&mut text, "skipped", &format!("{} records without a value", grouped(report.skipped)));
    }
    if report.replayed > 0 {
        line(&mut text, "replayed", &format!("{} dead letters are rows as well", grouped(report.replayed)));
    }
    for note in &report.notes {
        line(&mut text, "note", note);
    }
    text.push('\n');
    for problem in &report.problems {
        text.push_str(&wrong(problem));
    }
    text.push_str(&verdict(report));
    text
}

/// A table of the partitions, its columns as wide as what is in them.
fn partitions(report: &Report) -> String {
    let head = ["partition", "first", "next", "commits", "rows", "dead"].map(str::to_owned);
    let row = |one: &PartitionReport| {
        [u64::from(one.partition), one.first, one.next, one.commits, one.rows, one.dead].map(grouped)
    };
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(report.partitions.iter().map(row)).collect();
    let widths: Vec<usize> =
        (0..6).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths.iter().copied()) {
            let _ = write!(text, "  {cell:>width$}");
        }
        let told = index.checked_sub(1).map(|index| compared(&report.partitions[index]));
        let _ = writeln!(text, "  {}", told.unwrap_or_else(|| "compared with the log".to_owned()));
    }
    text.push('\n');
    text
}

fn compared(one: &PartitionReport) -> String {
    let gaps: Vec<String> = one.gaps.iter().map(|[from, to]| format!("[{from}, {to})")).collect();
    let gaps = if gaps.is_empty() { String::new() } else { format!("; accepted gaps {}", gaps.join(" ")) };
    let compared = match one.compared {
        None => "no".to_owned(),
        Some([from, to]) if [from, to] == [one.first, one.next] => "all".to_owned(),
        Some([from, to]) => format!("[{from}, {to}), what the log still has"),
    };
    format!("{compared}{gaps}")
}

fn files(report: &Report) -> String {
    let files = report.files;
    let without = files.count - files.with_checksum;
    let checksums = match without {
        0 => "all held to their checksums".to_owned(),
        without => format!(
            "{} held to their checksums, {} have none",
            grouped(files.with_checksum),
            grouped(without)
        ),
    };
    format!("{}, {} bytes, {checksums}", grouped(files.count), grouped(files.bytes))
}

fn log(report: &Report) -> String {
    match &report.log.not_compared {
        Some(reason) => format!("not compared: {reason}"),
        None => format!(
            "{} records compared, {} of them without a value",
            grouped(report.log.records),
            grouped(report.log.tombstones)
        ),
    }
}

fn wrong(problem: &Problem) -> String {
    const SHOWN_MAX: usize = 8;
    let mut text = format!("  WRONG {}  table {}", problem.kind.code(), problem.table);
    if let Some(partition) = problem.partition {
        let ranges: Vec<String> =
            problem.offsets.iter().take(SHOWN_MAX).map(|[from, to]| format!("[{from}, {to})")).collect();
        let more = problem.offsets.len().saturating_sub(SHOWN_MAX);
        let more =
            if more > 0 { format!(" and {more} more (--format json has them)") } else { String::new() };
        let _ = write!(text, "  partition {partition}  offsets {}{more}", ranges.join(" "));
    }
    if let Some(version) = problem.version {
        let _ = write!(text, "  version {version}");
    }
    let _ = writeln!(text, "\n        {}", problem.message);
    for file in problem.files.iter().filter(|file| !problem.message.contains(file.as_str())).take(SHOWN_MAX) {
        let _ = writeln!(text, "        {file}");
    }
    text
}

fn verdict(report: &Report) -> String {
    if report.proven {
        return "  proven: every offset from first to next landed exactly once\n".to_owned();
    }
    let counts: Vec<String> =
        report.problem_counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    format!("\n  NOT PROVEN: {}\n", counts.join(", "))
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::print_stdout, reason = "the command's own words, not a log line")]
fn print(text: &str) {
    print!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped_for_eyes() {
        let numbers = [0, 999, 1_000, 12_345_678].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "12,345,678"]);
    }
}
