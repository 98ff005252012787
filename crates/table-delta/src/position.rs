//! Positions as transactions of the log.
//!
//! A transaction is a name with a number, kept by every writer and in every checkpoint, whatever the
//! table's protocol. A partition has two: `laker/<log>/<partition>` is its next offset, and
//! `laker-epoch/<log>/<partition>` the leader epoch of the last record below it, in the upper half
//! of its number. The lower half has the lower half of that offset: a program that knows nothing of
//! epochs moves the first transaction only, and the second then no longer fits.

use std::collections::BTreeMap;

use event::{LeaderEpoch, LogId, Offset, PartitionId, Positions};

const NEXT: &str = "laker/";
const EPOCH: &str = "laker-epoch/";
const LOWER_HALF: u64 = 0xffff_ffff;

/// Transactions by their name.
pub(crate) type Transactions = BTreeMap<String, i64>;

/// The id under which a partition's next offset is stored.
pub(crate) fn app_id(log: &LogId, partition: PartitionId) -> String {
    format!("{NEXT}{log}/{partition}")
}

/// The transactions that say where `partition` goes on.
///
/// # Errors
/// When the offset is larger than a transaction's number.
pub(crate) fn transactions(
    log: &LogId,
    partition: PartitionId,
    next: Offset,
    epoch: Option<LeaderEpoch>,
) -> Result<Vec<(String, i64)>, String> {
    let number = i64::try_from(next.0).map_err(|_| format!("offset {next} is larger than Delta can say"))?;
    let mut transactions = vec![(app_id(log, partition), number)];
    if let Some(number) = epoch.and_then(|epoch| epoch_number(epoch, next)) {
        transactions.push((format!("{EPOCH}{log}/{partition}"), number));
    }
    Ok(transactions)
}

/// Positions of `log`.
pub(crate) fn positions(transactions: &Transactions, log: &LogId) -> Positions {
    let mut positions = Positions::new();
    for (partition, next) in all(transactions).filter_map(|(of, at, next)| (of == *log).then_some((at, next)))
    {
        let Ok(next) = u64::try_from(next).map(Offset) else { continue };
        let number = transactions.get(&format!("{EPOCH}{log}/{partition}"));
        positions.set_under(partition, next, number.and_then(|number| epoch_at(*number, next)));
    }
    positions
}

/// Logs other than `log` that have positions, each once. Logs and chains of replays stand beside each
/// other: neither is another log to the other.
pub(crate) fn other_logs(transactions: &Transactions, log: &LogId) -> Vec<LogId> {
    let is_other = |of: &LogId| of != log && of.is_replays() == log.is_replays();
    let mut logs: Vec<_> = all(transactions).map(|(of, _, _)| of).filter(is_other).collect();
    logs.sort();
    logs.dedup();
    logs
}

fn all(transactions: &Transactions) -> impl Iterator<Item = (LogId, PartitionId, i64)> {
    transactions.iter().filter_map(|(id, next)| {
        let (log, partition) = parse_app_id(id)?;
        Some((log, partition, *next))
    })
}

/// What [`app_id`] made an id of; none for another program's.
pub(crate) fn parse_app_id(id: &str) -> Option<(LogId, PartitionId)> {
    let (log, partition) = id.strip_prefix(NEXT)?.rsplit_once('/')?;
    if log.is_empty() || log.contains('/') {
        return None;
    }
    let partition = PartitionId(partition.parse().ok()?);
    // `01` and `+1` are numbers too: an id that we would write otherwise is none of ours.
    let parsed = (LogId::new(log), partition);
    (app_id(&parsed.0, partition) == id).then_some(parsed)
}

fn epoch_number(epoch: LeaderEpoch, next: Offset) -> Option<i64> {
    i64::try_from((u64::from(epoch.0) << 32) | (next.0 & LOWER_HALF)).ok()
}

fn epoch_at(number: i64, next: Offset) -> Option<LeaderEpoch> {
    let number = u64::try_from(number).ok()?;
    let fits = number & LOWER_HALF == next.0 & LOWER_HALF;
    fits.then(|| u32::try_from(number >> 32).ok().map(LeaderEpoch)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> LogId {
        LogId::new("kafka:MkU3OEVBNTcwNTJENDM2Qk:top-ic_1")
    }

    #[test]
    fn an_app_id_names_log_and_partition_whatever_the_log_is_called() {
        assert_eq!(parse_app_id(&app_id(&log(), PartitionId(12))), Some((log(), PartitionId(12))));
        for foreign in [
            "laker/",
            "laker//1",
            "laker/x",
            "laker/a/b/1",
            "laker/x/-1",
            "laker/x/+1",
            "laker/x/01",
            "other/x/1",
            "0190-uuid",
        ] {
            assert_eq!(parse_app_id(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_position_is_read_with_the_epoch_it_was_written_with() {
        let partition = PartitionId(3);
        for next in [0, 7, LOWER_HALF, LOWER_HALF + 1, (1 << 40) + 5] {
            for epoch in [None, Some(LeaderEpoch(0)), Some(LeaderEpoch(41))] {
                let stored = transactions(&log(), partition, Offset(next), epoch).unwrap();
                let read = positions(&stored.into_iter().collect(), &log());
                assert_eq!((read.get(partition), read.epoch(partition)), (Some(Offset(next)), epoch));
            }
        }
        transactions(&log(), partition, Offset(u64::MAX), None).unwrap_err();
    }

    #[test]
    fn an_epoch_of_another_position_is_not_taken_for_this_one() {
        let (partition, epoch) = (PartitionId(3), Some(LeaderEpoch(2)));
        let mut stored: Transactions =
            transactions(&log(), partition, Offset(10), epoch).unwrap().into_iter().collect();
        stored.insert(app_id(&log(), partition), 12);
        assert_eq!(positions(&stored, &log()).epoch(partition), None);
        assert!(other_logs(&stored, &log()).is_empty(), "an epoch is no position of another log");
        assert_eq!(other_logs(&stored, &LogId::new("another")), [log()]);
    }
}
