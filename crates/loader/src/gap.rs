//! Accepting that records are gone: the way on after retention was faster than a loader.
//!
//! A gap is a commit like any other, without rows and marked as a gap: it moves `next(p)` from the
//! table's position to the first offset the log still has, by the same compare-and-swap. So it cannot
//! meet a batch of a running loader, and whoever verifies the table finds it. A person has to name each
//! range: nothing is accepted that was not seen.

use event::{Clock, LogId, Offset, OffsetRange, OffsetRanges, PartitionId};
use eventlog::{EventLog, LogError};
use table::{Commit, CommitOutcome, Table, TableError, TableState};

use crate::standing::Standing;

/// Why a gap was not accepted. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum GapError {
    /// The log could not be asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The table could not be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// There is no table.
    #[error("table {table:?} does not exist, so nothing can be missing in it")]
    NoTable {
        /// Its name.
        table: String,
    },
    /// The topic is another one now.
    #[error(
        "topic {topic:?} is {found} now, and the table has no positions of it: that is no gap. Load into another \
         table"
    )]
    OtherLog {
        /// The topic.
        topic: String,
        /// What it is.
        found: LogId,
    },
    /// What was named is not what is missing.
    #[error(
        "partition {partition}: {named} was named, but {}; nothing was changed",
        .missing.map_or("nothing is missing".to_owned(), |range| format!(
            "what is missing is {range}: name `{partition}:{}-{}`", range.start(), range.end()))
    )]
    NotMissing {
        /// The partition.
        partition: PartitionId,
        /// The range that was named.
        named: OffsetRange,
        /// The range that is missing there.
        missing: Option<OffsetRange>,
    },
    /// A loader moved the table meanwhile.
    #[error("the table has moved on meanwhile ({reason}); look again with `laker check`")]
    Moved {
        /// What the table said.
        reason: String,
    },
}

/// Records in `table` that `gaps` will not come any more: each must be exactly what is missing.
///
/// # Errors
/// [`GapError`]; a plain Parquet table, which commits by partition, may have taken some of the gaps
/// when its lake failed. Naming the others again is safe.
pub async fn accept(
    gaps: &OffsetRanges,
    log: &dyn EventLog,
    topic: &str,
    table: &dyn Table,
    clock: &Clock,
) -> Result<TableState, GapError> {
    let id = log.identity(topic).await?;
    let state = table.load(&id).await?;
    let state = state.ok_or_else(|| GapError::NoTable { table: table.name().to_owned() })?;
    if state.positions.is_empty() {
        return Err(GapError::OtherLog { topic: topic.to_owned(), found: id });
    }
    let standing = Standing::ask(&state, &id, log, topic).await?;
    if let Some(found) = standing.other_log {
        return Err(GapError::OtherLog { topic: topic.to_owned(), found });
    }
    for (partition, named) in gaps.iter() {
        let missing = standing.expired.get(partition);
        if missing != Some(named) {
            return Err(GapError::NotMissing { partition, named, missing });
        }
    }
    let commit = Commit::of_gap(clock.new_id(), id, gaps.clone(), state.schema);
    match table.commit(&commit).await? {
        CommitOutcome::Landed(state) => Ok(state),
        CommitOutcome::Fenced { reason, .. } => Err(GapError::Moved { reason }),
    }
}

/// Ranges as they are typed: `0:5-9 3:0-2`.
#[must_use]
pub fn spelled(gaps: &OffsetRanges) -> String {
    let spelled = gaps.iter().map(|(p, range)| format!("{p}:{}-{}", range.start(), range.end()));
    spelled.collect::<Vec<_>>().join(" ")
}

/// A range as it is typed.
///
/// # Errors
/// What it should look like.
pub fn parse(text: &str) -> Result<(PartitionId, OffsetRange), String> {
    let parts = || {
        let (partition, range) = text.split_once(':')?;
        let (start, end) = range.split_once('-')?;
        let (start, end) = (start.parse().ok()?, end.parse().ok()?);
        let range = (start < end).then(|| OffsetRange::new(Offset(start), Offset(end)))?;
        Some((PartitionId(partition.parse().ok()?), range))
    };
    parts().ok_or_else(|| {
        format!("{text:?} must be PARTITION:FIRST-NEXT, as `laker check` shows it, for instance 0:5-9")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_it_is_spelled() {
        let range = |start, end| OffsetRange::new(Offset(start), Offset(end));
        let gaps: OffsetRanges =
            [(PartitionId(0), range(5, 9)), (PartitionId(3), range(0, u64::MAX))].into_iter().collect();
        let text = spelled(&gaps);
        assert_eq!(text, "0:5-9 3:0-18446744073709551615");
        let read: Result<OffsetRanges, _> = text.split(' ').map(parse).collect();
        assert_eq!(read, Ok(gaps));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for wrong in ["", "0", "0:5", "0:5-", "0:5-5", "0:9-5", "-1:5-9", "0:5-9-", "0:5..9", "a:5-9"] {
            assert!(parse(wrong).unwrap_err().contains("PARTITION:FIRST-NEXT"), "{wrong}");
        }
    }
}
