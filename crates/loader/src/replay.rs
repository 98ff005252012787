//! Dead letters that are events now become rows, each once.
//!
//! A replayed row keeps the place of its dead letter in the log, and says in `_replayed_at` when it
//! landed; the dead letter stays where it is. Replays of a partition are one chain of their own
//! ([`event::LogId::replays`]): a replay reads how many have landed, then which dead letters those
//! landed, and commits the rest on condition that none has landed since. So two at once cannot land
//! the same dead letter, and one that was cut off can be run again
//! (`docs/decisions/0007-replays-are-a-chain.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use decode::repair::repaired;
use decode::{DecodeError, DecodeOptions, Decoded, Decoder, Discovered, Repair, columns, conform};
use event::{Clock, LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions, RecordsBuilder};
use event::{TimestampMicros, limits};
use futures::{StreamExt, TryStreamExt, stream};
use parquet::errors::ParquetError;
use table::lake::Pauses;
use table::rows::{Source, read};
use table::{Commit, CommitOutcome, DataFile, Lake, Snapshot, Table, TableError};

use crate::batch::Counts;
use crate::encode::Encoder;

/// A dead letter to be tried again.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Its partition in the log.
    pub partition: PartitionId,
    /// Its offset there.
    pub offset: Offset,
    /// When the log took it.
    pub received_at: TimestampMicros,
    /// Its bytes.
    pub raw: Bytes,
}

/// Replays dead letters into one table.
#[derive(Debug, Clone)]
pub struct Replayer {
    /// The lake the table is on.
    pub lake: Lake,
    /// The table their events belong into.
    pub main: Arc<dyn Table>,
    /// The log the table is filled from.
    pub log: LogId,
    /// How bytes become columns; columns by hand are given types that the table does not have yet.
    pub decode: Arc<DecodeOptions>,
    /// Repairs to be made where they apply.
    pub repairs: Vec<Repair>,
    /// For ids and for `_replayed_at`.
    pub clock: Clock,
}

/// What became of dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Landed now.
    pub landed: u64,
    /// Had landed before.
    pub before: u64,
    /// Are still no events: place, code and detail.
    pub still_dead: Vec<(PartitionId, Offset, String, String)>,
    /// Values that fitted no column, and so are in `_residual`.
    pub conflicts: u64,
}

/// Why a replay ended.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The lake failed. What landed stays, and running it again lands the rest.
    #[error("{0}; run it again, nothing lands twice")]
    Table(#[from] TableError),
    /// The table cannot take the events.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A file could not be read or written as Parquet.
    #[error("a Parquet file: {0}")]
    Parquet(#[from] ParquetError),
    /// Other replays land all the time.
    #[error(
        "other replays were faster {} times; run it again when they are done",
        limits::COMMIT_ATTEMPTS_MAX
    )]
    Overtaken,
    /// The table is not there, or has a column in the way.
    #[error("{0}")]
    Refused(String),
}

type Place = (PartitionId, Offset);

impl Replayer {
    /// Lands those of `letters` that are events and have not landed yet, in one commit (plain
    /// Parquet: one per partition). At most [`limits::REPLAY_LETTERS_MAX`] letters.
    ///
    /// # Errors
    /// [`ReplayError`]; running it again is always safe.
    pub async fn replay(&self, letters: &[DeadLetter]) -> Result<Replayed, ReplayError> {
        let chain = self.log.replays();
        let mut landed = 0;
        for _ in 0..limits::COMMIT_ATTEMPTS_MAX {
            let at = self.positions(&chain, letters).await?;
            let snapshot = self.snapshot().await?;
            let done = self.replayed(&snapshot).await?;
            let left: Vec<&DeadLetter> =
                letters.iter().filter(|letter| !done.contains(&(letter.partition, letter.offset))).collect();
            let before = (letters.len() - left.len()) as u64 - landed;
            let decoded = self.decode(&left, &snapshot.schema)?;
            let summary = Replayed { landed, before, still_dead: decoded.dead, conflicts: decoded.conflicts };
            if decoded.rows.is_empty() {
                return Ok(summary);
            }
            let rows: u64 = decoded.rows.iter().map(|(_, rows)| rows.num_rows() as u64).sum();
            let commit = self.commit(&chain, &at, decoded.rows, &decoded.schema).await?;
            match self.land(&commit).await? {
                CommitOutcome::Landed(_) => return Ok(Replayed { landed: landed + rows, ..summary }),
                CommitOutcome::Fenced { landed: of_us, reason, .. } => {
                    tracing::info!(
                        table = self.main.name(),
                        reason,
                        "another replay was faster; reading again"
                    );
                    landed += rows_of(&commit, &of_us);
                }
            }
        }
        Err(ReplayError::Overtaken)
    }

    /// How many replays of each letter's partition have landed; of partitions without any, that is
    /// written down first.
    async fn positions(&self, chain: &LogId, letters: &[DeadLetter]) -> Result<Positions, ReplayError> {
        let gone = || ReplayError::Refused(format!("table {} does not exist", self.main.name()));
        let state = self.main.load(chain).await?.ok_or_else(gone)?;
        let partitions: BTreeSet<PartitionId> = letters.iter().map(|letter| letter.partition).collect();
        let new: Positions = partitions
            .into_iter()
            .filter(|partition| state.positions.get(*partition).is_none())
            .map(|partition| (partition, Offset::ZERO))
            .collect();
        if new.is_empty() {
            return Ok(state.positions);
        }
        Ok(self.main.begin(chain, &new).await?.positions)
    }

    async fn snapshot(&self) -> Result<Snapshot, ReplayError> {
        let gone = || ReplayError::Refused(format!("table {} does not exist", self.main.name()));
        self.main.snapshot(None).await?.ok_or_else(gone)
    }

    /// The places that replays have landed.
    async fn replayed(&self, snapshot: &Snapshot) -> Result<BTreeSet<Place>, ReplayError> {
        let files: Vec<DataFile> = snapshot.replayed_files(columns::REPLAYED_AT).cloned().collect();
        let read = stream::iter(files).map(|file| self.replayed_in(file));
        let places: Vec<Vec<Place>> = read.buffer_unordered(limits::STORE_PARALLEL_MAX).try_collect().await?;
        Ok(places.into_iter().flatten().collect())
    }

    async fn replayed_in(&self, file: DataFile) -> Result<Vec<Place>, ReplayError> {
        const PLACE: [&str; 3] = [columns::PARTITION, columns::OFFSET, columns::REPLAYED_AT];
        let store = Arc::clone(self.lake.store());
        let source = Source::Stored { store, path: file.path, size_bytes: file.size_bytes };
        let mut batches = read(source, Some(&PLACE)).await?;
        let mut places = Vec::new();
        while let Some(batch) = batches.next().await {
            places.extend(replayed_places(&batch?));
        }
        Ok(places)
    }

    /// Rows of `schema` and what it must grow by, and what is still no event.
    fn decode(&self, letters: &[&DeadLetter], schema: &SchemaRef) -> Result<Attempt, ReplayError> {
        let mut by_partition: BTreeMap<PartitionId, BTreeMap<Offset, &DeadLetter>> = BTreeMap::new();
        for letter in letters {
            by_partition.entry(letter.partition).or_default().insert(letter.offset, letter);
        }
        let mut decoder = Decoder::new(Arc::clone(&self.decode), Arc::clone(schema))?;
        let mut decoded = self.decode_all(&mut decoder, &by_partition);
        let mut discovered = Discovered::default();
        decoded.iter_mut().for_each(|(_, part)| discovered.merge(std::mem::take(&mut part.discovered)));
        let grown = discovered.extend(schema, &self.decode);
        if grown != *schema {
            decoder = Decoder::new(Arc::clone(&self.decode), grown)?;
            decoded = self.decode_all(&mut decoder, &by_partition);
        }
        let schema = columns::with_replayed_at(decoder.schema());
        let of_type = schema.field_with_name(columns::REPLAYED_AT).map(|field| field.data_type().clone());
        if of_type.ok() != Some(columns::timestamp_type()) {
            let name = columns::REPLAYED_AT;
            return Err(ReplayError::Refused(format!(
                "table {} has a column {name} of its own, which a replay needs; replay into another table",
                self.main.name()
            )));
        }
        Ok(Attempt::new(decoded, schema, self.clock.now()))
    }

    fn decode_all(
        &self,
        decoder: &mut Decoder,
        letters: &BTreeMap<PartitionId, BTreeMap<Offset, &DeadLetter>>,
    ) -> Vec<(PartitionId, Decoded)> {
        let decode = |(partition, letters): (&PartitionId, &BTreeMap<Offset, &DeadLetter>)| {
            let mut records = RecordsBuilder::new();
            for (offset, letter) in letters {
                records.push(*offset, letter.received_at, Some(&repaired(&letter.raw, &self.repairs)));
            }
            (*partition, decoder.decode(*partition, &records.finish()))
        };
        letters.iter().map(decode).collect()
    }

    /// The next replay of each partition that has rows.
    async fn commit(
        &self,
        chain: &LogId,
        at: &Positions,
        rows: Vec<(PartitionId, RecordBatch)>,
        schema: &SchemaRef,
    ) -> Result<Commit, ReplayError> {
        let batch_id = self.clock.new_id();
        let next = |partition| {
            let number = at.get(partition).unwrap_or(Offset::ZERO);
            (partition, OffsetRange::new(number, number.next()))
        };
        let ranges: OffsetRanges = rows.iter().map(|(partition, _)| next(*partition)).collect();
        let count = |rows: &RecordBatch| Counts { rows: rows.num_rows() as u64, ..Counts::default() };
        let counts: BTreeMap<_, _> = rows.iter().map(|(partition, rows)| (*partition, count(rows))).collect();
        let encoder = Encoder { batch_id: &batch_id, log: chain, layout: self.main.layout() };
        let mut files = Vec::new();
        for file in encoder.encode_rows(&rows, schema, &ranges, &counts)? {
            files.push(self.main.store(file).await?);
        }
        Ok(Commit {
            log: chain.clone(),
            ranges,
            row_count: counts.values().map(|counts| counts.rows).sum(),
            files,
            schema: Arc::clone(schema),
            dead_count: 0,
            skipped_count: 0,
            gap: false,
            batch_id,
        })
    }

    /// Commits until the outcome is known.
    async fn land(&self, commit: &Commit) -> Result<CommitOutcome, ReplayError> {
        let mut pauses = Pauses::default();
        loop {
            match self.main.commit(commit).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => pauses.wait_or(&self.clock, || error).await?,
            }
        }
    }
}

/// Rows of the part of `commit` that landed.
fn rows_of(commit: &Commit, landed: &OffsetRanges) -> u64 {
    let is_in = |file: &&table::StoredFile| file.ranges.iter().any(|(p, range)| landed.get(p) == Some(range));
    commit.files.iter().filter(is_in).map(|file| file.row_count).sum()
}

/// Letters decoded: rows to land, and what is still no event.
struct Attempt {
    rows: Vec<(PartitionId, RecordBatch)>,
    schema: SchemaRef,
    dead: Vec<(PartitionId, Offset, String, String)>,
    conflicts: u64,
}

impl Attempt {
    fn new(decoded: Vec<(PartitionId, Decoded)>, schema: SchemaRef, now: TimestampMicros) -> Self {
        let mut attempt = Self { rows: Vec::new(), schema, dead: Vec::new(), conflicts: 0 };
        for (partition, part) in decoded {
            attempt.conflicts += part.conflicts.iter().map(|(_, _, count)| count).sum::<u64>();
            attempt.dead.extend(part.dead.iter().flat_map(|dead| still_dead(partition, dead)));
            if part.rows.num_rows() > 0 {
                attempt.rows.push((partition, replayed_at(&part.rows, &attempt.schema, now)));
            }
        }
        attempt
    }
}

/// `rows` with the columns of `schema`, all of them replayed `now`.
fn replayed_at(rows: &RecordBatch, schema: &SchemaRef, now: TimestampMicros) -> RecordBatch {
    let conformed = conform(rows, schema);
    let mut arrays = conformed.columns().to_vec();
    let stamps = TimestampMicrosecondArray::from(vec![now.0; rows.num_rows()]).with_timezone("UTC");
    let index = schema.index_of(columns::REPLAYED_AT).expect("the caller's schema has the column");
    arrays[index] = Arc::new(stamps) as ArrayRef;
    RecordBatch::try_new(Arc::clone(schema), arrays).expect("the column has the type its caller checked")
}

fn still_dead(partition: PartitionId, dead: &RecordBatch) -> Vec<(PartitionId, Offset, String, String)> {
    let column =
        |name| dead.column_by_name(name).expect("dead letters have the columns of dead_letter_schema");
    let offsets = column(columns::OFFSET).as_primitive::<Int64Type>();
    let (reasons, details) =
        (column(columns::REASON).as_string::<i32>(), column(columns::DETAIL).as_string::<i32>());
    let letter = |at| {
        let offset = Offset(u64::try_from(offsets.value(at)).unwrap_or(0));
        (partition, offset, reasons.value(at).to_owned(), details.value(at).to_owned())
    };
    (0..dead.num_rows()).map(letter).collect()
}

/// The places of rows that were replayed.
fn replayed_places(batch: &RecordBatch) -> Vec<Place> {
    let column = |name| batch.column_by_name(name);
    let partitions = column(columns::PARTITION).and_then(|c| c.as_primitive_opt::<Int32Type>());
    let offsets = column(columns::OFFSET).and_then(|c| c.as_primitive_opt::<Int64Type>());
    let (Some(partitions), Some(offsets), Some(stamps)) = (partitions, offsets, column(columns::REPLAYED_AT))
    else {
        return Vec::new();
    };
    let place = |at| {
        let partition = PartitionId(u32::try_from(partitions.value(at)).ok()?);
        Some((partition, Offset(u64::try_from(offsets.value(at)).ok()?)))
    };
    (0..batch.num_rows()).filter(|at| stamps.is_valid(*at)).filter_map(place).collect()
}
