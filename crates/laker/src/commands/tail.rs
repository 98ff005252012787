//! `laker tail`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;

use super::client::{base_url, client, refusal, unanswered};
use crate::cli::TailArgs;
use crate::telemetry;

/// What the server sends of an event.
#[derive(Debug, Deserialize)]
struct Shown {
    /// The event as it was sent, as a JSON string.
    event: Box<RawValue>,
}

/// Prints events, one a line as they were sent, until the server ends or enough were seen.
pub(super) async fn run(args: TailArgs) -> Result<ExitCode> {
    let settings = super::load_settings(&args.settings)?;
    telemetry::start_logging("warn");
    let url = base_url(args.server.as_deref(), &settings.listen)?;
    let request = client()?.get(format!("{url}/live/{}/events", args.stream));
    let response = request.send().await.map_err(|error| unanswered(&url, error))?;
    if !response.status().is_success() {
        bail!("{}", refusal(response).await);
    }
    follow(response, args.count).await?;
    Ok(ExitCode::SUCCESS)
}

async fn follow(response: reqwest::Response, count: Option<u64>) -> Result<()> {
    let mut chunks = response.bytes_stream();
    let mut stdout = tokio::io::stdout();
    let mut lines = Lines::default();
    let mut seen = 0;
    while let Some(chunk) = chunks.try_next().await.context("the server ended the stream")? {
        for line in lines.push(&chunk) {
            let Some(event) = event_of(&line)? else { continue };
            stdout.write_all(event.as_bytes()).await?;
            stdout.write_all(b"\n").await?;
            seen += 1;
            if count.is_some_and(|count| seen >= count) {
                stdout.flush().await?;
                return Ok(());
            }
        }
        stdout.flush().await?;
    }
    Ok(())
}

/// The event in a line of the stream, if it holds one.
fn event_of(line: &str) -> Result<Option<String>> {
    let Some(data) = line.strip_prefix("data:") else { return Ok(None) };
    let Ok(shown) = serde_json::from_str::<Shown>(data.trim()) else { return Ok(None) };
    let event = shown.event.get();
    let text = if event.starts_with('"') { serde_json::from_str(event)? } else { event.to_owned() };
    Ok(Some(one_line(&text)))
}

/// An event may have been sent over several lines; white space between tokens has no meaning.
fn one_line(event: &str) -> String {
    match event.contains('\n') {
        true => serde_json::from_str::<serde_json::Value>(event)
            .map_or_else(|_| event.to_owned(), |value| value.to_string()),
        false => event.to_owned(),
    }
}

/// Lines out of chunks that end anywhere.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(chunk);
        let Some(end) = self.0.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.0.split_off(end + 1);
        let whole = std::mem::replace(&mut self.0, rest);
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_between_chunks_is_one_line() {
        let mut lines = Lines::default();
        assert!(lines.push(b"data: {\"ev").is_empty());
        assert_eq!(lines.push(b"ent\":1}\n\nda"), ["data: {\"event\":1}", ""]);
        assert_eq!(lines.push(b"ta: x\n"), ["data: x"]);
    }

    #[test]
    fn an_event_is_printed_on_one_line_as_it_was_sent() {
        assert_eq!(
            event_of(r#"data: {"offset":1,"event":"{\"a\": 1.0}"}"#).unwrap().unwrap(),
            r#"{"a": 1.0}"#
        );
        assert_eq!(event_of("data: {\"event\":\"{\\n\\\"a\\\": 1}\"}").unwrap().unwrap(), r#"{"a":1}"#);
        assert_eq!(event_of(": heartbeat").unwrap(), None);
        assert_eq!(event_of("event: missed").unwrap(), None);
    }
}
