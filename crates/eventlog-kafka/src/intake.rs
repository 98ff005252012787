//! Messages as they come, sorted into one stretch per partition.

use std::collections::BTreeMap;

use event::{Clock, LeaderEpoch, Offset, OffsetRange, PartitionId, RecordsBuilder, TimestampMicros};
use eventlog::Fetched;
use rdkafka::error::RDKafkaErrorCode;

use crate::native::{Message, NativeError};
use crate::partition::{offset, partition_id};

/// Where each started partition has come to, and what was taken since it was last emptied.
#[derive(Debug, Default)]
pub struct Intake {
    partitions: BTreeMap<PartitionId, Stretch>,
    taken_bytes: usize,
    taken_count: usize,
}

#[derive(Debug)]
struct Stretch {
    start: Offset,
    next: Offset,
    /// Leader epoch of the last record known below `next`.
    epoch: Option<LeaderEpoch>,
    /// Where the partition ended when that was last told.
    end: Option<Offset>,
    records: RecordsBuilder,
}

impl Stretch {
    fn at(start: Offset, epoch: Option<LeaderEpoch>, end: Option<Offset>) -> Self {
        Self { start, next: start, epoch, end, records: RecordsBuilder::new() }
    }

    /// What was taken; goes on where it ends.
    fn emptied(&mut self) -> Self {
        let following = Self::at(self.next, self.epoch, self.end);
        std::mem::replace(self, following)
    }
}

impl Intake {
    /// Takes `partition` from `from` on, and nothing of it that was taken before; `epoch` is that of
    /// the last record below.
    pub fn start(&mut self, partition: PartitionId, from: Offset, epoch: Option<LeaderEpoch>) {
        self.partitions.insert(partition, Stretch::at(from, epoch, None));
    }

    /// Takes nothing of `partition` any more.
    pub fn end(&mut self, partition: PartitionId) {
        self.partitions.remove(&partition);
    }

    /// The offset `partition` goes on with, zero when it was not started.
    #[must_use]
    pub fn next_of(&self, partition: PartitionId) -> Offset {
        self.partitions.get(&partition).map_or(Offset::ZERO, |stretch| stretch.next)
    }

    /// Leader epoch of the last record known below that offset.
    #[must_use]
    pub fn epoch_of(&self, partition: PartitionId) -> Option<LeaderEpoch> {
        self.partitions.get(&partition)?.epoch
    }

    /// Partitions whose end has been reached as far as is known, with that end.
    pub fn ended(&self) -> impl Iterator<Item = (PartitionId, Offset)> + '_ {
        let at_end = self.partitions.iter().filter(|(_, stretch)| stretch.end == Some(stretch.next));
        at_end.map(|(partition, stretch)| (*partition, stretch.next))
    }

    /// Payload bytes taken of `partition`.
    #[must_use]
    pub fn bytes_of(&self, partition: PartitionId) -> usize {
        self.partitions.get(&partition).map_or(0, |stretch| stretch.records.payload_bytes())
    }

    /// Payload bytes taken.
    #[must_use]
    pub fn taken_bytes(&self) -> usize {
        self.taken_bytes
    }

    /// Records taken.
    #[must_use]
    pub fn taken_count(&self) -> usize {
        self.taken_count
    }

    /// Settles the offsets of `partition` below `next`: they hold no record for us.
    pub fn skip_to(&mut self, partition: PartitionId, next: Offset) {
        if let Some(stretch) = self.partitions.get_mut(&partition) {
            stretch.next = stretch.next.max(next);
        }
    }

    /// Takes a record, or the notice that the partition ends; of partitions not started, nothing.
    ///
    /// # Errors
    /// What another notice says about the partition.
    pub fn take(&mut self, message: Message<'_>, clock: &Clock) -> Result<(), NativeError> {
        let partition = partition_id(message.partition());
        let Some(stretch) = self.partitions.get_mut(&partition) else { return Ok(()) };
        match message.error() {
            // The position of the end covers what the log has there besides records: transaction
            // markers, and records of aborted transactions.
            Some(NativeError { code: RDKafkaErrorCode::PartitionEOF, .. }) => {
                stretch.end = offset(message.offset());
                stretch.next = stretch.next.max(stretch.end.unwrap_or(stretch.next));
                return Ok(());
            }
            Some(error) => return Err(error),
            None => {}
        }
        let at = offset(message.offset()).expect("a record's offset is not negative");
        // Delivered already: never twice, whatever the client library does on resuming.
        if at < stretch.next {
            return Ok(());
        }
        let payload = message.payload();
        stretch.records.push(at, received_at(message, clock), payload);
        stretch.next = at.next();
        stretch.epoch = message.leader_epoch().map(LeaderEpoch).or(stretch.epoch);
        self.taken_bytes += payload.map_or(0, <[u8]>::len);
        self.taken_count += 1;
        Ok(())
    }

    /// What was taken, one stretch for each partition that has moved; all go on where they are.
    pub fn finish(&mut self) -> Vec<Fetched> {
        (self.taken_bytes, self.taken_count) = (0, 0);
        let mut fetched = Vec::new();
        for (partition, stretch) in &mut self.partitions {
            if stretch.next > stretch.start {
                let taken = stretch.emptied();
                let range = OffsetRange::new(taken.start, taken.next).written_under(taken.epoch);
                fetched.push(Fetched { partition: *partition, range, records: taken.records.finish() });
            }
        }
        fetched
    }
}

/// When the log took a record. Only records of formats before Kafka 0.10 have no time.
fn received_at(message: Message<'_>, clock: &Clock) -> TimestampMicros {
    match message.timestamp_millis() {
        Some(millis) => TimestampMicros(millis.saturating_mul(1_000)),
        None => clock.now(),
    }
}
