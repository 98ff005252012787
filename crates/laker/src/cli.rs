//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Carries user events to a data lake, exactly once, and lets you query them while they arrive.
#[derive(Debug, Parser)]
#[command(name = "laker", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Start here:\n  laker up\n  curl -d '{\"action\":\"search\",\"keyword\":\"jazz\"}' http://127.0.0.1:7777/events\n  laker query \"SELECT * FROM logs\""
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, in the order of an event's way.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process: collector, loader, SQL and live page
    #[command(
        after_help = "Examples:\n  laker up\n  laker up --log kafka://host1:9092,host2:9092 --lake s3://bucket/prefix\n  laker up --set streams.logs.flush_after=5s"
    )]
    Up(SettingsArgs),
    /// Take events over HTTP into the log
    #[command(after_help = "Example:\n  laker collect --log kafka://host:9092 --listen 0.0.0.0:7777")]
    Collect(SettingsArgs),
    /// Move events from the log into the table
    #[command(
        after_help = "Examples:\n  laker load --log kafka://host:9092 --lake s3://bucket/prefix\n  laker load --until-caught-up"
    )]
    Load(LoadArgs),
    /// Answer SQL and show the live page, taking no events
    #[command(after_help = "Example:\n  laker serve --log kafka://host:9092 --lake s3://bucket/prefix")]
    Serve(SettingsArgs),
    /// Send events from a file or stdin, one JSON object a line
    #[command(
        after_help = "Examples:\n  laker send events.ndjson\n  generate | laker send --to http://127.0.0.1:7777 --stream logs"
    )]
    Send(SendArgs),
    /// Run SQL over landed and not yet landed events
    #[command(
        after_help = "Examples:\n  laker query \"SELECT count(*) FROM logs\"\n  laker query --format csv \"SELECT region, count(*) FROM logs GROUP BY region\"\n  laker query \"SHOW TABLES\""
    )]
    Query(QueryArgs),
    /// Show events as they arrive
    #[command(after_help = "Examples:\n  laker tail\n  laker tail logs | jq .action")]
    Tail(TailArgs),
    /// Prove from table and log that every offset landed exactly once
    #[command(
        after_help = "Examples:\n  laker verify\n  laker verify logs --format json\n  laker verify --log kafka://host:9092 --lake s3://bucket/prefix\n\nExit codes: 0 all proven, 1 something is wrong (it is named), 2 wrong usage or settings."
    )]
    Verify(VerifyArgs),
    /// Look at dead letters, and land those that are events now
    #[command(
        after_help = "Examples:\n  laker dead list\n  laker dead show 0:42\n  laker dead replay --where \"reason = 'too_large'\""
    )]
    Dead(DeadArgs),
    /// Try settings, connections and the bucket, and say what would be done
    #[command(after_help = "Examples:\n  laker check\n  laker check --print-config")]
    Check(CheckArgs),
    /// Record that events are gone, so that a loader that stands still goes on
    #[command(subcommand)]
    Gap(GapCommand),
    /// Measure this machine: generate events and time the route
    #[command(
        after_help = "Examples:\n  laker bench\n  laker bench --log kafka://localhost:9092 --lake s3://bucket/bench --events 2000000"
    )]
    Bench(BenchArgs),
}

/// Where settings come from.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingsArgs {
    /// Event log: file:FOLDER or kafka://HOST:PORT,…
    #[arg(long, value_name = "URL")]
    pub log: Option<String>,
    /// Lake: file:FOLDER or s3://BUCKET/PREFIX
    #[arg(long, value_name = "URL")]
    pub lake: Option<String>,
    /// Address of the HTTP port
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Settings file [default: laker.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Any setting, as in laker.toml; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
}

/// Arguments of `laker load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Load everything that is in the log now, commit, and end
    #[arg(long)]
    pub until_caught_up: bool,
}

/// Arguments of `laker send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// File of JSON objects, one a line; stdin when left out or "-"
    pub file: Option<PathBuf>,
    /// Collector to send to [default: the address of `listen`]
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// Stream to send to
    #[arg(long, default_value = "logs")]
    pub stream: String,
    /// Events in one request
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub batch: usize,
    /// Seconds to keep trying when the collector does not answer
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub patience: u64,
    /// No progress bar
    #[arg(long, short)]
    pub quiet: bool,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Arguments of `laker query`.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// One SQL statement
    pub sql: String,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
    /// Server to ask [default: the address of `listen`; the lake itself when none runs there]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For eyes
    Table,
    /// RFC 4180, with a head line
    Csv,
    /// One array of objects
    Json,
    /// One object a line
    Ndjson,
}

/// Arguments of `laker tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Stream to follow
    #[arg(default_value = "logs")]
    pub stream: String,
    /// Server to ask [default: the address of `listen`]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// End after this many events
    #[arg(long, short = 'n', value_name = "N")]
    pub count: Option<u64>,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Arguments of `laker verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Stream to verify [default: all]
    pub stream: Option<String>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
    /// No progress bar
    #[arg(long, short)]
    pub quiet: bool,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For eyes
    Text,
    /// One object
    Json,
}

/// Arguments of `laker dead`.
#[derive(Debug, Args)]
pub struct DeadArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: DeadCommand,
}

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead letters, newest first, and how many there are by reason
    #[command(
        after_help = "Examples:\n  laker dead list\n  laker dead list --where \"state = 'pending' AND reason = 'invalid_json'\"\n  laker dead list --format ndjson --limit 1000\n\nColumns for --where: _partition, _offset, _received_at, reason, detail, raw, event_date, state ('pending' or 'replayed'), replayed_at."
    )]
    List(DeadListArgs),
    /// Show one dead letter: its bytes, why it is no event, and where it breaks
    #[command(after_help = "Examples:\n  laker dead show 0:42\n  laker dead show 0:42 --raw > letter.json")]
    Show(DeadShowArgs),
    /// Decode dead letters again, and land those that are events now, each once
    #[command(
        after_help = "Examples:\n  laker dead replay\n  laker dead replay --dry-run\n  laker dead replay --where \"reason = 'too_large'\" --set price=double\n  laker dead replay --repair byte-order-mark --repair encoded-twice\n\nRunning it again, or twice at once, lands nothing twice."
    )]
    Replay(DeadReplayArgs),
}

/// Where log and lake are.
#[derive(Debug, Clone, Default, Args)]
pub struct PlaceArgs {
    /// Event log: file:FOLDER or kafka://HOST:PORT,…
    #[arg(long, value_name = "URL")]
    pub log: Option<String>,
    /// Lake: file:FOLDER or s3://BUCKET/PREFIX
    #[arg(long, value_name = "URL")]
    pub lake: Option<String>,
    /// Settings file [default: laker.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl From<PlaceArgs> for SettingsArgs {
    fn from(PlaceArgs { log, lake, config }: PlaceArgs) -> Self {
        Self { log, lake, config, ..Self::default() }
    }
}

/// Arguments of `laker dead list`.
#[derive(Debug, Args)]
pub struct DeadListArgs {
    /// Stream they were sent to
    #[arg(default_value = "logs")]
    pub stream: String,
    /// Only those for which this SQL condition holds
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: u64,
    /// How to print them
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
    /// Where they are.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Arguments of `laker dead show`.
#[derive(Debug, Args)]
pub struct DeadShowArgs {
    /// Its place in the log, as `list` has it
    #[arg(value_name = "PARTITION:OFFSET", value_parser = log_place)]
    pub place_in_log: (u32, u64),
    /// Stream it was sent to
    #[arg(default_value = "logs")]
    pub stream: String,
    /// Its bytes and nothing else
    #[arg(long)]
    pub raw: bool,
    /// Where they are.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Arguments of `laker dead replay`.
#[derive(Debug, Args)]
pub struct DeadReplayArgs {
    /// Stream they were sent to
    #[arg(default_value = "logs")]
    pub stream: String,
    /// Only those for which this SQL condition holds
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// Type of a column that the table does not have yet: string, long, double, boolean, list<TYPE>
    #[arg(long = "set", value_name = "COLUMN=TYPE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Repair, where it applies: byte-order-mark, encoded-twice; may be given several times
    #[arg(long = "repair", value_name = "NAME")]
    pub repair: Vec<decode::Repair>,
    /// Only say what would land
    #[arg(long)]
    pub dry_run: bool,
    /// Where they are.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Arguments of `laker check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Only show every setting and where it came from, secrets hidden
    #[arg(long)]
    pub print_config: bool,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// What can be done about a gap.
#[derive(Debug, Subcommand)]
pub enum GapCommand {
    /// Move the table's position over offsets that the topic no longer has, and mark them as a gap
    ///
    /// `laker check` shows what is missing and the command for it. Nothing is accepted that is still there,
    /// and nothing that was not named.
    #[command(after_help = "Example:\n  laker gap accept logs 0:1200-1350 3:0-87")]
    Accept(GapArgs),
}

/// Arguments of `laker gap accept`.
#[derive(Debug, Args)]
pub struct GapArgs {
    /// Stream whose events are gone
    pub stream: String,
    /// What is gone: partition, first offset, and the first offset that is there again
    #[arg(required = true, value_name = "PARTITION:FIRST-NEXT", value_parser = loader::gap::parse)]
    pub gaps: Vec<(event::PartitionId, event::OffsetRange)>,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Arguments of `laker bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Events to generate
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub events: u64,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Where settings come from; log and lake default to a fresh folder that is removed afterwards.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

fn log_place(text: &str) -> Result<(u32, u64), String> {
    let place = text.split_once(':').and_then(|(p, offset)| Some((p.parse().ok()?, offset.parse().ok()?)));
    place.ok_or_else(|| "must be PARTITION:OFFSET, as in 0:42".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("must be KEY=VALUE, as in streams.logs.flush_after=5s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_hold_together() {
        Cli::command().debug_assert();
    }
}
