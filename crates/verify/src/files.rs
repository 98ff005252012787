//! Whether a data file is there and is what was written, and which places of the log its rows have.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use decode::repair::readings;
use decode::{columns, law};
use event::{Offset, OffsetRange, PartitionId, limits};
use futures::{StreamExt, TryStreamExt};
use object_store::{Error, ObjectStoreExt};
use parquet::errors::ParquetError;
use table::checksum::{Summing, find_seal};
use table::rows::{Source, read};
use table::{Checksum, DataFile, Lake, PastFile, TableError};

use crate::report::{Kind, Problem};

/// Bytes at a file's end in which its seal is looked for: footers are smaller.
const TAIL_BYTES: u64 = 4 * 1024 * 1024;

/// Where a row stands in the log, and whether it was replayed.
pub(crate) const PLACE: [&str; 3] = [columns::PARTITION, columns::OFFSET, columns::REPLAYED_AT];

/// Which of the two tables of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Rows,
    Dead,
}

/// One row, as far as verifying needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fact {
    pub(crate) partition: PartitionId,
    pub(crate) offset: Offset,
    /// Of what the row stands for; zero where it is compared with nothing.
    pub(crate) digest: u128,
    pub(crate) replayed: bool,
}

/// What was found in one file.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    pub(crate) facts: Vec<Fact>,
    /// For each dead letter the events that a replay may make of it, by their digests.
    pub(crate) readings: Vec<Vec<u128>>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) bytes: u64,
    pub(crate) has_checksum: bool,
}

/// How files are examined.
#[derive(Debug, Clone)]
pub(crate) struct Examiner {
    pub(crate) lake: Lake,
    pub(crate) table: String,
    pub(crate) which: Which,
    /// Whether `_id` holds the event's own field.
    pub(crate) own_id: bool,
    /// Offsets whose contents are compared with the log.
    pub(crate) compared: Arc<BTreeMap<PartitionId, OffsetRange>>,
}

impl Examiner {
    /// Reads all of a file.
    ///
    /// # Errors
    /// When the lake cannot be read. What is wrong with the file itself is no error, but found.
    pub(crate) async fn examine(
        &self,
        file: &DataFile,
        told: Option<&PastFile>,
    ) -> Result<Examined, TableError> {
        let mut found = Examined { bytes: file.size_bytes, ..Examined::default() };
        let source = match self.fetch(file).await? {
            Ok(source) => source,
            Err(problem) => return Ok(Examined { problems: vec![problem], ..found }),
        };
        match self.check_sum(file, &source, told).await? {
            Ok(has_checksum) => found.has_checksum = has_checksum,
            Err(problem) => {
                found.has_checksum = true;
                found.problems.push(problem);
            }
        }
        match self.facts(source, &mut found).await {
            Ok(()) => {}
            Err(Unread::Store(error)) => return Err(self.lake.explain(&file.path, &error)),
            Err(Unread::Damaged(reason)) => {
                found.problems.push(self.damaged(file, &reason));
                return Ok(found);
            }
        }
        let row_count = found.facts.len() as u64;
        let said = told.and_then(|told| told.row_count).or(file.row_count);
        if let Some(said) = said.filter(|said| *said != row_count) {
            found
                .problems
                .push(self.damaged(file, &format!("it has {row_count} rows, and was written with {said}")));
        }
        Ok(found)
    }

    fn damaged(&self, file: &DataFile, reason: &str) -> Problem {
        Problem::new(Kind::FileDamaged, &self.table, format!("{}: {reason}", file.path)).file(&file.path)
    }

    /// The file's bytes, or a way to them where they are too many to hold.
    async fn fetch(&self, file: &DataFile) -> Result<Result<Source, Problem>, TableError> {
        let explain = |error: Error| self.lake.explain(&file.path, &error);
        let found = match self.lake.store().get(&file.path).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => {
                let said = format!("{} is part of the table, and is not there", file.path);
                return Ok(Err(Problem::new(Kind::FileMissing, &self.table, said).file(&file.path)));
            }
            Err(error) => return Err(explain(error)),
        };
        let (have, said) = (found.meta.size, file.size_bytes);
        if have != said {
            let reason = format!("it has {have} bytes, and was written with {said}");
            return Ok(Err(self.damaged(file, &reason)));
        }
        if have > limits::VERIFY_HELD_BYTES_MAX {
            let store = Arc::clone(self.lake.store());
            return Ok(Ok(Source::Stored { store, path: file.path.clone(), size_bytes: have }));
        }
        Ok(Ok(Source::Held(found.bytes().await.map_err(explain)?)))
    }

    /// Whether there is a checksum, and it holds.
    async fn check_sum(
        &self,
        file: &DataFile,
        source: &Source,
        told: Option<&PastFile>,
    ) -> Result<Result<bool, Problem>, TableError> {
        let tail = self.tail(file, source).await?;
        let (checksum, mut sum) = match (told.and_then(|told| told.checksum), find_seal(&tail)) {
            (Some(checksum), _) => (checksum, Summing::default()),
            (None, Some(seal)) => {
                let before = file.size_bytes - tail.len() as u64;
                let place = |at: usize| before + at as u64;
                (seal.checksum, Summing::with_zeros_at(place(seal.digits.start)..place(seal.digits.end)))
            }
            (None, None) => return Ok(Ok(false)),
        };
        match source {
            Source::Held(bytes) => sum.add(bytes),
            Source::Stored { store, path, .. } => {
                let explain = |error: Error| self.lake.explain(path, &error);
                let mut pieces = store.get(path).await.map_err(explain)?.into_stream();
                while let Some(piece) = pieces.try_next().await.map_err(explain)? {
                    sum.add(&piece);
                }
            }
        }
        let (Checksum::Bytes(expected) | Checksum::Sealed(expected)) = checksum;
        if expected == sum.digest() {
            return Ok(Ok(true));
        }
        Ok(Err(self.damaged(file, "its checksum is not that of what was written")))
    }

    async fn tail(&self, file: &DataFile, source: &Source) -> Result<Bytes, TableError> {
        match source {
            Source::Held(bytes) => Ok(bytes.slice(bytes.len().saturating_sub(TAIL_BYTES as usize)..)),
            Source::Stored { store, path, size_bytes } => {
                let tail = store.get_range(path, size_bytes.saturating_sub(TAIL_BYTES)..*size_bytes).await;
                tail.map_err(|error| self.lake.explain(&file.path, &error))
            }
        }
    }

    /// Columns beside a row's place are read only where they are compared with something.
    async fn facts(&self, source: Source, found: &mut Examined) -> Result<(), Unread> {
        if self.which == Which::Rows && self.compared.is_empty() {
            self.pass(source.clone(), Some(&PLACE), found).await?;
            if !found.facts.iter().any(|fact| fact.replayed) {
                return Ok(());
            }
            found.facts.clear();
        }
        self.pass(source, None, found).await
    }

    async fn pass(
        &self,
        source: Source,
        columns: Option<&[&str]>,
        found: &mut Examined,
    ) -> Result<(), Unread> {
        let mut batches = read(source, columns).await?;
        while let Some(batch) = batches.next().await {
            self.take(&batch?, columns.is_none(), found)?;
        }
        Ok(())
    }

    fn take(&self, batch: &RecordBatch, whole: bool, found: &mut Examined) -> Result<(), Unread> {
        let places = Places::of(batch)?;
        let replayed_at = batch.column_by_name(columns::REPLAYED_AT);
        for at in 0..batch.num_rows() {
            let (partition, offset) = places.get(at)?;
            let replayed = replayed_at.is_some_and(|column| column.is_valid(at));
            let compared = self.compared.get(&partition).is_some_and(|span| span.contains(offset));
            let digest = match self.which {
                Which::Rows if whole && (compared || replayed) => self.row_digest(batch, at),
                Which::Rows => 0,
                Which::Dead => {
                    let raw = raw(batch, at)?;
                    let events = readings(raw);
                    let events = events.iter().filter_map(|reading| law::Event::read(reading));
                    found.readings.push(events.map(|event| event.digest()).collect());
                    if compared { dead_digest(raw) } else { 0 }
                }
            };
            found.facts.push(Fact { partition, offset, digest, replayed });
        }
        Ok(())
    }

    /// One that no event has, when row and residual contradict each other.
    fn row_digest(&self, batch: &RecordBatch, at: usize) -> u128 {
        law::Event::of_row(batch, at, self.own_id).map_or(u128::MAX, |event| event.digest())
    }
}

/// The bytes of a dead letter.
pub(crate) fn raw(batch: &RecordBatch, at: usize) -> Result<&[u8], Unread> {
    let raw = batch.column_by_name(columns::RAW).and_then(|raw| raw.as_binary_opt::<i32>());
    raw.map(|raw| raw.value(at)).ok_or_else(|| Unread::Damaged("it has no column raw of bytes".to_owned()))
}

/// Digest of a dead letter's bytes.
pub(crate) fn dead_digest(raw: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(raw)
}

/// Why rows could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The file is not what it should be.
    Damaged(String),
    /// The store did not give it.
    Store(Error),
}

impl From<ParquetError> for Unread {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(cause) => match cause.downcast::<Error>() {
                Ok(error) => Self::Store(*error),
                Err(cause) => Self::Damaged(cause.to_string()),
            },
            other => Self::Damaged(format!("it cannot be read as Parquet: {other}")),
        }
    }
}

/// The places of a batch's rows in the log.
pub(crate) struct Places<'a> {
    partitions: &'a arrow_array::PrimitiveArray<Int32Type>,
    offsets: &'a arrow_array::PrimitiveArray<Int64Type>,
}

impl<'a> Places<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, Unread> {
        let partitions = batch.column_by_name(columns::PARTITION).and_then(|c| c.as_primitive_opt());
        let offsets = batch.column_by_name(columns::OFFSET).and_then(|c| c.as_primitive_opt());
        match (partitions, offsets) {
            (Some(partitions), Some(offsets)) => Ok(Self { partitions, offsets }),
            _ => Err(Unread::Damaged("it lacks _partition or _offset".to_owned())),
        }
    }

    pub(crate) fn get(&self, at: usize) -> Result<(PartitionId, Offset), Unread> {
        let partition = u32::try_from(self.partitions.value(at));
        let offset = u64::try_from(self.offsets.value(at));
        let is_null = self.partitions.is_null(at) || self.offsets.is_null(at);
        match (partition, offset) {
            (Ok(partition), Ok(offset)) if !is_null => Ok((PartitionId(partition), Offset(offset))),
            _ => Err(Unread::Damaged(format!("row {at} of a batch has no place in the log"))),
        }
    }
}
