//! Reading stored batches of one partition.

use event::{Offset, OffsetRange, PartitionId, Records, RecordsBuilder};

use super::shared::Shared;
use super::store::{bad_batch, failure};
use super::stored_batch::{BatchError, StoredBatch};
use super::topic::{Segment, Topic};
use crate::LogError;

/// When a scan stops before its range does. It takes the record that crosses `bytes`.
#[derive(Debug, Clone, Copy)]
pub struct ScanLimit {
    /// Payload bytes.
    pub bytes: usize,
    /// Records.
    pub records: usize,
}

/// Reads the records of `range`, from its start until its end or the limit.
/// Answers with the range that was read.
///
/// # Errors
/// [`LogError::Damaged`] when a batch is missing or not what was written.
pub fn scan(
    shared: &Shared,
    topic: &Topic,
    partition: PartitionId,
    range: OffsetRange,
    limit: ScanLimit,
) -> Result<(OffsetRange, Records), LogError> {
    let mut scan =
        Scan { shared, topic, partition, range, next: range.start(), limit, found: RecordsBuilder::new() };
    for segment in topic.segments.iter().filter(|segment| segment.overlaps(partition, range)) {
        if scan.is_done() {
            break;
        }
        scan.read_segment(segment)?;
    }
    if !scan.is_done() {
        return Err(scan.missing());
    }
    Ok((OffsetRange::new(range.start(), scan.next), scan.found.finish()))
}

struct Scan<'a> {
    shared: &'a Shared,
    topic: &'a Topic,
    partition: PartitionId,
    range: OffsetRange,
    next: Offset,
    limit: ScanLimit,
    found: RecordsBuilder,
}

impl Scan<'_> {
    fn is_done(&self) -> bool {
        self.next >= self.range.end()
            || self.found.payload_bytes() >= self.limit.bytes
            || self.found.len() >= self.limit.records
    }

    fn read_segment(&mut self, segment: &Segment) -> Result<(), LogError> {
        let entries = segment.entries_from(self.partition, self.next).map_err(|error| self.failed(&error))?;
        for entry in entries {
            if self.is_done() {
                break;
            }
            let (key, value) = entry.into_inner().map_err(|error| self.failed(&error))?;
            let batch =
                StoredBatch::decode(&self.topic.name, &key, &value).map_err(|error| self.bad(error))?;
            if !batch.range().contains(self.next) {
                return Err(self.missing());
            }
            self.take(&batch);
        }
        Ok(())
    }

    fn take(&mut self, batch: &StoredBatch<'_>) {
        let start = self.next;
        for (offset, payload) in batch.events().skip_while(|(offset, _)| *offset < start) {
            if self.is_done() {
                break;
            }
            self.found.push(offset, batch.header.received_at, Some(payload));
            self.next = offset.next();
        }
    }

    fn failed(&self, error: &fjall::Error) -> LogError {
        failure(&self.shared.place, error)
    }

    fn bad(&self, error: BatchError) -> LogError {
        bad_batch(&self.shared.place, self.topic, self.partition, Some(self.next), error)
    }

    fn missing(&self) -> LogError {
        LogError::Damaged {
            place: self.shared.place.clone(),
            reason: format!(
                "topic {:?} partition {}: offset {} is missing",
                self.topic.name, self.partition, self.next
            ),
        }
    }
}
