//! `laker dead`.
//!
//! Works on the lake alone, beside whatever runs: dead letters that have not landed yet come up when
//! they have.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use decode::{ColumnType, DecodeOptions, Repair, check_event};
use event::{Clock, LogId, limits};
use futures::TryStreamExt;
use loader::{DeadLetter, Replayed, Replayer};
use query::{Format, QueryEngine};
use table::Lake;
use tokio::io::AsyncWriteExt;

use crate::cli::{
    DeadArgs, DeadCommand, DeadListArgs, DeadReplayArgs, DeadShowArgs, OutputFormat, PlaceArgs, SettingsArgs,
};
use crate::settings::{Settings, SettingsError, StreamSettings};
use crate::{parts, telemetry};

/// Dead letters as SQL sees them, and out of batches.
mod letters;
/// One of them, so that a person sees what is wrong.
mod show;

/// Letters that are told one by one because they are still no events.
const STILL_DEAD_TOLD_MAX: usize = 10;

pub(super) async fn run(args: DeadArgs) -> Result<ExitCode> {
    match args.command {
        DeadCommand::List(args) => list(args).await,
        DeadCommand::Show(args) => show_one(args).await,
        DeadCommand::Replay(args) => replay(args).await,
    }
}

/// One stream on its lake, and SQL over both of its tables.
struct Place {
    lake: Lake,
    stream: StreamSettings,
    engine: QueryEngine,
    clock: Clock,
}

impl Place {
    fn open(args: PlaceArgs, stream: &str) -> Result<Self> {
        let settings: Settings = super::load_settings(&SettingsArgs::from(args))?;
        telemetry::start_logging("warn");
        let clock = Clock::system();
        let lake = Lake::open(&settings.lake, &settings.environment)?;
        let stream = settings.named_stream(stream)?.clone();
        let engine = parts::query_engine(&settings, &lake, None, &clock)?;
        Ok(Self { lake, stream, engine, clock })
    }

    /// The relation that all commands ask: dead letters and their state.
    async fn letters(&self) -> Result<String> {
        let main = parts::tables(&self.lake, &self.stream, &self.clock).main;
        let snapshot = main.snapshot(None).await?;
        let has_replays = snapshot
            .is_some_and(|table| table.schema.column_with_name(decode::columns::REPLAYED_AT).is_some());
        Ok(letters::relation(&self.stream.table, has_replays))
    }
}

async fn list(args: DeadListArgs) -> Result<ExitCode> {
    let place = Place::open(args.place, &args.stream)?;
    let letters = place.letters().await?;
    let condition = letters::condition(args.condition.as_deref());
    let format = match args.format {
        OutputFormat::Table => Format::Table,
        OutputFormat::Csv => Format::Csv,
        OutputFormat::Json => Format::Json,
        OutputFormat::Ndjson => Format::Ndjson,
    };
    if format == Format::Table {
        let counts = letters::counts(&letters, &condition);
        print(format.write(place.engine.run(&counts).await?).map_err(anyhow::Error::from)).await?;
    }
    let listed = letters::list(&letters, &condition, args.limit, format == Format::Table);
    print(format.write(place.engine.run(&listed).await?).map_err(anyhow::Error::from)).await?;
    Ok(ExitCode::SUCCESS)
}

async fn show_one(args: DeadShowArgs) -> Result<ExitCode> {
    let place = Place::open(args.place, &args.stream)?;
    let (partition, offset) = args.place_in_log;
    let one = letters::one(&place.letters().await?, partition, offset);
    let rows = place.engine.run(&one).await?.rows.try_collect::<Vec<_>>().await?;
    let Some(letter) = rows.iter().find_map(show::Letter::read) else {
        bail!(
            "{} has no dead letter at {partition}:{offset}; `laker dead list` shows those there are",
            place.stream.table
        );
    };
    let text = match args.raw {
        true => letter.raw.clone(),
        false => letter.text(&args.stream, place.stream.decode.limits()).into_bytes(),
    };
    print(futures::stream::iter([anyhow::Ok(text)])).await?;
    Ok(ExitCode::SUCCESS)
}

async fn replay(args: DeadReplayArgs) -> Result<ExitCode> {
    let place = Place::open(args.place, &args.stream)?;
    let decode = Arc::new(with_types(&place.stream.decode, &args.set)?);
    let pending = letters::pending(&place.letters().await?, &letters::condition(args.condition.as_deref()));
    let mut rows = place.engine.run(&pending).await?.rows;
    let mut outcome = Outcome::default();
    let mut replayer = None;
    let mut batch = Batch::default();
    while let Some(read) = rows.try_next().await? {
        for letter in letters::read(&read)? {
            if args.dry_run {
                outcome.would(&letter, &decode, &args.repair);
                continue;
            }
            if replayer.is_none() {
                replayer = Some(new_replayer(&place, &decode, &args.repair).await?);
            }
            if batch.is_full_with(&letter) {
                outcome.land(replayer.as_ref(), &mut batch).await?;
            }
            batch.push(letter);
        }
    }
    outcome.land(replayer.as_ref(), &mut batch).await?;
    say(&outcome.text(args.dry_run));
    Ok(ExitCode::SUCCESS)
}

/// The stream's decoding, with types for columns that the table does not have yet.
fn with_types(options: &DecodeOptions, set: &[(String, String)]) -> Result<DecodeOptions> {
    let mut options = options.clone();
    for (column, of) in set {
        let parsed = of.parse::<ColumnType>();
        let of = parsed.map_err(|error| SettingsError(format!("--set {column}={of} cannot be: {error}")))?;
        options.columns.retain(|(name, _)| name != column);
        options.columns.push((column.clone(), of));
    }
    options.check().map_err(|error| SettingsError(format!("--set cannot be: {error}")))?;
    Ok(options)
}

async fn new_replayer(place: &Place, decode: &Arc<DecodeOptions>, repairs: &[Repair]) -> Result<Replayer> {
    let main = parts::tables(&place.lake, &place.stream, &place.clock).main;
    // Asked for a log that it has no positions of, a table names those it has.
    let state = main.load(&LogId::new("none:none:none")).await?;
    let logs = state.map(|state| state.other_logs).unwrap_or_default();
    let [log] = &logs[..] else {
        bail!(
            "{} has positions of {} logs, and a replay needs to know the one",
            place.stream.table,
            logs.len()
        );
    };
    Ok(Replayer {
        lake: place.lake.clone(),
        main,
        log: log.clone(),
        decode: Arc::clone(decode),
        repairs: repairs.to_vec(),
        clock: place.clock.clone(),
    })
}

/// Letters that go into one commit.
#[derive(Debug, Default)]
struct Batch {
    letters: Vec<DeadLetter>,
    bytes: usize,
}

impl Batch {
    fn is_full_with(&self, letter: &DeadLetter) -> bool {
        let bytes = self.bytes + letter.raw.len();
        !self.letters.is_empty()
            && (bytes > limits::REPLAY_BYTES_MAX || self.letters.len() >= limits::REPLAY_LETTERS_MAX)
    }

    fn push(&mut self, letter: DeadLetter) {
        self.bytes += letter.raw.len();
        self.letters.push(letter);
    }
}

/// What became of all letters.
#[derive(Debug, Default)]
struct Outcome {
    landed: u64,
    before: u64,
    conflicts: u64,
    still_dead: BTreeMap<String, u64>,
    told: Vec<String>,
}

impl Outcome {
    async fn land(&mut self, replayer: Option<&Replayer>, batch: &mut Batch) -> Result<()> {
        let Batch { letters, .. } = std::mem::take(batch);
        let (Some(replayer), false) = (replayer, letters.is_empty()) else { return Ok(()) };
        let landed = replayer.replay(&letters).await;
        let Replayed { landed, before, still_dead, conflicts } = landed
            .with_context(|| format!("{} dead letters have landed, and then it failed", self.landed))?;
        self.landed += landed;
        self.before += before;
        self.conflicts += conflicts;
        for (partition, offset, code, detail) in still_dead {
            self.no_event(&format!("{partition}:{offset}"), &code, &detail);
        }
        Ok(())
    }

    /// What a replay would make of `letter`.
    fn would(&mut self, letter: &DeadLetter, decode: &DecodeOptions, repairs: &[Repair]) {
        match check_event(&decode::repair::repaired(&letter.raw, repairs), decode.limits()) {
            Ok(()) => self.landed += 1,
            Err(reason) => {
                let place = format!("{}:{}", letter.partition, letter.offset);
                self.no_event(&place, reason.code(), &reason.to_string());
            }
        }
    }

    fn no_event(&mut self, place: &str, code: &str, detail: &str) {
        *self.still_dead.entry(code.to_owned()).or_default() += 1;
        if self.told.len() < STILL_DEAD_TOLD_MAX {
            self.told.push(format!("{place} is still no event: {detail} ({code})"));
        }
    }

    fn text(&self, dry_run: bool) -> String {
        let mut lines = self.told.clone();
        let landed = if dry_run { "would land" } else { "landed" };
        let mut parts = vec![format!("{} {landed}", self.landed)];
        if self.before > 0 {
            parts.push(format!("{} had landed before", self.before));
        }
        let dead: u64 = self.still_dead.values().sum();
        let reasons: Vec<String> =
            self.still_dead.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let reasons = if dead > 0 { format!(" ({})", reasons.join(", ")) } else { String::new() };
        parts.push(format!("{dead} are still no events{reasons}"));
        if self.conflicts > 0 {
            parts.push(format!("{} values fitted no column and are in _residual", self.conflicts));
        }
        lines.push(parts.join(", "));
        lines.join("\n") + "\n"
    }
}

async fn print(chunks: impl futures::Stream<Item = Result<impl AsRef<[u8]>>>) -> Result<()> {
    let mut stdout = tokio::io::stdout();
    let mut chunks = std::pin::pin!(chunks);
    while let Some(chunk) = chunks.try_next().await? {
        stdout.write_all(chunk.as_ref()).await?;
    }
    stdout.flush().await?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's own words, not a log line")]
fn say(text: &str) {
    print!("{text}");
}
