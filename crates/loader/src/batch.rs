//! Stage 3: collects until rows, bytes or age say so, then fixes the schema.
//!
//! The type of a new column is decided over everything one batch knows of it, so what met unknown
//! fields is decoded a second time when the batch is cut. That costs once per new field.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::decode::{Conflicts, DecodeError, Discovered, conform};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use event::invariants::{Invariant, uphold};
use event::{OffsetRanges, PartitionId};

use crate::decode::{DecodeStage, DecodedFetch};
use crate::options::FlushLimits;

/// A batch that still grows.
#[derive(Debug, Default)]
pub(crate) struct OpenBatch {
    ranges: OffsetRanges,
    fetches: Vec<DecodedFetch>,
    discovered: Discovered,
    record_count: u64,
    event_bytes: u64,
    opened_at: Option<Duration>,
}

/// Name of a batch, and which run of the worker it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct BatchLabel {
    /// Identity of its commit.
    pub(crate) id: String,
    /// Place in the order of this worker's batches.
    pub(crate) sequence: u64,
    /// Counts how often the worker went back to the table's positions; a batch of a former epoch
    /// is never committed.
    pub(crate) epoch: u64,
}

/// Records by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) dead: u64,
    pub(crate) skipped: u64,
}

/// A cut batch: its ranges, its rows in one schema, its dead letters.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) label: BatchLabel,
    pub(crate) ranges: OffsetRanges,
    pub(crate) schema: SchemaRef,
    pub(crate) rows: Vec<(PartitionId, RecordBatch)>,
    pub(crate) dead: Vec<(PartitionId, RecordBatch)>,
    pub(crate) counts: BTreeMap<PartitionId, Counts>,
    pub(crate) conflicts: Conflicts,
}

impl OpenBatch {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Takes a fetch behind what it has of that partition.
    pub(crate) fn push(&mut self, mut fetch: DecodedFetch, now: Duration) {
        let extended = self.ranges.extend(fetch.partition, fetch.range);
        uphold(Invariant::Chain, extended.is_ok(), || {
            format!("batch given {} of {}", fetch.range, fetch.partition)
        });
        self.record_count += fetch.record_count;
        self.event_bytes += fetch.event_bytes;
        self.opened_at.get_or_insert(now);
        self.discovered.merge(std::mem::take(&mut fetch.decoded.discovered));
        self.fetches.push(fetch);
    }

    /// Drops what it has of `partition`. The fields discovered there stay: that they exist is true.
    pub(crate) fn forget(&mut self, partition: PartitionId) {
        let dropped = self.fetches.extract_if(.., |fetch| fetch.partition == partition);
        for fetch in dropped {
            self.record_count -= fetch.record_count;
            self.event_bytes -= fetch.event_bytes;
        }
        self.ranges.remove(partition);
        if self.fetches.is_empty() {
            *self = Self::default();
        }
    }

    /// Whether it is as large as a batch may get.
    pub(crate) fn is_full(&self, limits: &FlushLimits) -> bool {
        self.record_count >= limits.rows_max || self.event_bytes >= limits.bytes_max
    }

    /// When it must be cut for its age, by the monotonic clock.
    pub(crate) fn due_at(&self, limits: &FlushLimits) -> Option<Duration> {
        self.opened_at.map(|opened_at| opened_at.saturating_add(limits.age_max))
    }

    /// Ends it. Fields without a column get theirs now; `stage` goes on with the new schema.
    ///
    /// # Errors
    /// When the decoder refuses the extended schema.
    pub(crate) fn cut(mut self, label: BatchLabel, stage: &mut DecodeStage) -> Result<Batch, DecodeError> {
        let schema = self.discovered.extend(stage.schema(), stage.options());
        if schema != *stage.schema() {
            *stage = DecodeStage::new(Arc::clone(stage.options()), &schema)?;
            for fetch in &mut self.fetches {
                stage.decode_again(fetch);
            }
        }
        Ok(self.settle(label, schema))
    }

    fn settle(self, label: BatchLabel, schema: SchemaRef) -> Batch {
        let mut batch = Batch {
            label,
            ranges: self.ranges,
            rows: Vec::with_capacity(self.fetches.len()),
            dead: Vec::new(),
            counts: BTreeMap::new(),
            conflicts: Conflicts::default(),
            schema,
        };
        for fetch in self.fetches {
            batch.take(fetch);
        }
        batch
    }
}

impl Batch {
    fn take(&mut self, fetch: DecodedFetch) {
        let DecodedFetch { partition, decoded, record_count, .. } = fetch;
        let counts = self.counts.entry(partition).or_default();
        let rows = decoded.rows.num_rows() as u64;
        let dead = decoded.dead.as_ref().map_or(0, |dead| dead.num_rows() as u64);
        uphold(Invariant::NoLoss, rows + dead + decoded.skipped_count == record_count, || {
            format!("{record_count} records of partition {partition} became {rows} rows, {dead} dead letters")
        });
        counts.rows += rows;
        counts.dead += dead;
        counts.skipped += decoded.skipped_count;
        self.conflicts.merge(decoded.conflicts);
        if rows > 0 {
            self.rows.push((partition, conform(&decoded.rows, &self.schema)));
        }
        if let Some(letters) = decoded.dead.filter(|letters| letters.num_rows() > 0) {
            self.dead.push((partition, letters));
        }
    }

    /// What became of all its records together.
    pub(crate) fn total(&self) -> Counts {
        self.counts.values().fold(Counts::default(), |sum, one| Counts {
            rows: sum.rows + one.rows,
            dead: sum.dead + one.dead,
            skipped: sum.skipped + one.skipped,
        })
    }
}
