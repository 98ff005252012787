//! What a statement brings: rows, and how fresh they are.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::compute::cast;
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use event::{Clock, TimestampMicros, limits};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::error::{QueryError, QueryErrorKind};

/// Batches computed before somebody takes them.
const BATCHES_AHEAD: usize = 2;

/// The rows of a statement, and how fresh they are.
#[derive(Debug)]
pub struct Answer {
    /// Columns of the rows. Names are unique; no view or dictionary types, so that every reader of
    /// Arrow knows them.
    pub schema: SchemaRef,
    /// The rows as they are computed.
    pub rows: Rows,
    /// One entry per table that was read.
    pub freshness: Vec<Freshness>,
}

/// A stream of batches of rows. Dropping it ends the statement.
pub struct Rows(BoxStream<'static, Result<RecordBatch, QueryError>>);

impl Stream for Rows {
    type Item = Result<RecordBatch, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}

/// What an answer knows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// Its name in SQL.
    pub table: String,
    /// The version that was read; `None` when there is no table yet.
    pub version: Option<u64>,
    /// When that version was committed, if it says so.
    pub committed_at: Option<TimestampMicros>,
    /// What the log added.
    pub log: LogPart,
    /// When the log took the newest event that it added.
    pub newest_received_at: Option<TimestampMicros>,
}

/// What an answer has from the log, beyond the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPart {
    /// No log is configured: the table is all there is to see.
    None,
    /// The log was read from the table version's offsets on.
    Read {
        /// Rows it had for this table.
        rows: usize,
        /// Whether there was more than one query may read, so that newest events are missing.
        cut: bool,
    },
    /// The log could not be read: events that have not landed are missing.
    Unread {
        /// Why.
        reason: String,
    },
}

impl Freshness {
    /// One line, fit for a person and for a header: `logs: table version 12 (3 s ago) + 120 events from the log`.
    #[must_use]
    pub fn text(&self, now: TimestampMicros) -> String {
        let version = match self.version {
            Some(version) => format!("table version {version}{}", self.age(now)),
            None => "no table yet".to_owned(),
        };
        let log = match &self.log {
            LogPart::None => String::new(),
            LogPart::Read { rows, cut: false } => format!(" + {} from the log", events(*rows)),
            LogPart::Read { rows, cut: true } => {
                let limit = limits::SEAM_BYTES_MAX / (1024 * 1024);
                format!(" + {} from the log, cut at {limit} MiB: newer events are missing", events(*rows))
            }
            LogPart::Unread { reason } => format!("; events not yet landed are missing: {reason}"),
        };
        format!("{}: {version}{log}", self.table).replace(char::is_control, " ")
    }

    fn age(&self, now: TimestampMicros) -> String {
        let Some(committed_at) = self.committed_at else { return String::new() };
        let seconds = now.0.saturating_sub(committed_at.0).max(0) / 1_000_000;
        match seconds {
            0..120 => format!(" ({seconds} s ago)"),
            120..7_200 => format!(" ({} min ago)", seconds / 60),
            7_200..172_800 => format!(" ({} h ago)", seconds / 3_600),
            _ => format!(" ({} days ago)", seconds / 86_400),
        }
    }
}

fn events(count: usize) -> String {
    match count {
        1 => "1 event".to_owned(),
        _ => format!("{count} events"),
    }
}

/// What ends a statement that has begun to answer.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) clock: Clock,
    /// On the monotonic clock.
    pub(crate) deadline: Duration,
    /// What it was allowed in all, for the message.
    pub(crate) allowed: Duration,
    /// Held as long as the statement runs.
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Answer {
    /// An answer that is there already.
    pub(crate) fn ready(batch: RecordBatch, freshness: Vec<Freshness>) -> Self {
        let schema = batch.schema();
        Self { schema, rows: Rows(stream::iter([Ok(batch)]).boxed()), freshness }
    }

    /// The answer that `plan` computes, within `bounds`.
    ///
    /// A task of its own computes it. The deadline is kept on both sides: here for whoever
    /// waits, there for a statement whose rows nobody takes. Dropping the answer ends the task.
    pub(crate) fn running(
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
        bounds: Bounds,
        freshness: Vec<Freshness>,
    ) -> Self {
        let schema = plain_schema(&plan.schema());
        let (batches, received) = mpsc::channel(BATCHES_AHEAD);
        let (end, ended) = oneshot::channel();
        let receiving = Receiving { clock: bounds.clock.clone(), deadline: bounds.deadline, received, ended };
        let allowed = bounds.allowed;
        tokio::spawn(compute(plan, context, schema.clone(), bounds, batches, end));
        let rows = stream::unfold(Some(receiving), move |receiving| async move {
            let mut receiving = receiving?;
            match receiving.next().await {
                None => Some((Err(QueryError::timeout(allowed)), None)),
                Some(Ok(Some(batch))) => Some((Ok(batch), Some(receiving))),
                Some(Ok(None)) => None,
                Some(Err(error)) => Some((Err(error), None)),
            }
        });
        Self { schema, rows: Rows(rows.boxed()), freshness }
    }
}

/// The end of a running statement at which rows are taken.
struct Receiving {
    clock: Clock,
    deadline: Duration,
    received: mpsc::Receiver<RecordBatch>,
    ended: oneshot::Receiver<Result<(), QueryError>>,
}

impl Receiving {
    /// The next batch, or none behind the last one; nothing at all after the deadline.
    async fn next(&mut self) -> Option<Result<Option<RecordBatch>, QueryError>> {
        let left = self.deadline.saturating_sub(self.clock.monotonic());
        let (received, ended) = (&mut self.received, &mut self.ended);
        let next = async {
            match received.recv().await {
                Some(batch) => Ok(Some(batch)),
                None => ended.await.unwrap_or_else(|_| Err(died())).map(|()| None),
            }
        };
        self.clock.timeout(left, next).await
    }
}

/// Sends the rows of `plan`, then how it ended.
async fn compute(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    schema: SchemaRef,
    bounds: Bounds,
    batches: mpsc::Sender<RecordBatch>,
    end: oneshot::Sender<Result<(), QueryError>>,
) {
    let Bounds { clock, deadline, allowed, permit } = bounds;
    let left = deadline.saturating_sub(clock.monotonic());
    let ended = tokio::select! {
        () = batches.closed() => return,
        ended = clock.timeout(left, forward(plan, context, &schema, &batches)) => ended,
    };
    drop(permit);
    // Nobody hears it when the answer was dropped in this moment.
    let _ = end.send(ended.unwrap_or_else(|| Err(QueryError::timeout(allowed))));
}

async fn forward(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    schema: &SchemaRef,
    batches: &mpsc::Sender<RecordBatch>,
) -> Result<(), QueryError> {
    let mut stream = execute_stream(plan, context)?;
    while let Some(batch) = stream.next().await {
        if batches.send(plain(&batch?, schema)?).await.is_err() {
            break;
        }
    }
    Ok(())
}

pub(crate) fn died() -> QueryError {
    QueryError::new(QueryErrorKind::Internal, "the statement died; the server's log says why")
}

/// The columns as they are handed out: no views, no dictionaries, no name twice.
fn plain_schema(schema: &Schema) -> SchemaRef {
    let mut names = std::collections::HashSet::new();
    let fields = schema.fields().iter().map(|field| {
        let name = free_name(field.name(), &names);
        names.insert(name.clone());
        Field::new(name, plain_type(field.data_type()), field.is_nullable())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// `name`, or with a number behind it when it is taken (`SELECT a.x, b.x`).
fn free_name(name: &str, taken: &std::collections::HashSet<String>) -> String {
    let numbered = (1..).map(|number| format!("{name}_{number}"));
    let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
    candidates.find(|candidate| !taken.contains(candidate)).expect("numbers do not end")
}

fn plain_type(data_type: &DataType) -> DataType {
    let plain_field =
        |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(plain_type(field.data_type())));
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::List(item) | DataType::ListView(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(plain_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        other => other.clone(),
    }
}

fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(column.clone())
        } else {
            cast(column, field.data_type())
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let plain =
        columns.and_then(|columns| RecordBatch::try_new_with_options(schema.clone(), columns, &options));
    plain.map_err(|error| datafusion::error::DataFusionError::from(error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMicros = TimestampMicros(1_000_000_000_000_000);

    fn freshness(version: Option<u64>, seconds_ago: i64, log: LogPart) -> String {
        let committed_at = version.map(|_| TimestampMicros(NOW.0 - seconds_ago * 1_000_000));
        Freshness { table: "logs".into(), version, committed_at, log, newest_received_at: None }.text(NOW)
    }

    #[test]
    fn freshness_is_one_line_that_hides_nothing() {
        let read = |rows, cut| LogPart::Read { rows, cut };
        let unread = LogPart::Unread { reason: "event log x is unavailable".into() };
        for (got, want) in [
            (
                freshness(Some(12), 3, read(120, false)),
                "logs: table version 12 (3 s ago) + 120 events from the log",
            ),
            (freshness(None, 0, read(1, false)), "logs: no table yet + 1 event from the log"),
            (freshness(Some(1), 7_199, LogPart::None), "logs: table version 1 (119 min ago)"),
            (
                freshness(Some(1), 200_000, read(5, true)),
                "logs: table version 1 (2 days ago) + 5 events from the log, cut at 64 MiB: newer events are missing",
            ),
            (
                freshness(Some(7), -5, unread),
                "logs: table version 7 (0 s ago); events not yet landed are missing: event log x is unavailable",
            ),
        ] {
            assert_eq!(got, want);
        }
    }
}
