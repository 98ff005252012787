//! Rows of the table of dead letters.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, Date32Array, Int64Array, RecordBatch, StringArray};
use event::{PartitionId, Record};

use crate::check::DeadReason;
use crate::columns::dead_letter_schema;
use crate::decoder::{offset_of, partition_column, timestamps};

/// Collects payloads that are no events.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters<'a> {
    offsets: Vec<i64>,
    received_at: Vec<i64>,
    dates: Vec<i32>,
    reasons: Vec<&'static str>,
    details: Vec<String>,
    raw: Vec<&'a [u8]>,
}

impl<'a> DeadLetters<'a> {
    pub(crate) fn push(&mut self, record: Record<'_>, payload: &'a [u8], reason: &DeadReason) {
        self.offsets.push(offset_of(record));
        self.received_at.push(record.received_at.0);
        self.dates.push(record.received_at.day());
        self.reasons.push(reason.code());
        self.details.push(reason.to_string());
        self.raw.push(payload);
    }

    /// The rows; `None` when there is none.
    pub(crate) fn finish(self, partition: PartitionId) -> Option<RecordBatch> {
        if self.offsets.is_empty() {
            return None;
        }
        let columns: Vec<ArrayRef> = vec![
            partition_column(partition, self.offsets.len()),
            Arc::new(Int64Array::from(self.offsets)),
            timestamps(self.received_at),
            Arc::new(StringArray::from(self.reasons)),
            Arc::new(StringArray::from(self.details)),
            Arc::new(BinaryArray::from(self.raw)),
            Arc::new(Date32Array::from(self.dates)),
        ];
        let batch = RecordBatch::try_new(dead_letter_schema(), columns);
        Some(batch.expect("the columns stand in the schema's order and have one value per payload"))
    }
}
