//! A topic as the running log knows it: what is durable, and which segments hold it.

use std::fmt;

use event::{LogId, Offset, OffsetRange, PartitionId, Positions};
use fjall::Keyspace;

use super::stored_batch::BatchKey;
use super::stored_topic::TopicRecord;

/// A topic and everything durable in it. Readers hold a shared copy; only the writer makes new ones.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Identity of its offsets.
    pub id: LogId,
    /// Number that names its segments.
    pub number: u32,
    /// Per partition the retained and durable offsets.
    pub partitions: Vec<OffsetRange>,
    /// Its segments, oldest first. The last one is written to.
    pub segments: Vec<Segment>,
}

impl Topic {
    /// Retained and durable offsets of `partition`; empty at zero for one it does not have.
    #[must_use]
    pub fn retained(&self, partition: PartitionId) -> OffsetRange {
        let nothing = OffsetRange::new(Offset::ZERO, Offset::ZERO);
        self.partitions.get(partition.0 as usize).copied().unwrap_or(nothing)
    }

    /// Its partitions with what is retained of each.
    pub fn ranges(&self) -> impl Iterator<Item = (PartitionId, OffsetRange)> + '_ {
        (0..).map(PartitionId).zip(self.partitions.iter().copied())
    }

    /// Value bytes in all its segments.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// How many of the oldest segments may go: those wholly below `landed`, as long as
    /// `keep_bytes` of what has landed stay.
    #[must_use]
    pub fn droppable_segments(&self, landed: &Positions, keep_bytes: u64) -> usize {
        let landed: Vec<u64> = self
            .segments
            .iter()
            .take_while(|segment| segment.bytes > 0 && segment.is_below(landed))
            .map(|segment| segment.bytes)
            .collect();
        let mut left: u64 = landed.iter().sum();
        let may_go = |bytes: &&u64| {
            left -= **bytes;
            left >= keep_bytes
        };
        landed.iter().take_while(may_go).count()
    }

    /// What is stored of it once its `count` oldest segments are gone.
    #[must_use]
    pub fn record_without(&self, count: usize) -> TopicRecord {
        let mut firsts: Vec<Offset> = self.partitions.iter().map(|range| range.start()).collect();
        for segment in &self.segments[..count] {
            for (first, span) in firsts.iter_mut().zip(&segment.spans) {
                *first = span.map_or(*first, OffsetRange::end);
            }
        }
        TopicRecord { number: self.number, firsts }
    }

    /// Forgets its `count` oldest segments, and hands them over. `firsts` is where it begins then.
    pub fn drop_segments(&mut self, count: usize, firsts: &[Offset]) -> Vec<Segment> {
        for (retained, first) in self.partitions.iter_mut().zip(firsts) {
            *retained = OffsetRange::new(*first, retained.end());
        }
        self.segments.drain(..count).collect()
    }

    /// Takes note that `range` of `partition` was written to the last segment and is durable,
    /// in a value of `bytes` bytes.
    ///
    /// # Panics
    /// When there is no segment or no such partition: the writer has just written there.
    pub fn extend(&mut self, partition: PartitionId, range: OffsetRange, bytes: u64) {
        let index = partition.0 as usize;
        let retained = &mut self.partitions[index];
        assert_eq!(
            retained.end(),
            range.start(),
            "a batch was written elsewhere than at the partition's end"
        );
        *retained = OffsetRange::new(retained.start(), range.end());
        let segment = self.segments.last_mut().expect("a topic always has a segment to write to");
        let start = segment.spans[index].map_or(range.start(), OffsetRange::start);
        segment.spans[index] = Some(OffsetRange::new(start, range.end()));
        segment.bytes += bytes;
    }
}

/// A stretch of a topic's log in one fjall keyspace. Retention drops whole segments: that deletes
/// files, where deleting entry by entry would leave tombstones for compaction to find.
#[derive(Clone)]
pub struct Segment {
    /// Grows by one from segment to segment of a topic.
    pub number: u64,
    /// Where its batches are.
    pub keyspace: Keyspace,
    /// Per partition the offsets it holds, if any.
    pub spans: Vec<Option<OffsetRange>>,
    /// Value bytes in it.
    pub bytes: u64,
}

impl Segment {
    /// Whether it has offsets of `partition` that are also in `range`.
    #[must_use]
    pub fn overlaps(&self, partition: PartitionId, range: OffsetRange) -> bool {
        let span = self.spans.get(partition.0 as usize).copied().flatten();
        span.is_some_and(|span| span.start() < range.end() && range.start() < span.end())
    }

    fn is_below(&self, landed: &Positions) -> bool {
        (0..).map(PartitionId).zip(&self.spans).all(|(partition, span)| match span {
            Some(span) => span.end() <= landed.get(partition).unwrap_or(Offset::ZERO),
            None => true,
        })
    }

    /// Whether it holds nothing from `firsts` on.
    #[must_use]
    pub fn ends_within(&self, firsts: &[Offset]) -> bool {
        self.spans.iter().zip(firsts).all(|(span, first)| span.is_none_or(|span| span.end() <= *first))
    }

    /// The entries of `partition` from the batch that has `offset` on.
    ///
    /// # Errors
    /// What fjall says.
    pub fn entries_from(&self, partition: PartitionId, offset: Offset) -> fjall::Result<fjall::Iter> {
        let from = BatchKey { partition, first: offset }.to_bytes();
        let first = BatchKey { partition, first: Offset::ZERO }.to_bytes();
        let last = BatchKey { partition, first: Offset(u64::MAX) }.to_bytes();
        match self.keyspace.range(first..=from).next_back() {
            Some(entry) => Ok(self.keyspace.range(&*entry.key()?..=&last[..])),
            None => Ok(self.keyspace.range(from..=last)),
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("number", &self.number)
            .field("spans", &self.spans)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
