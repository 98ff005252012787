//! Positions in the log, and the interval arithmetic that refuses gaps and overlaps.
//!
//! A committed table holds, per partition, one chain of half-open ranges `[0,e1) [e1,e2) …`.
//! [`Positions::apply`] is the only way to extend it, and it refuses anything but the next link
//! (`docs/decisions/0002-destination-is-the-authority.md`).

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Number of a partition within a stream's log. Kafka's own partition number, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u32);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Place of one record within a partition. Offsets only grow; they may have holes
/// (transaction markers, compaction), so a difference of offsets is not a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The first offset a partition can have.
    pub const ZERO: Self = Self(0);

    /// The offset after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a partition's leadership, one more with each leader (Kafka, KIP-101). Every record
/// bears that of the leader that took it, so offset and epoch together tell one history of a log
/// from another that lost its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub u32);

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Half-open interval of offsets `[start, end)` of one partition. `start <= end` always.
///
/// It may know under which leader its last record was written; two ranges are equal when their
/// offsets are.
#[derive(Debug, Clone, Copy)]
pub struct OffsetRange {
    start: Offset,
    end: Offset,
    epoch: Option<LeaderEpoch>,
}

impl OffsetRange {
    /// The range `[start, end)`.
    ///
    /// # Panics
    /// When `end < start`: such a range has no meaning and whoever built it has a bug.
    #[must_use]
    pub fn new(start: Offset, end: Offset) -> Self {
        assert!(start <= end, "offset range ends at {end} before its start {start}");
        Self { start, end, epoch: None }
    }

    /// The same range, whose last record was written under `epoch`.
    #[must_use]
    pub fn written_under(self, epoch: Option<LeaderEpoch>) -> Self {
        Self { epoch, ..self }
    }

    /// Epoch of the last record known in it or before it. What follows that record up to the end
    /// (transaction markers) may be of a later one.
    #[must_use]
    pub fn epoch(self) -> Option<LeaderEpoch> {
        self.epoch
    }

    /// First offset of the range.
    #[must_use]
    pub fn start(self) -> Offset {
        self.start
    }

    /// First offset after the range.
    #[must_use]
    pub fn end(self) -> Offset {
        self.end
    }

    /// Whether the range covers no offset.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// How many offsets it covers. An upper bound of the records in it.
    #[must_use]
    pub fn offset_count(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Whether `offset` lies in the range.
    #[must_use]
    pub fn contains(self, offset: Offset) -> bool {
        self.start <= offset && offset < self.end
    }
}

impl PartialEq for OffsetRange {
    fn eq(&self, other: &Self) -> bool {
        (self.start, self.end) == (other.start, other.end)
    }
}

impl Eq for OffsetRange {}

impl Hash for OffsetRange {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.start, self.end).hash(state);
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

/// One contiguous range per partition: what a batch, a file or a commit covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetRanges(BTreeMap<PartitionId, OffsetRange>);

impl OffsetRanges {
    /// Covers nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no partition is covered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The range of `partition`, if it is covered.
    #[must_use]
    pub fn get(&self, partition: PartitionId) -> Option<OffsetRange> {
        self.0.get(&partition).copied()
    }

    /// Partitions and their ranges, by partition.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, OffsetRange)> + '_ {
        self.0.iter().map(|(partition, range)| (*partition, *range))
    }

    /// Appends `range` behind what is covered of `partition`.
    ///
    /// # Errors
    /// [`RangeError`] when `range` does not begin where the covered range ends.
    pub fn extend(&mut self, partition: PartitionId, range: OffsetRange) -> Result<(), RangeError> {
        let joined = match self.get(partition) {
            None => range,
            Some(have) if have.end == range.start => {
                OffsetRange::new(have.start, range.end).written_under(range.epoch.or(have.epoch))
            }
            Some(have) => return Err(RangeError::at(partition, have.end, range)),
        };
        self.0.insert(partition, joined);
        Ok(())
    }

    /// Forgets `partition`, and returns what was covered of it.
    pub fn remove(&mut self, partition: PartitionId) -> Option<OffsetRange> {
        self.0.remove(&partition)
    }
}

impl FromIterator<(PartitionId, OffsetRange)> for OffsetRanges {
    fn from_iter<I: IntoIterator<Item = (PartitionId, OffsetRange)>>(ranges: I) -> Self {
        Self(ranges.into_iter().collect())
    }
}

/// Per partition the first offset that is not yet covered: `next(p)`, and, where it is known, the
/// leader epoch of what is covered last. Two are equal when their offsets are.
#[derive(Debug, Clone, Default)]
pub struct Positions(BTreeMap<PartitionId, Position>);

#[derive(Debug, Clone, Copy)]
struct Position {
    next: Offset,
    epoch: Option<LeaderEpoch>,
}

impl Positions {
    /// Knows no partition.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no partition is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many partitions are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// `next(partition)`, if the partition is known.
    #[must_use]
    pub fn get(&self, partition: PartitionId) -> Option<Offset> {
        self.0.get(&partition).map(|position| position.next)
    }

    /// Epoch of the last record known below `next(partition)`. Where a log has none, there is none.
    #[must_use]
    pub fn epoch(&self, partition: PartitionId) -> Option<LeaderEpoch> {
        self.0.get(&partition)?.epoch
    }

    /// Sets where `partition` goes on, whatever was known of it before.
    /// For reading a stored state; a commit goes through [`Positions::apply`].
    pub fn set(&mut self, partition: PartitionId, next: Offset) {
        self.set_under(partition, next, None);
    }

    /// As [`Positions::set`], with the epoch of the last record known below `next`.
    pub fn set_under(&mut self, partition: PartitionId, next: Offset, epoch: Option<LeaderEpoch>) {
        self.0.insert(partition, Position { next, epoch });
    }

    /// What is known of those `partitions` that are known at all.
    #[must_use]
    pub fn of<'a>(&self, partitions: impl IntoIterator<Item = &'a PartitionId>) -> Self {
        let known = |partition: &PartitionId| Some((*partition, *self.0.get(partition)?));
        Self(partitions.into_iter().filter_map(known).collect())
    }

    /// Partitions and their next offsets, by partition.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, Offset)> + '_ {
        self.0.iter().map(|(partition, position)| (*partition, position.next))
    }

    /// Moves every partition of `ranges` from its range's start to its end: the compare-and-swap
    /// on the lower bound. All or nothing.
    ///
    /// # Errors
    /// [`RangeError`] of the first partition that is unknown or stands elsewhere than at its
    /// range's start; nothing has moved then.
    pub fn apply(&mut self, ranges: &OffsetRanges) -> Result<(), RangeError> {
        self.check(ranges)?;
        for (partition, range) in ranges.iter() {
            let epoch = range.epoch().or(self.epoch(partition));
            self.set_under(partition, range.end(), epoch);
        }
        Ok(())
    }

    /// Whether [`Positions::apply`] would accept `ranges`.
    ///
    /// # Errors
    /// As [`Positions::apply`].
    pub fn check(&self, ranges: &OffsetRanges) -> Result<(), RangeError> {
        for (partition, range) in ranges.iter() {
            match self.get(partition) {
                Some(next) if next == range.start() => {}
                Some(next) => return Err(RangeError::at(partition, next, range)),
                None => return Err(RangeError::Unknown { partition, range }),
            }
        }
        Ok(())
    }
}

impl FromIterator<(PartitionId, Offset)> for Positions {
    fn from_iter<I: IntoIterator<Item = (PartitionId, Offset)>>(positions: I) -> Self {
        let position = |(partition, next)| (partition, Position { next, epoch: None });
        Self(positions.into_iter().map(position).collect())
    }
}

impl PartialEq for Positions {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Positions {}

/// Why a range is not the next link of its partition's chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The range begins before the position: those offsets are covered already.
    #[error("partition {partition}: range {range} overlaps what is covered up to {next}")]
    Overlap {
        /// The partition.
        partition: PartitionId,
        /// Its first offset not covered.
        next: Offset,
        /// The range that was refused.
        range: OffsetRange,
    },
    /// The range begins after the position: offsets between would be skipped.
    #[error("partition {partition}: range {range} leaves a gap after {next}")]
    Gap {
        /// The partition.
        partition: PartitionId,
        /// Its first offset not covered.
        next: Offset,
        /// The range that was refused.
        range: OffsetRange,
    },
    /// The partition has no position yet.
    #[error("partition {partition} has no position, so {range} cannot follow it")]
    Unknown {
        /// The partition.
        partition: PartitionId,
        /// The range that was refused.
        range: OffsetRange,
    },
}

impl RangeError {
    fn at(partition: PartitionId, next: Offset, range: OffsetRange) -> Self {
        if range.start() < next {
            Self::Overlap { partition, next, range }
        } else {
            Self::Gap { partition, next, range }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P0: PartitionId = PartitionId(0);
    const P1: PartitionId = PartitionId(1);

    fn range(start: u64, end: u64) -> OffsetRange {
        OffsetRange::new(Offset(start), Offset(end))
    }

    fn ranges(of: &[(PartitionId, OffsetRange)]) -> OffsetRanges {
        of.iter().copied().collect()
    }

    #[test]
    fn a_chain_moves_link_by_link() {
        let mut positions = Positions::from_iter([(P0, Offset(5))]);
        positions.apply(&ranges(&[(P0, range(5, 9))])).unwrap();
        positions.apply(&ranges(&[(P0, range(9, 9))])).unwrap();
        positions.apply(&ranges(&[(P0, range(9, 12))])).unwrap();
        assert_eq!(positions.get(P0), Some(Offset(12)));
    }

    #[test]
    fn an_overlap_is_refused_even_by_one() {
        let mut positions = Positions::from_iter([(P0, Offset(5))]);
        let refused = positions.apply(&ranges(&[(P0, range(4, 9))])).unwrap_err();
        assert!(matches!(refused, RangeError::Overlap { next: Offset(5), .. }));
    }

    #[test]
    fn a_gap_is_refused_even_by_one() {
        let mut positions = Positions::from_iter([(P0, Offset(5))]);
        let refused = positions.apply(&ranges(&[(P0, range(6, 9))])).unwrap_err();
        assert!(matches!(refused, RangeError::Gap { next: Offset(5), .. }));
    }

    #[test]
    fn one_refused_partition_moves_none() {
        let mut positions = Positions::from_iter([(P0, Offset(5)), (P1, Offset(5))]);
        let before = positions.clone();
        positions.apply(&ranges(&[(P0, range(5, 9)), (P1, range(4, 9))])).unwrap_err();
        assert_eq!(positions, before);
    }

    #[test]
    fn a_partition_without_a_position_takes_no_range() {
        let refused = Positions::new().apply(&ranges(&[(P0, range(0, 1))])).unwrap_err();
        assert!(matches!(refused, RangeError::Unknown { .. }));
    }

    #[test]
    fn ranges_grow_only_at_their_end() {
        let mut covered = ranges(&[(P0, range(0, 4))]);
        covered.extend(P0, range(4, 6)).unwrap();
        assert_eq!(covered.get(P0), Some(range(0, 6)));
        assert!(matches!(covered.extend(P0, range(7, 8)), Err(RangeError::Gap { .. })));
        assert!(matches!(covered.extend(P0, range(5, 8)), Err(RangeError::Overlap { .. })));
    }

    #[test]
    fn the_newest_known_epoch_goes_along_with_the_position() {
        let (old, new) = (Some(LeaderEpoch(3)), Some(LeaderEpoch(4)));
        let mut covered = ranges(&[(P0, range(5, 7).written_under(old))]);
        covered.extend(P0, range(7, 8)).unwrap();
        assert_eq!(covered.get(P0).unwrap().epoch(), old, "what has no record says nothing new");
        covered.extend(P0, range(8, 9).written_under(new)).unwrap();
        let mut positions = Positions::from_iter([(P0, Offset(5)), (P1, Offset(5))]);
        positions.apply(&covered).unwrap();
        positions.apply(&ranges(&[(P0, range(9, 10)), (P1, range(5, 6))])).unwrap();
        assert_eq!((positions.get(P0), positions.epoch(P0)), (Some(Offset(10)), new));
        assert_eq!((positions.of(&[P0]).epoch(P0), positions.epoch(P1)), (new, None));
        assert_eq!(positions, Positions::from_iter([(P0, Offset(10)), (P1, Offset(6))]));
    }

    #[test]
    #[should_panic(expected = "before its start")]
    fn a_range_cannot_end_before_it_starts() {
        let _ = range(3, 2);
    }
}
