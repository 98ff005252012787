//! How a batch of events lies on disk: key and value of one fjall entry.
//!
//! ```text
//! key    partition u32 BE | first offset u64 BE
//! value  version u8 = 1 | segment bytes before u64 LE | received at, microseconds, i64 LE
//!        | count u32 LE | count x length u32 LE | payloads | checksum u64 LE
//! ```
//! Big-endian keys sort as partitions and offsets do. The checksum (XXH3, 64 bits) covers the topic,
//! the key and everything before it in the value, so a value under a wrong key is found too.

use bytes::Bytes;
use event::{Offset, OffsetRange, PartitionId, TimestampMicros};
use xxhash_rust::xxh3::Xxh3;

const VERSION: u8 = 1;
const KEY_BYTES: usize = 12;
const HEADER_BYTES: usize = 1 + 8 + 8 + 4;
const LENGTH_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 8;

/// Where a batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchKey {
    /// Its partition.
    pub partition: PartitionId,
    /// Offset of its first event.
    pub first: Offset,
}

impl BatchKey {
    /// The key as it is stored.
    #[must_use]
    pub fn to_bytes(self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        bytes[..4].copy_from_slice(&self.partition.0.to_be_bytes());
        bytes[4..].copy_from_slice(&self.first.0.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, BatchError> {
        let (partition, first) = bytes.split_first_chunk().ok_or(BatchError::Key)?;
        let first = first.try_into().map_err(|_| BatchError::Key)?;
        Ok(Self {
            partition: PartitionId(u32::from_be_bytes(*partition)),
            first: Offset(u64::from_be_bytes(first)),
        })
    }
}

/// What stands in a batch beside its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Value bytes of the batches written to the same segment before this one.
    pub segment_bytes_before: u64,
    /// When the log took the events.
    pub received_at: TimestampMicros,
}

/// Why stored bytes are not a batch of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The key is not one of ours.
    #[error("the key does not have {KEY_BYTES} bytes")]
    Key,
    /// Written by another version.
    #[error("version {0} of the batch format is unknown; this program reads version {VERSION}")]
    Version(u8),
    /// Shorter or longer than it says.
    #[error("the value's length does not fit its contents")]
    Length,
    /// Not the bytes that were written.
    #[error("the checksum does not match")]
    Checksum,
}

/// Value bytes a batch of these payloads takes.
#[must_use]
pub fn encoded_bytes(payloads: &[Bytes]) -> usize {
    let payload_bytes: usize = payloads.iter().map(Bytes::len).sum();
    HEADER_BYTES + payloads.len() * LENGTH_BYTES + payload_bytes + CHECKSUM_BYTES
}

/// The value to store under `key` of `topic`.
///
/// # Panics
/// When there are 2^32 payloads or one has 4 GiB: callers cut long before.
#[must_use]
pub fn encode(topic: &str, key: BatchKey, header: BatchHeader, payloads: &[Bytes]) -> Vec<u8> {
    let mut value = Vec::with_capacity(encoded_bytes(payloads));
    value.push(VERSION);
    value.extend_from_slice(&header.segment_bytes_before.to_le_bytes());
    value.extend_from_slice(&header.received_at.0.to_le_bytes());
    value.extend_from_slice(&length(payloads.len()).to_le_bytes());
    for payload in payloads {
        value.extend_from_slice(&length(payload.len()).to_le_bytes());
    }
    for payload in payloads {
        value.extend_from_slice(payload);
    }
    let checksum = checksum(topic, &key.to_bytes(), &value);
    value.extend_from_slice(&checksum.to_le_bytes());
    value
}

fn length(bytes_or_count: usize) -> u32 {
    u32::try_from(bytes_or_count).expect("a batch is cut below 4 GiB by EMBEDDED_BATCH_BYTES_MAX")
}

fn checksum(topic: &str, key: &[u8], contents: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(topic.as_bytes());
    hasher.update(key);
    hasher.update(contents);
    hasher.digest()
}

/// A batch that was read and checked.
#[derive(Debug)]
pub struct StoredBatch<'a> {
    /// Where it begins.
    pub key: BatchKey,
    /// What stands beside its events.
    pub header: BatchHeader,
    lengths: &'a [[u8; LENGTH_BYTES]],
    payloads: &'a [u8],
}

impl<'a> StoredBatch<'a> {
    /// Reads a stored entry of `topic`.
    ///
    /// # Errors
    /// [`BatchError`] when it is not what [`encode`] wrote there.
    pub fn decode(topic: &str, key: &[u8], value: &'a [u8]) -> Result<Self, BatchError> {
        let (contents, stored) = value.split_last_chunk::<CHECKSUM_BYTES>().ok_or(BatchError::Length)?;
        match contents.first() {
            Some(&VERSION) => {}
            Some(other) => return Err(BatchError::Version(*other)),
            None => return Err(BatchError::Length),
        }
        if checksum(topic, key, contents) != u64::from_le_bytes(*stored) {
            return Err(BatchError::Checksum);
        }
        Self::split(BatchKey::from_bytes(key)?, &contents[1..]).ok_or(BatchError::Length)
    }

    fn split(key: BatchKey, rest: &'a [u8]) -> Option<Self> {
        let (segment_bytes_before, rest) = rest.split_first_chunk()?;
        let (received_at, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let (lengths, payloads) = rest.split_at_checked(count.checked_mul(LENGTH_BYTES)?)?;
        let (lengths, _) = lengths.as_chunks();
        key.first.0.checked_add(count as u64)?;
        let header = BatchHeader {
            segment_bytes_before: u64::from_le_bytes(*segment_bytes_before),
            received_at: TimestampMicros(i64::from_le_bytes(*received_at)),
        };
        let batch = Self { key, header, lengths, payloads };
        let payload_bytes: u64 = batch.lengths().map(u64::from).sum();
        (payload_bytes == payloads.len() as u64).then_some(batch)
    }

    fn lengths(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.lengths.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// Offsets of its events.
    #[must_use]
    pub fn range(&self) -> OffsetRange {
        OffsetRange::new(self.key.first, Offset(self.key.first.0 + self.lengths.len() as u64))
    }

    /// Its events with their offsets, in order.
    pub fn events(&self) -> impl Iterator<Item = (Offset, &'a [u8])> + use<'a> {
        let mut rest = self.payloads;
        (self.key.first.0..).map(Offset).zip(self.lengths()).map(move |(offset, length)| {
            let (payload, after) = rest.split_at(length as usize);
            rest = after;
            (offset, payload)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: BatchKey = BatchKey { partition: PartitionId(2), first: Offset(0x0102) };
    const HEADER: BatchHeader =
        BatchHeader { segment_bytes_before: 7, received_at: TimestampMicros(0x0605_0403_0201) };

    fn sample() -> Vec<u8> {
        encode("logs", KEY, HEADER, &[Bytes::from_static(b"{}"), Bytes::new(), Bytes::from_static(b"[1]")])
    }

    #[test]
    fn the_stored_bytes_never_change() {
        assert_eq!(KEY.to_bytes(), [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 2]);
        let golden: &[u8] = &[
            1, 7, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0,
            0, b'{', b'}', b'[', b'1', b']',
        ];
        // As Python's xxhash computes it: xxh3_64(b"logs" + key + golden).
        let checksum = [0x21, 0x58, 0x0e, 0x7a, 0xa1, 0x83, 0x97, 0xb0];
        assert_eq!(sample(), [golden, &checksum].concat());
    }

    #[test]
    fn a_batch_under_another_key_or_topic_is_damage() {
        let value = sample();
        let other = BatchKey { first: Offset(0x0103), ..KEY };
        assert_eq!(StoredBatch::decode("logs", &other.to_bytes(), &value).unwrap_err(), BatchError::Checksum);
        assert_eq!(StoredBatch::decode("log", &KEY.to_bytes(), &value).unwrap_err(), BatchError::Checksum);
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut value = sample();
        value[0] = 2;
        assert_eq!(StoredBatch::decode("logs", &KEY.to_bytes(), &value).unwrap_err(), BatchError::Version(2));
    }

    #[test]
    fn a_batch_that_would_end_beyond_the_last_offset_is_damage() {
        let last = BatchKey { first: Offset(u64::MAX), ..KEY };
        let value = encode("logs", last, HEADER, &[Bytes::from_static(b"{}")]);
        assert_eq!(StoredBatch::decode("logs", &last.to_bytes(), &value).unwrap_err(), BatchError::Length);
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            partition: u32,
            first in 0..u64::MAX / 2,
            segment_bytes_before: u64,
            received_at: i64,
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
        ) {
            let payloads: Vec<Bytes> = payloads.into_iter().map(Bytes::from).collect();
            let key = BatchKey { partition: PartitionId(partition), first: Offset(first) };
            let header = BatchHeader { segment_bytes_before, received_at: TimestampMicros(received_at) };
            let value = encode("logs", key, header, &payloads);
            prop_assert_eq!(value.len(), encoded_bytes(&payloads));
            let batch = StoredBatch::decode("logs", &key.to_bytes(), &value).unwrap();
            prop_assert_eq!(batch.key, key);
            prop_assert_eq!(batch.header, header);
            prop_assert_eq!(batch.range().offset_count(), payloads.len() as u64);
            let read: Vec<_> = batch.events().map(|(offset, payload)| (offset.0 - first, payload)).collect();
            let written: Vec<_> = (0..).zip(payloads.iter().map(|payload| &payload[..])).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn a_changed_bit_is_damage(position in 0..sample().len(), bit in 0_u8..8) {
            let mut value = sample();
            value[position] ^= 1_u8 << bit;
            prop_assert!(StoredBatch::decode("logs", &KEY.to_bytes(), &value).is_err());
        }

        #[test]
        fn any_bytes_are_refused_or_read_but_never_a_panic(
            key in prop::collection::vec(any::<u8>(), 0..20),
            value in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = StoredBatch::decode("logs", &key, &value);
        }
    }
}
