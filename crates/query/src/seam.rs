//! One version of a table, and the log from that version's offsets on.
//!
//! The cut is exact because rows and `next(p)` are one commit: rows below `next(p)` come from the
//! table, records from `next(p)` on from the log, so each event is seen once, landed or not. What was
//! acknowledged before a statement arrived lies below the log's end that it reads.
//!
//! Dead letters have a table with a chain of its own, which the loader moves on before the main one
//! and only when there are any. So all dead letters below the main table's `next(p)` are landed, and
//! those from the log count from the greater of the two positions.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use event::{Clock, Positions, TimestampMicros, limits};
use eventlog::{Ahead, EventLog, LogError, TopicDescription};
use table::{Snapshot, Table};

use crate::answer::LogPart;
use crate::engine::QuerySource;
use crate::error::{QueryError, QueryErrorKind};
use crate::shared::Shared;
use crate::tail::{Extended, Tail, count};

/// Times a reading is begun anew because the log dropped, or the table took, what was about to be
/// read.
const ATTEMPTS_MAX: usize = 5;

/// The seam of one stream.
#[derive(Debug)]
pub(crate) struct Seam {
    source: QuerySource,
    bytes_max: usize,
    clock: Clock,
    sight: Shared<Result<Arc<Sight>, QueryError>>,
}

/// A stream as it was at one moment.
#[derive(Debug)]
pub(crate) struct Sight {
    snapshot: Option<Snapshot>,
    log: LogSight,
}

#[derive(Debug)]
enum LogSight {
    /// No log is configured.
    None,
    /// It could not be read.
    Unread { reason: String },
    /// It was read from the snapshot's positions on.
    Read { description: TopicDescription, tail: Tail, starts: Positions },
}

/// A table as a statement sees it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) schema: SchemaRef,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) tail: Vec<RecordBatch>,
    pub(crate) log: LogPart,
    pub(crate) newest_received_at: Option<TimestampMicros>,
}

impl Seam {
    pub(crate) fn new(source: QuerySource, bytes_max: usize, clock: Clock) -> Self {
        Self { source, bytes_max, clock, sight: Shared::default() }
    }

    /// The stream as it is now: at no moment before this call. Statements that wait for each other
    /// here share a look.
    pub(crate) async fn look(&self) -> Result<Arc<Sight>, QueryError> {
        self.sight.get(async |before| self.look_anew(before.and_then(Result::ok)).await.map(Arc::new)).await
    }

    async fn look_anew(&self, before: Option<Arc<Sight>>) -> Result<Sight, QueryError> {
        let Some((log, topic)) = &self.source.log else {
            return Ok(Sight { snapshot: snapshot(&*self.source.table, None).await?, log: LogSight::None });
        };
        let mut tail = before.and_then(|sight| sight.tail().cloned());
        let mut reason = String::new();
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt(&**log, topic, tail.take()).await? {
                Attempt::Done(sight) => return Ok(*sight),
                Attempt::Unread(error) => return self.table_alone(error).await,
                Attempt::Again(because) => reason = because,
            }
        }
        self.table_alone(reason).await
    }

    async fn table_alone(&self, reason: String) -> Result<Sight, QueryError> {
        tracing::warn!(stream = self.source.name, reason, "a query reads the table alone");
        Ok(Sight { snapshot: snapshot(&*self.source.table, None).await?, log: LogSight::Unread { reason } })
    }

    async fn attempt(
        &self,
        log: &dyn EventLog,
        topic: &str,
        tail: Option<Tail>,
    ) -> Result<Attempt, QueryError> {
        let description = match self.in_time(log.describe(topic)).await {
            Ok(description) => description,
            Err(reason) => return Ok(Attempt::Unread(reason)),
        };
        let snapshot = snapshot(&*self.source.table, Some(&description)).await?;
        let starts = starts(snapshot.as_ref(), &description);
        let base = self.columns(snapshot.as_ref());
        let tail = kept_tail(tail, &base, &starts);
        let ends = tail.ends(&starts);
        let ahead = match self.in_time(self.read(log, topic, &ends, tail.payload_bytes())).await {
            Ok(ahead) => ahead,
            Err(reason) => return Ok(Attempt::Unread(reason)),
        };
        if let Some(hole) = hole(&ends, &ahead) {
            return Ok(Attempt::Again(hole));
        }
        Ok(match self.decode(tail, ahead).await? {
            Extended::Tail(tail) => Attempt::Done(Box::new(Sight {
                snapshot,
                log: LogSight::Read { description, tail: *tail, starts },
            })),
            Extended::SchemaGrew => {
                Attempt::Again("new columns appear faster than they can be read".to_owned())
            }
        })
    }

    /// Reads on at `ends`, as far as the bytes that are left allow.
    async fn read(
        &self,
        log: &dyn EventLog,
        topic: &str,
        ends: &Positions,
        held: usize,
    ) -> Result<Ahead, LogError> {
        match self.bytes_max.saturating_sub(held) {
            0 => Ok(Ahead { cut: true, ..Ahead::default() }),
            bytes_max => log.read(topic, ends, bytes_max).await,
        }
    }

    /// The log's answer, unless it takes longer than a person waits for a page.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, LogError>>) -> Result<T, String> {
        let limit = limits::CONNECT_DEADLINE;
        match self.clock.timeout(limit, call).await {
            Some(result) => result.map_err(|error| error.to_string()),
            None => Err(format!("the event log did not answer within {} s", limit.as_secs())),
        }
    }

    fn columns(&self, snapshot: Option<&Snapshot>) -> SchemaRef {
        match snapshot {
            Some(snapshot) => snapshot.schema.clone(),
            None => decode::columns::initial_schema(&self.source.decode),
        }
    }

    async fn decode(&self, tail: Tail, ahead: Ahead) -> Result<Extended, QueryError> {
        let options = self.source.decode.clone();
        let decoding = tokio::task::spawn_blocking(move || tail.extend(ahead, &options));
        let decoded = decoding.await.map_err(|error| internal(&self.source.name, &error))?;
        decoded.map_err(|error| internal(&self.source.name, &error))
    }

    /// The main table, as `sight` has it.
    pub(crate) fn rows(&self, sight: &Sight) -> Seen {
        let columns = || self.columns(sight.snapshot.as_ref());
        let schema = sight.tail().map_or_else(columns, |tail| tail.schema().clone());
        let rows = sight.tail().map(Tail::rows).unwrap_or_default();
        let log = sight.log_part(count(&rows));
        let newest_received_at = sight.tail().and_then(Tail::newest_received_at);
        Seen { schema, snapshot: sight.snapshot.clone(), tail: rows, log, newest_received_at }
    }

    /// The dead letters' table, read after `sight` was taken: so it has all that `sight`'s main
    /// table is past.
    pub(crate) async fn dead(&self, sight: &Sight) -> Result<Seen, QueryError> {
        let snapshot = snapshot(&*self.source.dead, sight.description()).await?;
        let schema = match &snapshot {
            Some(snapshot) => snapshot.schema.clone(),
            None => decode::columns::dead_letter_schema(),
        };
        let tail = match &sight.log {
            LogSight::Read { tail, starts, .. } => tail.dead(&greater(starts, snapshot.as_ref()), &schema),
            LogSight::None | LogSight::Unread { .. } => Vec::new(),
        };
        let log = sight.log_part(count(&tail));
        Ok(Seen { schema, snapshot, tail, log, newest_received_at: None })
    }
}

enum Attempt {
    Done(Box<Sight>),
    Again(String),
    Unread(String),
}

impl Sight {
    fn tail(&self) -> Option<&Tail> {
        match &self.log {
            LogSight::Read { tail, .. } => Some(tail),
            LogSight::None | LogSight::Unread { .. } => None,
        }
    }

    fn description(&self) -> Option<&TopicDescription> {
        match &self.log {
            LogSight::Read { description, .. } => Some(description),
            LogSight::None | LogSight::Unread { .. } => None,
        }
    }

    fn log_part(&self, rows: usize) -> LogPart {
        match &self.log {
            LogSight::None => LogPart::None,
            LogSight::Unread { reason } => LogPart::Unread { reason: reason.clone() },
            LogSight::Read { tail, .. } => LogPart::Read { rows, cut: tail.is_cut() },
        }
    }
}

async fn snapshot(table: &dyn Table, log: Option<&TopicDescription>) -> Result<Option<Snapshot>, QueryError> {
    let snapshot = table.snapshot(log.map(|log| &log.id)).await;
    snapshot.map_err(|error| QueryError::from_table(&error))
}

/// Where the log goes on behind the table: at its positions, and for partitions it has none of, at
/// the first record there is.
fn starts(snapshot: Option<&Snapshot>, log: &TopicDescription) -> Positions {
    let landed = |partition| snapshot.and_then(|snapshot| snapshot.positions.get(partition));
    log.partitions
        .iter()
        .map(|(partition, retained)| (*partition, landed(*partition).unwrap_or(retained.start())))
        .collect()
}

/// What can still be used of a tail behind a table version with columns `base` and these positions.
fn kept_tail(tail: Option<Tail>, base: &SchemaRef, starts: &Positions) -> Tail {
    match tail {
        Some(mut tail) if tail.base() == base => {
            tail.trim(starts);
            tail
        }
        _ => Tail::empty(base.clone()),
    }
}

/// Says which records were gone from the log when it was read, if any were.
fn hole(wanted: &Positions, ahead: &Ahead) -> Option<String> {
    ahead.partitions.iter().find_map(|(partition, (range, _))| {
        let start = wanted.get(*partition)?;
        (range.start() > start).then(|| {
            format!(
                "the log dropped offsets {start} to {} of partition {partition} before they landed",
                range.start()
            )
        })
    })
}

fn greater(starts: &Positions, dead: Option<&Snapshot>) -> Positions {
    let dead = |partition| dead.and_then(|snapshot| snapshot.positions.get(partition));
    starts
        .iter()
        .map(|(partition, start)| (partition, dead(partition).map_or(start, |next| next.max(start))))
        .collect()
}

fn internal(stream: &str, error: &dyn std::error::Error) -> QueryError {
    let message = format!("the log of {stream:?} could not be decoded: {error}");
    QueryError::new(QueryErrorKind::Internal, message)
}
