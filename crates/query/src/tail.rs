//! Decoded records that have not landed yet, kept from statement to statement.
//!
//! A tail begins at the positions of one table version and grows at its end. It is what the loader
//! would make of the same records in one flush: they are decoded with the table's schema, and once
//! more with the columns that were discovered in all of them together.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use decode::{DecodeError, DecodeOptions, Decoded, Decoder, Discovered};
use event::{Offset, OffsetRange, PartitionId, Positions, Records, TimestampMicros};
use eventlog::Ahead;

/// Rows DataFusion is given at a time.
const BATCH_ROWS: usize = 8_192;

/// What the log holds beyond a table version, decoded. Clones share the rows.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    base: SchemaRef,
    schema: SchemaRef,
    discovered: Discovered,
    partitions: BTreeMap<PartitionId, Part>,
    cut: bool,
}

/// One partition of a tail. Batches are in offset order.
#[derive(Debug, Clone)]
struct Part {
    range: OffsetRange,
    payload_bytes: usize,
    rows: Vec<RecordBatch>,
    dead: Vec<RecordBatch>,
}

/// A tail after records were added.
pub(crate) enum Extended {
    /// It has them.
    Tail(Box<Tail>),
    /// They brought columns that the rows already held were decoded without: begin anew.
    SchemaGrew,
}

impl Tail {
    /// A tail without records behind a table version with the columns `base`.
    pub(crate) fn empty(base: SchemaRef) -> Self {
        let schema = base.clone();
        Self { base, schema, discovered: Discovered::default(), partitions: BTreeMap::new(), cut: false }
    }

    /// The columns of the table version it stands behind.
    pub(crate) fn base(&self) -> &SchemaRef {
        &self.base
    }

    /// The columns of the table and of its rows.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether the log held more than may be read.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Bytes of the payloads it was decoded from.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.partitions.values().map(|part| part.payload_bytes).sum()
    }

    /// Drops what lies below `starts`, because it landed, and partitions it cannot continue from
    /// there: those it knows only beyond the start, and those it does not reach.
    pub(crate) fn trim(&mut self, starts: &Positions) {
        self.partitions.retain(|partition, part| {
            let start = starts.get(*partition);
            start.is_some_and(|start| part.range.start() <= start && start <= part.range.end())
        });
        for (partition, part) in &mut self.partitions {
            if let Some(start) = starts.get(*partition) {
                part.trim(start);
            }
        }
    }

    /// Where reading goes on, for a tail that begins at `starts`.
    pub(crate) fn ends(&self, starts: &Positions) -> Positions {
        let end = |partition| self.partitions.get(&partition).map(|part| part.range.end());
        starts.iter().map(|(partition, start)| (partition, end(partition).unwrap_or(start))).collect()
    }

    /// Decodes what was read at its end. Takes as long as decoding does: not for an async thread.
    pub(crate) fn extend(
        mut self,
        ahead: Ahead,
        options: &Arc<DecodeOptions>,
    ) -> Result<Extended, DecodeError> {
        let mut decoder = Decoder::new(options.clone(), self.base.clone())?;
        let mut discovered = self.discovered.clone();
        let mut fresh = Vec::new();
        for (partition, (range, records)) in ahead.partitions {
            let mut decoded = decoder.decode(partition, &records);
            let found = std::mem::take(&mut decoded.discovered);
            let undecided = (!found.is_empty()).then_some(records.clone());
            discovered.merge(found);
            fresh.push((partition, range, records.payload_bytes(), decoded, undecided));
        }
        let schema = discovered.extend(&self.base, options);
        if schema != self.schema && self.holds_rows() {
            return Ok(Extended::SchemaGrew);
        }
        let mut again = Decoder::new(options.clone(), schema.clone())?;
        self.schema = schema;
        self.discovered = discovered;
        self.cut = ahead.cut;
        let has_grown = self.schema != self.base;
        for (partition, range, payload_bytes, decoded, undecided) in fresh {
            let decoded =
                decode_again(&mut again, partition, decoded, undecided.filter(|_| has_grown).as_ref());
            self.push(partition, range, payload_bytes, decoded);
        }
        Ok(Extended::Tail(Box::new(self)))
    }

    fn holds_rows(&self) -> bool {
        self.partitions.values().any(|part| !part.rows.is_empty())
    }

    fn push(&mut self, partition: PartitionId, range: OffsetRange, payload_bytes: usize, decoded: Decoded) {
        let part = self.partitions.entry(partition).or_insert_with(|| Part::empty(range.start()));
        part.range = OffsetRange::new(part.range.start(), range.end());
        part.payload_bytes += payload_bytes;
        add(&mut part.rows, decode::conform(&decoded.rows, &self.schema));
        if let Some(dead) = decoded.dead {
            add(&mut part.dead, dead);
        }
    }

    /// The rows, in pieces of a size that DataFusion likes.
    pub(crate) fn rows(&self) -> Vec<RecordBatch> {
        self.partitions.values().flat_map(|part| &part.rows).flat_map(pieces).collect()
    }

    /// The dead letters from the positions `landed` on: those below are in their table already.
    pub(crate) fn dead(&self, landed: &Positions, schema: &SchemaRef) -> Vec<RecordBatch> {
        let mut found = Vec::new();
        for (partition, part) in &self.partitions {
            let from = landed.get(*partition).unwrap_or(Offset::ZERO);
            let later = part.dead.iter().map(|dead| from_offset(dead, from));
            found.extend(later.filter(|dead| dead.num_rows() > 0).map(|dead| decode::conform(&dead, schema)));
        }
        found
    }

    /// When the log took the newest of its rows.
    pub(crate) fn newest_received_at(&self) -> Option<TimestampMicros> {
        let last = self.partitions.values().filter_map(|part| part.rows.last());
        last.filter_map(last_received_at).max()
    }
}

impl Part {
    fn empty(start: Offset) -> Self {
        Self { range: OffsetRange::new(start, start), payload_bytes: 0, rows: Vec::new(), dead: Vec::new() }
    }

    fn trim(&mut self, start: Offset) {
        let before = count(&self.rows) + count(&self.dead);
        for batches in [&mut self.rows, &mut self.dead] {
            batches.iter_mut().for_each(|batch| *batch = from_offset(batch, start));
            batches.retain(|batch| batch.num_rows() > 0);
        }
        let after = count(&self.rows) + count(&self.dead);
        self.payload_bytes = self.payload_bytes.checked_mul(after).map_or(0, |bytes| bytes / before.max(1));
        self.range = OffsetRange::new(start, self.range.end());
    }
}

/// The second decoding, for what met fields that had no column; the rest only gets null columns.
fn decode_again(
    again: &mut Decoder,
    partition: PartitionId,
    first: Decoded,
    undecided: Option<&Records>,
) -> Decoded {
    match undecided {
        Some(records) => again.decode(partition, records),
        None => first,
    }
}

/// Rows in all batches.
pub(crate) fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// Adds a batch at the end and keeps the number of batches logarithmic: many small ones become one.
fn add(batches: &mut Vec<RecordBatch>, batch: RecordBatch) {
    if batch.num_rows() == 0 {
        return;
    }
    let mut batch = batch;
    while let Some(last) = batches.pop_if(|last| last.num_rows() <= 2 * batch.num_rows()) {
        let joined = concat_batches(&batch.schema(), [&last, &batch]);
        batch = joined.expect("both batches were conformed to one schema");
    }
    batches.push(batch);
}

fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let starts = (0..batch.num_rows()).step_by(BATCH_ROWS);
    starts.map(|start| batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start)))
}

/// The rows of `batch` from `offset` on. Shares its buffers.
fn from_offset(batch: &RecordBatch, offset: Offset) -> RecordBatch {
    let offsets = batch.column_by_name("_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let offsets = offsets.expect("the decoder gives every row its offset").values();
    let first = offsets.partition_point(|row| u64::try_from(*row).is_ok_and(|row| row < offset.0));
    batch.slice(first, batch.num_rows() - first)
}

fn last_received_at(batch: &RecordBatch) -> Option<TimestampMicros> {
    let times = batch.column_by_name("_received_at")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let last = times.len().checked_sub(1)?;
    times.is_valid(last).then(|| TimestampMicros(times.value(last)))
}
