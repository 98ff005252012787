//! `laker send`.
//!
//! One batch at a time: what was acknowledged is never sent again, what was not is sent again
//! until it is. A batch whose answer got lost is the one case in which the log may hold an event
//! twice; give events an `_id` where that matters.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use event::{Clock, limits};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use super::client::{base_url, client, refusal};
use crate::cli::SendArgs;
use crate::telemetry;

/// The collector's verdict on a request.
#[derive(Debug, Deserialize)]
struct Verdict {
    #[serde(default)]
    accepted: u64,
    #[serde(default)]
    rejected: Vec<Rejected>,
}

/// The verdict on one event.
#[derive(Debug, Deserialize)]
struct Rejected {
    index: usize,
    code: String,
    message: String,
}

/// Refused lines that are told one by one; the rest is only counted.
const REFUSED_TOLD_MAX: u64 = 10;

/// Sends everything, and succeeds only if everything was acknowledged.
pub(super) async fn run(args: SendArgs) -> Result<ExitCode> {
    let settings = super::load_settings(&args.settings)?;
    telemetry::start_logging("warn");
    let url = base_url(args.to.as_deref(), &settings.listen)?;
    let (input, size) = open(args.file.as_deref()).await?;
    let mut sender = Sender {
        client: client()?,
        url: format!("{url}/events/{}", args.stream),
        patience: Duration::from_secs(args.patience),
        clock: Clock::system(),
        bar: progress_bar(size, args.quiet),
        accepted: 0,
        refused: 0,
    };
    let sent = sender.send_all(input, args.batch.max(1)).await;
    sender.bar.finish_and_clear();
    sender.summarise();
    sent?;
    Ok(if sender.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Input = Box<dyn AsyncBufRead + Unpin + Send>;

async fn open(file: Option<&Path>) -> Result<(Input, Option<u64>)> {
    match file.filter(|path| *path != Path::new("-")) {
        None => Ok((Box::new(BufReader::new(tokio::io::stdin())), None)),
        Some(path) => {
            let opened = tokio::fs::File::open(path)
                .await
                .with_context(|| format!("cannot read {}", path.display()))?;
            let size = opened.metadata().await.map(|metadata| metadata.len()).ok();
            Ok((Box::new(BufReader::with_capacity(1 << 20, opened)), size))
        }
    }
}

fn progress_bar(size: Option<u64>, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let (bar, template) = match size {
        Some(size) => {
            (ProgressBar::new(size), "{bar:30} {percent:>3}%  {msg}  {binary_bytes_per_sec}  {eta} left")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {msg}  {binary_bytes_per_sec}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the templates above are well-formed"))
}

/// Lines that go into one request.
#[derive(Debug, Default)]
struct Batch {
    body: Vec<u8>,
    /// Number in the input of each line, from one.
    line_numbers: Vec<u64>,
    /// Bytes of the input it took, blank lines included.
    input_bytes: u64,
}

struct Sender {
    client: Client,
    url: String,
    patience: Duration,
    clock: Clock,
    bar: ProgressBar,
    accepted: u64,
    refused: u64,
}

impl Sender {
    async fn send_all(&mut self, mut input: Input, batch_lines: usize) -> Result<()> {
        let mut line_number = 0;
        loop {
            let batch = read_batch(&mut input, batch_lines, &mut line_number).await?;
            if batch.input_bytes == 0 {
                return Ok(());
            }
            if !batch.line_numbers.is_empty() {
                self.deliver(&batch).await?;
            }
            self.bar.inc(batch.input_bytes);
            self.bar.set_message(format!("{} events acknowledged", self.accepted));
        }
    }

    /// Sends until there is a verdict.
    async fn deliver(&mut self, batch: &Batch) -> Result<()> {
        let mut pause = limits::RETRY_PAUSE_MIN;
        let begun = self.clock.monotonic();
        loop {
            let why = match self.attempt(batch).await? {
                Ok(verdict) => {
                    self.note(batch, &verdict);
                    return Ok(());
                }
                Err(why) => why,
            };
            if self.clock.monotonic().saturating_sub(begun) + pause > self.patience {
                bail!(
                    "gave up at line {} after {} s: {why}. {} events were acknowledged; send the rest from that line on",
                    batch.line_numbers[0],
                    self.patience.as_secs(),
                    self.accepted
                );
            }
            self.bar.set_message(format!("waiting: {why}"));
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(limits::RETRY_PAUSE_MAX);
        }
    }

    /// One request: a verdict, or why it may work later.
    ///
    /// # Errors
    /// When it never will.
    async fn attempt(&self, batch: &Batch) -> Result<Result<Verdict, String>> {
        let request = self
            .client
            .post(&self.url)
            .header("content-type", "application/x-ndjson")
            .timeout(limits::APPEND_DEADLINE * 2)
            .body(batch.body.clone());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Err(format!("{:#}", anyhow::Error::new(error)))),
        };
        match response.status() {
            StatusCode::OK => {
                Ok(verdict(response).await.map_err(|error| format!("the answer got lost: {error:#}")))
            }
            StatusCode::BAD_REQUEST => self.all_refused(response).await.map(Ok),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                Ok(Err(refusal(response).await))
            }
            status if status.is_server_error() => Ok(Err(refusal(response).await)),
            _ => bail!("{} refused line {}: {}", self.url, batch.line_numbers[0], refusal(response).await),
        }
    }

    /// A request without any valid event is answered 400, with the same verdict on each.
    async fn all_refused(&self, response: reqwest::Response) -> Result<Verdict> {
        let text = response.text().await.unwrap_or_default();
        match serde_json::from_str::<Verdict>(&text) {
            Ok(verdict) if !verdict.rejected.is_empty() => Ok(verdict),
            _ => bail!("{} refused the request: {}", self.url, text.trim()),
        }
    }

    fn note(&mut self, batch: &Batch, verdict: &Verdict) {
        self.accepted += verdict.accepted;
        for rejected in &verdict.rejected {
            self.refused += 1;
            if self.refused <= REFUSED_TOLD_MAX {
                let line = batch.line_numbers.get(rejected.index).copied().unwrap_or_default();
                say(&format!("line {line} was refused: {} ({})", rejected.message, rejected.code));
            }
        }
    }

    fn summarise(&self) {
        if self.refused > 0 {
            say(&format!("{} events acknowledged, {} refused", self.accepted, self.refused));
        } else {
            say(&format!("{} events acknowledged", self.accepted));
        }
    }
}

async fn verdict(response: reqwest::Response) -> Result<Verdict> {
    Ok(serde_json::from_slice(&response.bytes().await?)?)
}

#[expect(clippy::print_stderr, reason = "the command's own words, not a log line")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// The next lines, up to `lines_max` of them and about as many bytes as a request should have.
async fn read_batch(input: &mut Input, lines_max: usize, line_number: &mut u64) -> Result<Batch> {
    let mut batch = Batch::default();
    while batch.line_numbers.len() < lines_max && batch.body.len() < limits::SEND_BYTES_MAX {
        let start = batch.body.len();
        let read = input.read_until(b'\n', &mut batch.body).await.context("the input cannot be read")?;
        if read == 0 {
            break;
        }
        *line_number += 1;
        batch.input_bytes += read as u64;
        if batch.body[start..].iter().all(u8::is_ascii_whitespace) {
            batch.body.truncate(start);
            continue;
        }
        if batch.body.last() != Some(&b'\n') {
            batch.body.push(b'\n');
        }
        batch.line_numbers.push(*line_number);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn batches(text: &'static str, lines_max: usize) -> Vec<(String, Vec<u64>)> {
        let mut input: Input = Box::new(BufReader::new(text.as_bytes()));
        let (mut line_number, mut all) = (0, Vec::new());
        loop {
            let batch = read_batch(&mut input, lines_max, &mut line_number).await.unwrap();
            if batch.input_bytes == 0 {
                return all;
            }
            all.push((String::from_utf8(batch.body).unwrap(), batch.line_numbers));
        }
    }

    #[tokio::test]
    async fn lines_keep_their_number_although_blank_ones_are_left_out() {
        let got = batches("{}\n\n  \n{\"a\":1}\n{\"b\":2}", 2).await;
        assert_eq!(got, [("{}\n{\"a\":1}\n".to_owned(), vec![1, 4]), ("{\"b\":2}\n".to_owned(), vec![5])]);
    }
}
