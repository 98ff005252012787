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
    /// Try settings, connections and the bucket, and say what would be done
    #[command(after_help = "Examples:\n  laker check\n  laker check --print-config")]
    Check(CheckArgs),
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
