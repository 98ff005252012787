//! Whether the log still has what a table goes on with.
//!
//! A table's position may lie before what the log holds (retention was faster than a loader that stood
//! still) or behind it (the log lost its end, or is another one). Either way the loader stops: going
//! on would skip records, or take other ones for those that were read.

use event::{LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions};
use eventlog::{EventLog, LogError, TopicDescription};
use table::TableState;

/// What is wrong with a table's positions, as the log stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Ranges that are gone from the log and have not landed: from the position to the first offset
    /// the log still has.
    pub expired: OffsetRanges,
    /// Partitions whose position lies behind the log's end.
    pub beyond: Vec<Beyond>,
    /// What the topic is now, if it is not the log of the positions any more.
    pub other_log: Option<LogId>,
}

/// A position behind the log's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beyond {
    /// The partition.
    pub partition: PartitionId,
    /// The table's position.
    pub next: Offset,
    /// The log's end.
    pub end: Offset,
}

impl Standing {
    /// Compares positions of `log` with what its topic is **after** they were read: positions only grow,
    /// so an older position behind the end of a newer log is one for certain.
    #[must_use]
    pub fn of(landed: &Positions, log: &LogId, topic: &TopicDescription) -> Self {
        let mut standing = Self::default();
        if topic.id != *log {
            standing.other_log = Some(topic.id.clone());
            return standing;
        }
        let mut expired = Vec::new();
        for (partition, next) in landed.iter() {
            let Some(held) = topic.partitions.get(&partition) else { continue };
            if next < held.start() {
                expired.push((partition, OffsetRange::new(next, held.start())));
            } else if next > held.end() {
                standing.beyond.push(Beyond { partition, next, end: held.end() });
            }
        }
        standing.expired = expired.into_iter().collect();
        standing
    }

    /// Asks the log how the positions of `state` stand in it.
    ///
    /// # Errors
    /// Why the log could not be asked.
    pub async fn ask(
        state: &TableState,
        log_id: &LogId,
        log: &dyn EventLog,
        topic: &str,
    ) -> Result<Self, LogError> {
        Ok(Self::of(&state.positions, log_id, &log.describe(topic).await?))
    }

    /// Whether a loader can go on.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        *self == Self::default()
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

    fn standing(landed: [u64; 2], held: [(u64, u64); 2]) -> Standing {
        let log = LogId::new("log");
        let landed = Positions::from_iter([(P0, Offset(landed[0])), (P1, Offset(landed[1]))]);
        let partitions = [(P0, range(held[0].0, held[0].1)), (P1, range(held[1].0, held[1].1))].into();
        Standing::of(&landed, &log, &TopicDescription { id: log.clone(), partitions })
    }

    #[test]
    fn positions_within_the_log_are_sound_up_to_both_its_ends() {
        assert!(standing([0, 5], [(0, 0), (5, 9)]).is_sound());
        assert!(standing([9, 7], [(5, 9), (5, 9)]).is_sound());
    }

    #[test]
    fn every_partition_that_cannot_go_on_is_told() {
        let found = standing([4, 0], [(5, 9), (3, 3)]);
        assert_eq!(found.expired, [(P0, range(4, 5)), (P1, range(0, 3))].into_iter().collect());
        let found = standing([10, 0], [(5, 9), (1, 3)]);
        assert_eq!(found.expired, [(P1, range(0, 1))].into_iter().collect());
        assert_eq!(found.beyond, [Beyond { partition: P0, next: Offset(10), end: Offset(9) }]);
    }

    #[test]
    fn offsets_of_another_log_are_not_compared() {
        let topic = TopicDescription { id: LogId::new("anew"), partitions: [(P0, range(5, 9))].into() };
        let found = Standing::of(&Positions::from_iter([(P0, Offset(0))]), &LogId::new("log"), &topic);
        assert_eq!((found.other_log, found.expired), (Some(LogId::new("anew")), OffsetRanges::new()));
    }
}
