//! Payloads with their offsets, in one contiguous buffer.
//!
//! One allocation serves thousands of records: a consumer copies each payload once out of the
//! client library's memory, so that the library's fetch queue is never held up by us.

use bytes::{Bytes, BytesMut};

use crate::{Offset, TimestampMicros};

/// One record of the log, borrowed from its [`Records`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// When the log took it.
    pub received_at: TimestampMicros,
    /// The event as it was sent; `None` for a Kafka record without a value (tombstone).
    pub payload: Option<&'a [u8]>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: Offset,
    received_at: TimestampMicros,
    start: u32,
    end: u32,
    tombstone: bool,
}

/// Records of one partition in strictly increasing offset order.
#[derive(Debug, Clone, Default)]
pub struct Records {
    entries: Vec<Entry>,
    buffer: Bytes,
}

impl Records {
    /// How many records there are, tombstones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all payloads together.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes this value keeps allocated, bookkeeping included: what the memory budget counts.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.buffer.len() + self.entries.len() * size_of::<Entry>()
    }

    /// Offset of the first record.
    #[must_use]
    pub fn first_offset(&self) -> Option<Offset> {
        self.entries.first().map(|entry| entry.offset)
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Option<Offset> {
        self.entries.last().map(|entry| entry.offset)
    }

    /// The records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.entries.iter().map(|entry| self.record(entry))
    }

    /// The record at `index`, counted from zero.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        self.entries.get(index).map(|entry| self.record(entry))
    }

    /// The same records without those before `offset`. Shares the buffer.
    #[must_use]
    pub fn from_offset(&self, offset: Offset) -> Self {
        let first = self.entries.partition_point(|entry| entry.offset < offset);
        Self { entries: self.entries[first..].to_vec(), buffer: self.buffer.clone() }
    }

    fn record(&self, entry: &Entry) -> Record<'_> {
        let payload = (!entry.tombstone).then(|| &self.buffer[entry.start as usize..entry.end as usize]);
        Record { offset: entry.offset, received_at: entry.received_at, payload }
    }
}

/// Collects records into one buffer.
#[derive(Debug, Default)]
pub struct RecordsBuilder {
    entries: Vec<Entry>,
    buffer: BytesMut,
}

impl RecordsBuilder {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of payload collected so far.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Records collected so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was collected yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Copies one record in. `payload` is `None` for a tombstone.
    ///
    /// # Panics
    /// When `offset` is not greater than the last one, or the payloads exceed 4 GiB together:
    /// callers cut long before (`limits::FETCH_BYTES_MAX`).
    pub fn push(&mut self, offset: Offset, received_at: TimestampMicros, payload: Option<&[u8]>) {
        if let Some(last) = self.entries.last() {
            assert!(last.offset < offset, "offset {offset} pushed after {}", last.offset);
        }
        let start = u32::try_from(self.buffer.len()).expect("cut below 4 GiB by FETCH_BYTES_MAX");
        self.buffer.extend_from_slice(payload.unwrap_or_default());
        let end = u32::try_from(self.buffer.len()).expect("cut below 4 GiB by FETCH_BYTES_MAX");
        self.entries.push(Entry { offset, received_at, start, end, tombstone: payload.is_none() });
    }

    /// Ends collecting.
    #[must_use]
    pub fn finish(self) -> Records {
        Records { entries: self.entries, buffer: self.buffer.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Records {
        let mut builder = RecordsBuilder::new();
        builder.push(Offset(3), TimestampMicros(1), Some(b"{}"));
        builder.push(Offset(4), TimestampMicros(2), None);
        builder.push(Offset(9), TimestampMicros(3), Some(b""));
        builder.finish()
    }

    #[test]
    fn records_come_back_as_they_were_pushed() {
        let records = sample();
        let got: Vec<_> = records.iter().map(|r| (r.offset.0, r.received_at.0, r.payload)).collect();
        assert_eq!(got, [(3, 1, Some(&b"{}"[..])), (4, 2, None), (9, 3, Some(&b""[..]))]);
    }

    #[test]
    fn a_tombstone_is_not_an_empty_payload() {
        let records = sample();
        assert_eq!(records.get(1).unwrap().payload, None);
        assert_eq!(records.get(2).unwrap().payload, Some(&b""[..]));
    }

    #[test]
    fn cutting_at_an_offset_between_records_keeps_the_later_ones() {
        let later = sample().from_offset(Offset(5));
        assert_eq!(later.len(), 1);
        assert_eq!(later.first_offset(), Some(Offset(9)));
    }

    #[test]
    #[should_panic(expected = "pushed after")]
    fn an_offset_that_does_not_grow_is_refused() {
        let mut builder = RecordsBuilder::new();
        builder.push(Offset(3), TimestampMicros(1), None);
        builder.push(Offset(3), TimestampMicros(1), None);
    }
}
