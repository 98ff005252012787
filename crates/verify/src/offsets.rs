//! A set of offsets of one partition, small where the offsets have no holes.
//!
//! Offsets lie in stretches of 65,536. A stretch that is full costs nothing beside its neighbours;
//! any other costs 8 KiB. So a table of any size takes one bit per offset at worst, and a few
//! kilobytes where rows and dead letters together leave no hole.

use std::collections::BTreeMap;

use event::{Offset, OffsetRange};

/// Offsets in one stretch, as a power of two.
pub(crate) const STRETCH_BITS: u32 = 16;
const STRETCH: u64 = 1 << STRETCH_BITS;
const WORDS: usize = (STRETCH / 64) as usize;

/// A set of offsets.
#[derive(Debug, Default)]
pub(crate) struct OffsetSet {
    /// Full stretches: first to the one after the last.
    full: BTreeMap<u64, u64>,
    partial: BTreeMap<u64, Box<Stretch>>,
}

#[derive(Debug)]
struct Stretch {
    words: [u64; WORDS],
    count: u64,
}

impl Stretch {
    /// The first bit at or after `from` that is `set`.
    fn next(&self, from: u64, set: bool) -> Option<u64> {
        let first = (from / 64) as usize;
        let word = |index: usize| if set { self.words[index] } else { !self.words[index] };
        let head = word(first) & (u64::MAX << (from % 64));
        let mut words =
            std::iter::once((first, head)).chain((first + 1..WORDS).map(|index| (index, word(index))));
        let found = words.find(|(_, word)| *word != 0);
        found.map(|(index, word)| index as u64 * 64 + u64::from(word.trailing_zeros()))
    }

    /// Bits that are set from `from` up to, not including, `to`.
    fn count(&self, from: u64, to: u64) -> u64 {
        let below = |end: u64| -> u64 {
            let whole = (end / 64) as usize;
            let ones: u64 = self.words[..whole].iter().map(|word| u64::from(word.count_ones())).sum();
            let rest = self.words.get(whole).map_or(0, |word| word & ((1 << (end % 64)) - 1));
            ones + u64::from(rest.count_ones())
        };
        below(to) - below(from)
    }
}

impl OffsetSet {
    /// Puts `offset` in; whether it was not in yet.
    pub(crate) fn insert(&mut self, offset: Offset) -> bool {
        let (stretch, bit) = (offset.0 >> STRETCH_BITS, offset.0 % STRETCH);
        if self.full_end(stretch).is_some() {
            return false;
        }
        let empty = || Box::new(Stretch { words: [0; WORDS], count: 0 });
        let partial = self.partial.entry(stretch).or_insert_with(empty);
        let word = &mut partial.words[(bit / 64) as usize];
        if *word >> (bit % 64) & 1 == 1 {
            return false;
        }
        *word |= 1 << (bit % 64);
        partial.count += 1;
        if partial.count == STRETCH {
            self.partial.remove(&stretch);
            self.fill(stretch);
        }
        true
    }

    /// Whether `offset` is in.
    pub(crate) fn contains(&self, offset: Offset) -> bool {
        self.next_present(offset.0) == Some(offset.0)
    }

    /// How many offsets of `range` are in.
    pub(crate) fn count(&self, range: OffsetRange) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let (start, end) = (range.start().0, range.end().0);
        let (first, last) = (start >> STRETCH_BITS, (end - 1) >> STRETCH_BITS);
        let within = |from: u64, to: u64| to.min(end).saturating_sub(from.max(start));
        let full = self.full.range(..=last).rev().take_while(|(_, until)| **until > first);
        let full: u64 = full.map(|(from, until)| within(from << STRETCH_BITS, until << STRETCH_BITS)).sum();
        let partial = self.partial.range(first..=last).map(|(number, bits)| {
            let base = number << STRETCH_BITS;
            bits.count(start.max(base) - base, end.min(base + STRETCH) - base)
        });
        full + partial.sum::<u64>()
    }

    /// The parts of `range` that are not in, in order, at most `limit` of them.
    pub(crate) fn holes(&self, range: OffsetRange, limit: usize) -> Vec<OffsetRange> {
        let (mut at, end) = (range.start().0, range.end().0);
        let mut holes = Vec::new();
        while holes.len() < limit {
            let from = self.next_absent(at);
            if from >= end {
                break;
            }
            at = self.next_present(from).unwrap_or(end).min(end);
            holes.push(OffsetRange::new(Offset(from), Offset(at)));
        }
        holes
    }

    /// The parts of `range` that are in, in order, at most `limit` of them.
    pub(crate) fn runs(&self, range: OffsetRange, limit: usize) -> Vec<OffsetRange> {
        let (mut at, end) = (range.start().0, range.end().0);
        let mut runs = Vec::new();
        while runs.len() < limit {
            let Some(from) = self.next_present(at).filter(|from| *from < end) else { break };
            at = self.next_absent(from).min(end);
            runs.push(OffsetRange::new(Offset(from), Offset(at)));
        }
        runs
    }

    fn next_absent(&self, mut from: u64) -> u64 {
        loop {
            let stretch = from >> STRETCH_BITS;
            if let Some(end) = self.full_end(stretch) {
                from = end << STRETCH_BITS;
                continue;
            }
            let Some(partial) = self.partial.get(&stretch) else { return from };
            match partial.next(from % STRETCH, false) {
                Some(bit) => return (stretch << STRETCH_BITS) + bit,
                None => from = (stretch + 1) << STRETCH_BITS,
            }
        }
    }

    fn next_present(&self, mut from: u64) -> Option<u64> {
        loop {
            let stretch = from >> STRETCH_BITS;
            if self.full_end(stretch).is_some() {
                return Some(from);
            }
            let here = self.partial.get(&stretch).and_then(|partial| partial.next(from % STRETCH, true));
            if let Some(bit) = here {
                return Some((stretch << STRETCH_BITS) + bit);
            }
            let full = self.full.range(stretch + 1..).next().map(|(from, _)| *from);
            let partial = self.partial.range(stretch + 1..).next().map(|(from, _)| *from);
            let next = [full, partial].into_iter().flatten().min()?;
            from = next << STRETCH_BITS;
        }
    }

    /// The stretch after the full ones that `stretch` is among.
    fn full_end(&self, stretch: u64) -> Option<u64> {
        let (_, end) = self.full.range(..=stretch).next_back()?;
        (stretch < *end).then_some(*end)
    }

    fn fill(&mut self, stretch: u64) {
        let before = self.full.range(..stretch).next_back().filter(|(_, end)| **end == stretch);
        let start = before.map_or(stretch, |(start, _)| *start);
        let end = self.full.remove(&(stretch + 1)).unwrap_or(stretch + 1);
        self.full.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, end: u64) -> OffsetRange {
        OffsetRange::new(Offset(start), Offset(end))
    }

    fn members(runs: &[OffsetRange]) -> BTreeSet<u64> {
        runs.iter().flat_map(|run| run.start().0..run.end().0).collect()
    }

    /// Whole stretches in any order, and single offsets around their ends.
    fn inserts() -> impl Strategy<Value = Vec<(u64, u64)>> {
        let whole = (0..4_u64).prop_map(|stretch| (stretch * STRETCH, STRETCH));
        let single = (0..4 * STRETCH).prop_map(|offset| (offset, 1));
        let edge = (1..4_u64, 0..4_u64).prop_map(|(stretch, by)| (stretch * STRETCH - 2 + by, 1));
        prop::collection::vec(prop_oneof![whole, single, edge], 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_the_set_it_stands_for(inserts in inserts(), ends in any::<[prop::sample::Index; 2]>()) {
            let (mut set, mut model) = (OffsetSet::default(), BTreeSet::new());
            for (start, length) in inserts {
                for offset in start..start + length {
                    prop_assert_eq!(set.insert(Offset(offset)), model.insert(offset));
                }
            }
            let mut ends = ends.map(|end| end.index(5 * STRETCH as usize) as u64);
            ends.sort_unstable();
            let within = range(ends[0], ends[1]);
            let expected: BTreeSet<u64> = model.range(ends[0]..ends[1]).copied().collect();
            prop_assert_eq!(set.count(within), expected.len() as u64);
            prop_assert_eq!(members(&set.runs(within, usize::MAX)), expected.clone());
            let holes = members(&set.holes(within, usize::MAX));
            prop_assert_eq!(holes.len() + expected.len(), (ends[1] - ends[0]) as usize);
            prop_assert!(holes.is_disjoint(&expected));
            prop_assert_eq!(set.contains(Offset(ends[0])), model.contains(&ends[0]));
        }
    }

    #[test]
    fn offsets_without_holes_cost_next_to_nothing() {
        let mut set = OffsetSet::default();
        for offset in (0..8 * STRETCH).rev() {
            set.insert(Offset(offset));
        }
        assert_eq!((set.full.len(), set.partial.len()), (1, 0));
        assert_eq!(set.holes(range(0, 8 * STRETCH), 1), []);
    }
}
