//! Streams to ask, and a loader small enough to be told when to land what.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::{concat_batches, filter_record_batch, kernels::cmp::eq};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Date32Array, RecordBatch, Scalar};
use arrow_schema::{DataType, SchemaRef};
use bytes::Bytes;
use decode::{DecodeOptions, Decoder, Discovered};
use event::{Clock, LogId, OffsetRange, OffsetRanges, PartitionId, Positions};
use eventlog::embedded::EmbeddedOptions;
use eventlog::{EmbeddedLog, EventLog};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use query::{Answer, Format, QueryEngine, QueryError, QueryOptions, QuerySource};
use table::{
    ColumnStats, Commit, CommitOutcome, EncodedFile, FileFooter, Lake, Layout, ParquetTable, StatValue,
    Table, TableState,
};
use table_delta::DeltaTable;
use tempfile::TempDir;

/// A stream with a log and a lake of its own, in a folder that goes away with it.
pub struct Stream {
    pub name: String,
    pub log: Arc<EmbeddedLog>,
    pub main: Arc<dyn Table>,
    pub dead: Arc<dyn Table>,
    pub lake: Lake,
    pub options: Arc<DecodeOptions>,
    pub clock: Clock,
    folder: TempDir,
}

/// The two formats of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Delta,
    Parquet,
}

pub const KINDS: [Kind; 2] = [Kind::Delta, Kind::Parquet];

impl Stream {
    pub async fn new(name: &str, kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let lake =
            Lake::open(&format!("file:{}", folder.path().join("lake").display()), &BTreeMap::new()).unwrap();
        let log = open_log(&folder.path().join("log"), name, clock.clone()).await;
        let (main, dead) =
            (table(kind, &lake, name, &clock), table(kind, &lake, &format!("{name}__dead"), &clock));
        Self { name: name.to_owned(), log, main, dead, lake, options: decode_options(), clock, folder }
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn source(&self) -> QuerySource {
        QuerySource {
            name: self.name.clone(),
            table: self.main.clone(),
            dead: self.dead.clone(),
            store: self.lake.store().clone(),
            log: Some((self.log.clone() as Arc<dyn EventLog>, self.name.clone())),
            decode: self.options.clone(),
        }
    }

    pub fn engine(&self) -> QueryEngine {
        engine(vec![self.source()])
    }

    /// Sends events; they are in the log when this returns.
    pub async fn send(&self, events: &[&str]) {
        let payloads = events.iter().map(|event| Bytes::copy_from_slice(event.as_bytes())).collect();
        self.log.append(&self.name, payloads).await.unwrap();
    }

    /// Sends one message that need not be text.
    pub async fn log_bytes(&self, payload: &[u8]) {
        self.log.append(&self.name, vec![Bytes::copy_from_slice(payload)]).await.unwrap();
    }

    /// Lands all that is in the log, as a loader does: one flush, dead letters first.
    pub async fn land(&self) {
        let flush = Flush::read(self).await;
        flush.commit_dead(self).await;
        flush.commit_main(self).await;
    }

    /// Does the first half of landing: as if the loader had stopped between its two commits.
    pub async fn land_dead_only(&self) {
        Flush::read(self).await.commit_dead(self).await;
    }
}

pub fn engine(sources: Vec<QuerySource>) -> QueryEngine {
    QueryEngine::new(sources, QueryOptions::default(), Clock::system()).unwrap()
}

/// The answer as text.
pub async fn text(engine: &QueryEngine, sql: &str, format: Format) -> Result<String, QueryError> {
    written(engine.run(sql).await?, format).await
}

pub async fn written(answer: Answer, format: Format) -> Result<String, QueryError> {
    let chunks: Vec<Bytes> = format.write(answer).try_collect().await?;
    Ok(String::from_utf8(chunks.concat()).unwrap())
}

/// The answer's rows as CSV without the header, lines joined by `|`.
pub async fn rows(engine: &QueryEngine, sql: &str) -> String {
    let csv = text(engine, sql, Format::Csv).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    csv.trim_end().split("\r\n").skip(1).collect::<Vec<_>>().join("|")
}

/// The message a statement is refused with, wherever it comes.
pub async fn refusal(engine: &QueryEngine, sql: &str) -> QueryError {
    match text(engine, sql, Format::Csv).await {
        Ok(answer) => panic!("{sql} was answered: {answer}"),
        Err(error) => error,
    }
}

fn table(kind: Kind, lake: &Lake, name: &str, clock: &Clock) -> Arc<dyn Table> {
    match kind {
        Kind::Delta => Arc::new(DeltaTable::new(lake.clone(), name, clock.clone())),
        Kind::Parquet => Arc::new(ParquetTable::new(lake.clone(), name, clock.clone())),
    }
}

async fn open_log(folder: &std::path::Path, topic: &str, clock: Clock) -> Arc<EmbeddedLog> {
    let log = EmbeddedLog::open(EmbeddedOptions::new(folder), clock).unwrap();
    log.create_topic(topic).await.unwrap();
    Arc::new(log)
}

pub fn decode_options() -> Arc<DecodeOptions> {
    Arc::new(DecodeOptions::default())
}

type Part = (PartitionId, OffsetRange, RecordBatch);

/// Everything between the table's positions and the log's end.
struct Flush {
    log: LogId,
    starts: Positions,
    schema: SchemaRef,
    ranges: OffsetRanges,
    rows: Vec<Part>,
    dead: Vec<Part>,
}

impl Flush {
    async fn read(stream: &Stream) -> Self {
        let description = stream.log.describe(&stream.name).await.unwrap();
        let starts: Positions = description.partitions.iter().map(|(p, range)| (*p, range.start())).collect();
        let initial = decode::columns::initial_schema(&stream.options);
        let state = ready(&*stream.main, &initial, &description.id, &starts).await;
        let ahead = stream.log.read(&stream.name, &state.positions, usize::MAX).await.unwrap();
        let mut decoder = Decoder::new(stream.options.clone(), state.schema.clone()).unwrap();
        let mut discovered = Discovered::default();
        for (partition, (_, records)) in &ahead.partitions {
            discovered.merge(decoder.decode(*partition, records).discovered);
        }
        let schema = discovered.extend(&state.schema, &stream.options);
        let mut decoder = Decoder::new(stream.options.clone(), schema.clone()).unwrap();
        let mut flush = Self {
            log: description.id,
            starts,
            schema,
            ranges: OffsetRanges::default(),
            rows: Vec::new(),
            dead: Vec::new(),
        };
        for (partition, (range, records)) in ahead.partitions {
            let decoded = decoder.decode(partition, &records);
            flush.ranges.extend(partition, range).unwrap();
            flush.rows.push((partition, range, decoded.rows));
            flush
                .dead
                .extend(decoded.dead.filter(|dead| dead.num_rows() > 0).map(|dead| (partition, range, dead)));
        }
        flush
    }

    async fn commit_dead(&self, stream: &Stream) {
        if self.dead.is_empty() {
            return;
        }
        let schema = decode::columns::dead_letter_schema();
        let state = ready(&*stream.dead, &schema, &self.log, &self.starts).await;
        let ranges = to_the_same_ends(&state.positions, &self.ranges);
        let dead: Vec<Part> = self.dead.iter().map(|part| not_landed(part, &ranges)).collect();
        commit(&*stream.dead, &schema, &dead, ranges, &self.log, &stream.clock).await;
    }

    async fn commit_main(&self, stream: &Stream) {
        commit(&*stream.main, &self.schema, &self.rows, self.ranges.clone(), &self.log, &stream.clock).await;
    }
}

async fn ready(table: &dyn Table, schema: &SchemaRef, log: &LogId, starts: &Positions) -> TableState {
    if table.load(log).await.unwrap().is_none() {
        table.create(schema, log).await.unwrap();
    }
    table.begin(log, starts).await.unwrap()
}

fn to_the_same_ends(positions: &Positions, ranges: &OffsetRanges) -> OffsetRanges {
    let ranges = ranges.iter().map(|(partition, range)| {
        (partition, OffsetRange::new(positions.get(partition).unwrap(), range.end()))
    });
    ranges.collect()
}

/// The dead letters of a part that an earlier flush, which got no further, has not landed already.
fn not_landed((partition, range, dead): &Part, ranges: &OffsetRanges) -> Part {
    let start = i64::try_from(ranges.get(*partition).unwrap().start().0).unwrap();
    let offsets = dead.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
    let first = offsets.values().partition_point(|offset| *offset < start);
    (*partition, *range, dead.slice(first, dead.num_rows() - first))
}

async fn commit(
    table: &dyn Table,
    schema: &SchemaRef,
    rows: &[Part],
    ranges: OffsetRanges,
    log: &LogId,
    clock: &Clock,
) {
    let batch_id = clock.new_id();
    let row_count = rows.iter().map(|(_, _, rows)| rows.num_rows() as u64).sum();
    let files = match table.layout() {
        Layout::ByEventDate => files_by_date(rows, schema, &ranges, &batch_id),
        Layout::ByLogPartition => files_by_partition(rows, &ranges, &batch_id, log),
    };
    let mut stored = Vec::new();
    for file in files {
        stored.push(table.store(file).await.unwrap());
    }
    let (dead_count, skipped_count) = (0, 0);
    let commit = Commit {
        batch_id,
        log: log.clone(),
        ranges,
        files: stored,
        schema: schema.clone(),
        row_count,
        dead_count,
        skipped_count,
        gap: false,
    };
    let outcome = table.commit(&commit).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Landed(_)), "{outcome:?}");
}

/// One file for each partition, also without rows: the file is the commit.
fn files_by_partition(rows: &[Part], ranges: &OffsetRanges, batch_id: &str, log: &LogId) -> Vec<EncodedFile> {
    let parts =
        rows.iter().filter(|(partition, _, _)| ranges.get(*partition).is_some_and(|range| !range.is_empty()));
    let files = parts.enumerate().map(|(index, (partition, _, rows))| {
        let range = ranges.get(*partition).unwrap();
        let footer = FileFooter {
            batch_id: batch_id.to_owned(),
            log: log.clone(),
            partition: *partition,
            range,
            row_count: rows.num_rows() as u64,
            dead_count: 0,
            skipped_count: 0,
            gap: false,
        };
        let pairs = footer.pairs().into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value));
        let ranges = OffsetRanges::from_iter([(*partition, range)]);
        file(batch_id, index, None, ranges, rows, Some(pairs.collect()))
    });
    files.collect()
}

fn files_by_date(
    rows: &[Part],
    schema: &SchemaRef,
    ranges: &OffsetRanges,
    batch_id: &str,
) -> Vec<EncodedFile> {
    let all = concat_batches(&rows[0].2.schema(), rows.iter().map(|(_, _, rows)| rows)).unwrap();
    let Ok(date) = schema.index_of("event_date") else {
        return vec![file(batch_id, 0, None, ranges.clone(), &all, None)];
    };
    let dates = all.column(date).as_primitive::<Date32Type>();
    let days: std::collections::BTreeSet<i32> = dates.values().iter().copied().collect();
    let files = days.into_iter().enumerate().map(|(index, day)| {
        let of_day = eq(dates, &Scalar::new(Date32Array::from(vec![day]))).unwrap();
        let mut rows = filter_record_batch(&all, &of_day).unwrap();
        rows.remove_column(date);
        file(batch_id, index, Some(day), ranges.clone(), &rows, None)
    });
    files.collect()
}

fn file(
    batch_id: &str,
    index: usize,
    event_date: Option<i32>,
    ranges: OffsetRanges,
    rows: &RecordBatch,
    key_values: Option<Vec<KeyValue>>,
) -> EncodedFile {
    let properties = WriterProperties::builder().set_key_value_metadata(key_values).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    EncodedFile {
        batch_id: batch_id.to_owned(),
        index: u32::try_from(index).unwrap(),
        event_date,
        ranges,
        row_count: rows.num_rows() as u64,
        bytes: writer.into_inner().unwrap().into(),
        column_stats: column_stats(rows),
    }
}

/// Bounds of the columns that have them.
fn column_stats(rows: &RecordBatch) -> Vec<ColumnStats> {
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns());
    let plain = columns.filter(|(field, _)| !field.data_type().is_nested());
    let stats = plain.map(|(field, column)| {
        let (min, max) = bounds(column);
        ColumnStats { column: field.name().clone(), min, max, null_count: Some(column.null_count() as u64) }
    });
    stats.collect()
}

fn bounds(column: &ArrayRef) -> (Option<StatValue>, Option<StatValue>) {
    use arrow::compute::{max, max_string, min, min_string};
    match column.data_type() {
        DataType::Int64 => {
            let column = column.as_primitive::<Int64Type>();
            (min(column).map(StatValue::Long), max(column).map(StatValue::Long))
        }
        DataType::Float64 => {
            let column = column.as_primitive::<Float64Type>();
            (min(column).map(StatValue::Double), max(column).map(StatValue::Double))
        }
        DataType::Timestamp(_, _) => {
            let column = column.as_primitive::<TimestampMicrosecondType>();
            (min(column).map(StatValue::TimestampMicros), max(column).map(StatValue::TimestampMicros))
        }
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            let text = |value: Option<&str>| value.map(|value| StatValue::String(value.to_owned()));
            (text(min_string(column)), text(max_string(column)))
        }
        _ => (None, None),
    }
}
