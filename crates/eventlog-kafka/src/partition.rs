//! Numbers of ours as librdkafka wants them, and back.

use event::{Offset, PartitionId};

/// Kafka's number of a partition.
///
/// # Panics
/// When it has more than 31 bits: no partition of Kafka has.
#[must_use]
pub fn native_partition(partition: PartitionId) -> i32 {
    i32::try_from(partition.0).expect("Kafka numbers partitions with 31 bits")
}

/// A partition by Kafka's number.
///
/// # Panics
/// When it is negative: no partition of a message is.
#[must_use]
pub fn partition_id(partition: i32) -> PartitionId {
    PartitionId(u32::try_from(partition).expect("Kafka numbers partitions from zero"))
}

/// Kafka's form of an offset. The largest one it knows stands for all beyond.
#[must_use]
pub fn native_offset(offset: Offset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}

/// An offset of Kafka's, if it is one and not one of its special values.
#[must_use]
pub fn offset(native: i64) -> Option<Offset> {
    u64::try_from(native).ok().map(Offset)
}
