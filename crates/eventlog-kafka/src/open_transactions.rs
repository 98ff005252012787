//! Transactions that stay open: what they hold back, and for how long.
//!
//! Records behind the first open transaction of a partition are not delivered, decided or not. Such a
//! transaction that nobody ends (a "hanging" one, KIP-664) stops the partition for good, and nothing
//! else tells.

use std::collections::BTreeMap;
use std::time::Duration;

use event::{Offset, PartitionId, limits};

/// A partition that has been read up to an open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBack {
    /// The partition.
    pub partition: PartitionId,
    /// Where the transaction begins.
    pub at: Offset,
    /// Offsets that are written and not to be had.
    pub offset_count: u64,
}

/// Watches the partitions of one consumer.
#[derive(Debug, Default)]
pub struct OpenTransactions {
    standing: BTreeMap<PartitionId, Standing>,
    looked_at: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    at: Offset,
    since: Duration,
    is_told: bool,
}

impl OpenTransactions {
    /// Whether it is time to look again.
    pub fn is_due(&mut self, now: Duration) -> bool {
        let is_due = now.saturating_sub(self.looked_at) >= limits::OPEN_TRANSACTION_LOOK_PAUSE;
        if is_due {
            self.looked_at = now;
        }
        is_due
    }

    /// Takes what is held back now, and returns what has stood in one place for so long that a person
    /// should look, once for each place.
    pub fn judge(&mut self, now: Duration, held_back: &[HeldBack]) -> Vec<HeldBack> {
        self.standing.retain(|partition, standing| {
            held_back.iter().any(|held| held.partition == *partition && held.at == standing.at)
        });
        let mut stalled = Vec::new();
        for held in held_back {
            let fresh = Standing { at: held.at, since: now, is_told: false };
            let standing = self.standing.entry(held.partition).or_insert(fresh);
            let is_long = now.saturating_sub(standing.since) >= limits::OPEN_TRANSACTION_WARN_AFTER;
            if is_long && !standing.is_told {
                standing.is_told = true;
                stalled.push(*held);
            }
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(at: u64, offset_count: u64) -> HeldBack {
        HeldBack { partition: PartitionId(2), at: Offset(at), offset_count }
    }

    #[test]
    fn what_stands_long_is_told_once_and_what_moves_is_not() {
        let mut watch = OpenTransactions::default();
        let long = limits::OPEN_TRANSACTION_WARN_AFTER;
        let second = Duration::from_secs(1);
        assert_eq!(watch.judge(second, &[held(5, 1)]), []);
        assert_eq!(watch.judge(long, &[held(5, 3)]), [], "not long enough");
        assert_eq!(watch.judge(second + long, &[held(5, 9)]), [held(5, 9)]);
        assert_eq!(watch.judge(second + long * 2, &[held(5, 9)]), [], "told before");
        assert_eq!(watch.judge(second + long * 2, &[held(8, 1)]), [], "another one");
        assert_eq!(watch.judge(second + long * 3, &[]), []);
        assert_eq!(watch.judge(second + long * 4, &[held(8, 1)]), [], "it had ended meanwhile");
    }
}
