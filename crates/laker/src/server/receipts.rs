//! `GET /receipts/{receipt}`: what became of the events of one request.
//!
//! A receipt names places in the log, so the answer needs no state of ours: the table says up to
//! where it has landed and by which commit, the dead letters' table what was no event.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use collector::{Receipt, Span, SpoolReceipt};
use decode::columns;
use event::{Clock, LogId, Offset, OffsetRange, PartitionId, limits, stream};
use eventlog::{EventLog, LogError, TopicDescription};
use futures::TryStreamExt;
use query::QueryEngine;
use serde::Serialize;
use table::{History, Lake};

use super::error;
use crate::parts;
use crate::settings::{Settings, StreamSettings};

/// What receipts are answered from.
pub struct Receipts {
    streams: BTreeMap<String, Source>,
    log: Arc<dyn EventLog>,
    engine: Arc<QueryEngine>,
    lake: Lake,
    clock: Clock,
}

/// One stream.
struct Source {
    topic: String,
    table: String,
    main: Arc<dyn History>,
}

impl Receipts {
    /// Receipts of all streams.
    pub fn new(
        settings: &Settings,
        lake: &Lake,
        log: &Arc<dyn EventLog>,
        engine: &Arc<QueryEngine>,
        clock: &Clock,
    ) -> Self {
        let source = |of: &StreamSettings| {
            let main = parts::histories(lake, of, clock).main;
            (of.name.to_string(), Source { topic: of.topic.clone(), table: of.table.clone(), main })
        };
        let (log, engine) = (Arc::clone(log), Arc::clone(engine));
        let streams = settings.streams.iter().map(source).collect();
        Self { streams, log, engine, lake: lake.clone(), clock: clock.clone() }
    }

    /// The route.
    pub fn router(self) -> Router {
        Router::new().route("/receipts/{receipt}", get(answer)).with_state(Arc::new(self))
    }
}

/// The route of a process that has no table to ask.
pub fn no_receipts() -> Router {
    let answer = || async {
        error(
            StatusCode::NOT_FOUND,
            "no_table",
            "this process only takes events and sees no table; ask one that runs `laker serve` or `laker up`",
        )
    };
    Router::new().route("/receipts/{receipt}", get(answer))
}

/// What is said of a receipt that names a spool: where its events came to in the log, nobody wrote down.
const SPOOLED: &str = "these events went to a collector's spool while Kafka was gone, and have no place in the log \
    that could be looked up; each is forwarded once and lands as others do: look for them by their ids";

async fn answer(State(receipts): State<Arc<Receipts>>, Path(text): Path<String>) -> Response {
    if text.parse::<SpoolReceipt>().is_ok() {
        return error(StatusCode::NOT_FOUND, "spooled", SPOOLED);
    }
    let receipt = match text.parse::<Receipt>() {
        Ok(receipt) => receipt,
        Err(refused) => return error(StatusCode::BAD_REQUEST, "not_a_receipt", &refused.to_string()),
    };
    match receipts.tell(&receipt).await {
        Ok(told) => ([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Why a receipt cannot be answered.
enum Refusal {
    UnknownStream(String),
    UnknownReceipt(String),
    Unavailable(&'static str, String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::UnknownStream(said) => error(StatusCode::NOT_FOUND, "unknown_stream", &said),
            Self::UnknownReceipt(said) => error(StatusCode::NOT_FOUND, "unknown_receipt", &said),
            Self::Unavailable(code, said) => {
                let retry = [(header::RETRY_AFTER, limits::RETRY_AFTER_SECONDS.to_string())];
                (retry, error(StatusCode::SERVICE_UNAVAILABLE, code, &said)).into_response()
            }
        }
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        Self::Unavailable("log_unavailable", error.to_string())
    }
}

impl From<table::TableError> for Refusal {
    fn from(error: table::TableError) -> Self {
        Self::Unavailable("lake_unavailable", error.to_string())
    }
}

impl From<query::QueryError> for Refusal {
    fn from(error: query::QueryError) -> Self {
        Self::Unavailable("lake_unavailable", error.to_string())
    }
}

/// What became of the events of one request.
#[derive(Debug, Serialize)]
struct Told {
    receipt: String,
    stream: String,
    /// `queued` while any event is, else `dead` when all are, else `landed`.
    state: Fate,
    table: String,
    /// The table's version that was looked at; none when there is no table yet.
    version: Option<u64>,
    events: Vec<Part>,
}

/// What became of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    Queued,
    Landed,
    Dead,
}

/// Events that share a fate: all offsets from `first` to `last`.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Part {
    partition: u32,
    first: u64,
    last: u64,
    /// Only when false: events of other requests are among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<bool>,
    state: Fate,
    /// The version of the table that was the first to have them (Delta).
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed_at: Option<String>,
}

impl Part {
    fn new(partition: PartitionId, range: OffsetRange, state: Fate) -> Self {
        Self {
            partition: partition.0,
            first: range.start().0,
            last: range.end().0.saturating_sub(1),
            exact: None,
            state,
            version: None,
            files: Vec::new(),
            reason: None,
            detail: None,
            replayed_at: None,
        }
    }
}

/// Reason, detail, and when it was replayed.
type Dead = BTreeMap<Offset, (String, String, Option<String>)>;

impl Receipts {
    async fn tell(&self, receipt: &Receipt) -> Result<Told, Refusal> {
        let name = receipt.stream().as_str();
        let source = self.streams.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.streams.keys().map(String::as_str).collect();
            Refusal::UnknownStream(format!(
                "stream {name:?} is not configured; configured: {}",
                names.join(", ")
            ))
        })?;
        let described = self.clock.timeout(limits::CONNECT_DEADLINE, self.log.describe(&source.topic)).await;
        let described = described.ok_or_else(|| {
            Refusal::Unavailable("log_unavailable", "the event log does not answer".to_owned())
        })??;
        check_known(receipt, &described)?;
        let snapshot = source.main.snapshot(Some(&described.id)).await?;
        let mut events = Vec::new();
        for span in receipt.spans() {
            let next = snapshot.as_ref().and_then(|table| table.positions.get(span.partition));
            let next = next.unwrap_or(span.range.start());
            let has_replays = snapshot
                .as_ref()
                .is_some_and(|table| table.schema.column_with_name(columns::REPLAYED_AT).is_some());
            events.extend(self.parts(source, &described.id, span, next, has_replays).await?);
        }
        let is = |fate: Fate| events.iter().any(|part: &Part| part.state == fate);
        let state = match (is(Fate::Queued), is(Fate::Landed)) {
            (true, _) => Fate::Queued,
            (false, true) => Fate::Landed,
            (false, false) => Fate::Dead,
        };
        Ok(Told {
            receipt: receipt.to_string(),
            stream: name.to_owned(),
            state,
            table: self.lake.table_url(&source.table),
            version: snapshot.map(|table| table.version),
            events,
        })
    }

    /// One span in parts of one fate each, in the order of the log.
    async fn parts(
        &self,
        source: &Source,
        log: &LogId,
        span: &Span,
        next: Offset,
        has_replays: bool,
    ) -> Result<Vec<Part>, Refusal> {
        let middle = next.clamp(span.range.start(), span.range.end());
        let landed = OffsetRange::new(span.range.start(), middle);
        let queued = OffsetRange::new(middle, span.range.end());
        let dead = self.dead(source, span.partition, landed, has_replays).await?;
        let mut parts = Vec::new();
        let mut at = landed.start();
        while at < landed.end() {
            let found = match parts.len() < limits::RECEIPT_LANDINGS_MAX {
                true => source.main.landing(log, span.partition, at).await?,
                false => None,
            };
            let end = found.as_ref().map_or(landed.end(), |found| found.range.end().min(landed.end()));
            let mut part = Part::new(span.partition, OffsetRange::new(at, end), Fate::Landed);
            if let Some(found) = found {
                part.version = found.version;
                part.files = found.files.iter().map(|path| self.url(source, path)).collect();
            }
            parts.extend(split_by_dead(span.partition, &part, &dead));
            at = end;
        }
        if !queued.is_empty() {
            parts.push(Part::new(span.partition, queued, Fate::Queued));
        }
        let exact = (!span.exact).then_some(false);
        parts.iter_mut().for_each(|part| part.exact = exact);
        Ok(parts)
    }

    /// URL of a file, as readers outside take it.
    fn url(&self, source: &Source, path: &object_store::path::Path) -> String {
        let under =
            path.as_ref().strip_prefix(self.lake.table_path(&source.table).as_ref()).unwrap_or(path.as_ref());
        format!("{}{under}", self.lake.table_url(&source.table))
    }

    async fn dead(
        &self,
        source: &Source,
        partition: PartitionId,
        range: OffsetRange,
        has_replays: bool,
    ) -> Result<Dead, Refusal> {
        if range.is_empty() {
            return Ok(Dead::new());
        }
        let within = |of: &str| {
            format!(
                "{of}._partition = {partition} AND {of}._offset >= {} AND {of}._offset < {}",
                range.start(),
                range.end()
            )
        };
        let dead = stream::dead_letter_table(&source.table);
        let limit = limits::RECEIPT_DEAD_MAX;
        let sql = format!(
            "SELECT d._offset, d.reason, d.detail FROM \"{dead}\" AS d WHERE {} \
             ORDER BY d._offset LIMIT {limit}",
            within("d")
        );
        let mut found = Dead::new();
        for batch in self.rows(&sql).await? {
            found.extend(letters(&batch));
        }
        if has_replays && !found.is_empty() {
            let sql = format!(
                "SELECT r._offset, CAST(r._replayed_at AS VARCHAR) AS replayed_at FROM \"{}\" AS r \
                 WHERE r._replayed_at IS NOT NULL AND {}",
                source.table,
                within("r")
            );
            for batch in self.rows(&sql).await? {
                mark_replayed(&batch, &mut found);
            }
        }
        Ok(found)
    }

    async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, Refusal> {
        Ok(self.engine.run(sql).await?.rows.try_collect().await?)
    }
}

/// Refuses places that the log never had.
fn check_known(receipt: &Receipt, log: &TopicDescription) -> Result<(), Refusal> {
    for span in receipt.spans() {
        let end = log.partitions.get(&span.partition).map(|retained| retained.end());
        if end.is_none_or(|end| end < span.range.end()) {
            return Err(Refusal::UnknownReceipt(format!(
                "the log has no {} of partition {}; was the receipt given by another Laker, or the topic made anew?",
                span.range, span.partition
            )));
        }
    }
    Ok(())
}

/// `part` without the offsets in `dead`, and these on their own.
fn split_by_dead(partition: PartitionId, part: &Part, dead: &Dead) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = Offset(part.first);
    let end = Offset(part.last).next();
    let rows = |from: Offset, to: Offset| Part { first: from.0, last: to.0 - 1, ..part.clone() };
    for (offset, (reason, detail, replayed_at)) in dead.range(at..end) {
        if at < *offset {
            parts.push(rows(at, *offset));
        }
        parts.push(Part {
            reason: Some(reason.clone()),
            detail: Some(detail.clone()),
            replayed_at: replayed_at.clone(),
            version: part.version,
            ..Part::new(partition, OffsetRange::new(*offset, offset.next()), Fate::Dead)
        });
        at = offset.next();
    }
    if at < end {
        parts.push(rows(at, end));
    }
    parts
}

fn offsets(batch: &RecordBatch) -> impl Iterator<Item = (usize, Offset)> + '_ {
    let offsets = batch.column_by_name(columns::OFFSET).and_then(|c| c.as_primitive_opt::<Int64Type>());
    let places = offsets.into_iter().flat_map(|offsets| offsets.values().iter().enumerate());
    places.filter_map(|(at, offset)| Some((at, Offset(u64::try_from(*offset).ok()?))))
}

fn text(batch: &RecordBatch, name: &str, at: usize) -> Option<String> {
    let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
    column.is_valid(at).then(|| column.value(at).to_owned())
}

fn letters(batch: &RecordBatch) -> Dead {
    let letter = |(at, offset)| {
        let told = |name| text(batch, name, at).unwrap_or_default();
        (offset, (told(columns::REASON), told(columns::DETAIL), None))
    };
    offsets(batch).map(letter).collect()
}

fn mark_replayed(batch: &RecordBatch, dead: &mut Dead) {
    for (at, offset) in offsets(batch) {
        if let Some((_, _, replayed_at)) = dead.get_mut(&offset) {
            *replayed_at = text(batch, "replayed_at", at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P0: PartitionId = PartitionId(0);

    fn landed(first: u64, end: u64) -> Part {
        let files = vec!["file".to_owned()];
        Part { files, ..Part::new(P0, OffsetRange::new(Offset(first), Offset(end)), Fate::Landed) }
    }

    #[test]
    fn dead_letters_stand_between_the_rows_around_them() {
        let letter = ("invalid_json".to_owned(), "byte 0".to_owned(), None);
        let dead = Dead::from([10, 12, 13, 19, 25].map(|offset| (Offset(offset), letter.clone())));
        let parts = split_by_dead(P0, &landed(10, 20), &dead);
        let told: Vec<_> = parts.iter().map(|part| (part.first, part.last, part.state)).collect();
        let expected = [
            (10, 10, Fate::Dead),
            (11, 11, Fate::Landed),
            (12, 12, Fate::Dead),
            (13, 13, Fate::Dead),
            (14, 18, Fate::Landed),
            (19, 19, Fate::Dead),
        ];
        assert_eq!(told, expected);
        assert_eq!((parts[0].reason.as_deref(), parts[1].files.len()), (Some("invalid_json"), 1));
    }
}
