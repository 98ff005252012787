//! `laker query`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use event::Clock;
use eventlog::EventLog;
use futures::TryStreamExt;
use query::Format;
use reqwest::header::ACCEPT;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;

use super::client::{base_url, client, is_nobody_there, refusal, unanswered};
use crate::cli::{OutputFormat, QueryArgs};
use crate::settings::{LogUrl, Settings};
use crate::{parts, telemetry};

/// Asks the server, or the lake itself when no server runs.
pub(super) async fn run(args: QueryArgs) -> Result<ExitCode> {
    let settings = super::load_settings(&args.settings)?;
    telemetry::start_logging("warn");
    let format = match args.format {
        OutputFormat::Table => Format::Table,
        OutputFormat::Csv => Format::Csv,
        OutputFormat::Json => Format::Json,
        OutputFormat::Ndjson => Format::Ndjson,
    };
    let url = base_url(args.server.as_deref(), &settings.listen)?;
    match ask_server(&url, &args.sql, format).await {
        Err(error) if args.server.is_none() && nobody_answered(&error) => {
            ask_lake(&settings, &args.sql, format).await?
        }
        answered => answered?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask_server(url: &str, sql: &str, format: Format) -> Result<()> {
    let accept = format.content_type().split(';').next().unwrap_or_default();
    let request = client()?.post(format!("{url}/sql")).header(ACCEPT, accept).body(sql.to_owned());
    let response = request.send().await.map_err(|error| unanswered(url, error))?;
    if !response.status().is_success() {
        bail!("{}", refusal(response).await);
    }
    let freshness = freshness_of(&response);
    let chunks = response.bytes_stream().map_err(anyhow::Error::from);
    print(chunks).await.context("the answer broke off")?;
    say_freshness(format, &freshness);
    Ok(())
}

/// What the server says of one table.
#[derive(Debug, Deserialize)]
struct Told {
    text: String,
}

fn freshness_of(response: &reqwest::Response) -> Vec<String> {
    let header =
        response.headers().get("laker-freshness").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let told: Vec<Told> = serde_json::from_str(header).unwrap_or_default();
    told.into_iter().map(|table| table.text).collect()
}

fn nobody_answered(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref()).any(is_nobody_there)
}

async fn ask_lake(settings: &Settings, sql: &str, format: Format) -> Result<()> {
    let clock = Clock::system();
    let lake = table::Lake::open(&settings.lake, &settings.environment)?;
    let log = idle_log(settings, &clock).await;
    let engine = parts::query_engine(settings, &lake, log.as_ref(), &clock)?;
    let answer = engine.run(sql).await?;
    let freshness: Vec<String> = answer.freshness.iter().map(|part| part.text(clock.now())).collect();
    print(format.write(answer).map_err(anyhow::Error::from)).await?;
    say_freshness(format, &freshness);
    Ok(())
}

/// The log, if it can be read without a server: Kafka, or a folder that no process has open.
async fn idle_log(settings: &Settings, clock: &Clock) -> Option<Arc<dyn EventLog>> {
    if matches!(&settings.log, LogUrl::Folder(folder) if !folder.exists()) {
        return None;
    }
    match parts::open_log(settings, clock).await {
        Ok(log) => Some(log),
        Err(error) => {
            tracing::warn!("answering from the lake alone, without events that have not landed: {error:#}");
            None
        }
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

/// For eyes only: other formats are for programs, which take it from the header.
#[expect(clippy::print_stderr, reason = "the command's own words, not a log line")]
fn say_freshness(format: Format, freshness: &[String]) {
    if format == Format::Table {
        freshness.iter().for_each(|table| eprintln!("{table}"));
    }
}
