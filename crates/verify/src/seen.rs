//! All places of the log that are rows or dead letters, and what they add up to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use event::{Offset, OffsetRange, PartitionId, limits};

use crate::files::Examined;
use crate::offsets::{OffsetSet, STRETCH_BITS};
use crate::report::Ranges;

/// Sums of digests by stretches of offsets: equal where all contents are.
pub(crate) type Sums = HashMap<(PartitionId, u64), u128>;

/// Adds a digest to the sum of its stretch.
pub(crate) fn add(sums: &mut Sums, partition: PartitionId, offset: Offset, digest: u128) {
    let sum = sums.entry((partition, offset.0 >> STRETCH_BITS)).or_default();
    *sum = sum.wrapping_add(digest);
}

/// What the files of both tables hold.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) rows: BTreeMap<PartitionId, OffsetSet>,
    pub(crate) dead: BTreeMap<PartitionId, OffsetSet>,
    pub(crate) sums: Sums,
    /// Places that are there more than once, and how many there are beyond those kept.
    pub(crate) doubled: BTreeMap<PartitionId, BTreeSet<Offset>>,
    pub(crate) doubled_count: u64,
    /// Rows that replays landed, with the digests of their events.
    pub(crate) replayed: BTreeMap<(PartitionId, Offset), u128>,
    pub(crate) replayed_count: u64,
    /// Replayed rows that are not what their dead letters say.
    pub(crate) replayed_wrong: BTreeMap<PartitionId, Ranges>,
}

impl Seen {
    /// Takes a file of rows into account. All of them come before the dead letters.
    pub(crate) fn take_rows(&mut self, examined: &Examined) {
        for fact in &examined.facts {
            let (partition, offset) = (fact.partition, fact.offset);
            if fact.replayed {
                if self.replayed.insert((partition, offset), fact.digest).is_some() {
                    self.double(partition, offset);
                }
                self.replayed_count += 1;
            } else if self.rows.entry(partition).or_default().insert(offset) {
                add(&mut self.sums, partition, offset, fact.digest);
            } else {
                self.double(partition, offset);
            }
        }
    }

    /// Takes a file of dead letters into account.
    pub(crate) fn take_dead(&mut self, examined: &Examined) {
        for (fact, readings) in examined.facts.iter().zip(&examined.readings) {
            let (partition, offset) = (fact.partition, fact.offset);
            let is_row = self.rows.get(&partition).is_some_and(|rows| rows.contains(offset));
            if !self.dead.entry(partition).or_default().insert(offset) || is_row {
                self.double(partition, offset);
                continue;
            }
            add(&mut self.sums, partition, offset, fact.digest);
            if let Some(replayed) = self.replayed.remove(&(partition, offset))
                && !readings.contains(&replayed)
            {
                self.replayed_wrong.entry(partition).or_default().push(offset);
            }
        }
    }

    fn double(&mut self, partition: PartitionId, offset: Offset) {
        self.doubled_count += 1;
        if self.doubled_count <= limits::VERIFY_TOLD_MAX as u64 {
            self.doubled.entry(partition).or_default().insert(offset);
        }
    }

    pub(crate) fn rows_in(&self, partition: PartitionId, range: OffsetRange) -> u64 {
        self.rows.get(&partition).map_or(0, |rows| rows.count(range))
    }

    pub(crate) fn dead_in(&self, partition: PartitionId, range: OffsetRange) -> u64 {
        self.dead.get(&partition).map_or(0, |dead| dead.count(range))
    }

    pub(crate) fn is_dead(&self, partition: PartitionId, offset: Offset) -> bool {
        self.dead.get(&partition).is_some_and(|dead| dead.contains(offset))
    }

    pub(crate) fn is_row(&self, partition: PartitionId, offset: Offset) -> bool {
        self.rows.get(&partition).is_some_and(|rows| rows.contains(offset))
    }

    /// Offsets of `range` that are neither rows nor dead letters, the first of them.
    pub(crate) fn holes(&self, partition: PartitionId, range: OffsetRange) -> Vec<OffsetRange> {
        let limit = limits::VERIFY_TOLD_MAX;
        let of = |sets: &BTreeMap<PartitionId, OffsetSet>, range: OffsetRange| match sets.get(&partition) {
            Some(set) => set.holes(range, limit),
            None if range.is_empty() => Vec::new(),
            None => vec![range],
        };
        let without_rows = of(&self.rows, range);
        without_rows.into_iter().flat_map(|hole| of(&self.dead, hole)).take(limit).collect()
    }
}
