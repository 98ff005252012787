//! Dead letters as SQL sees them, and out of batches.

use anyhow::{Result, anyhow};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use decode::columns;
use event::{Offset, PartitionId, TimestampMicros};
use loader::DeadLetter;

/// Dead letters of `table` with `state` and `replayed_at`. Before the first replay the table has no
/// column that could say when.
pub(super) fn relation(table: &str, has_replays: bool) -> String {
    let dead = event::stream::dead_letter_table(table);
    if !has_replays {
        return format!(
            "(SELECT *, 'pending' AS state, CAST(NULL AS TIMESTAMP) AS replayed_at FROM \"{dead}\") AS letters"
        );
    }
    format!(
        "(SELECT d.*, CASE WHEN r._replayed_at IS NULL THEN 'pending' ELSE 'replayed' END AS state, \
         r._replayed_at AS replayed_at FROM \"{dead}\" AS d LEFT JOIN \
         (SELECT _partition, _offset, _replayed_at FROM \"{table}\" WHERE _replayed_at IS NOT NULL) AS r \
         ON d._partition = r._partition AND d._offset = r._offset) AS letters"
    )
}

/// What a person typed, as a condition. A line of its own, so that a comment ends with it.
pub(super) fn condition(typed: Option<&str>) -> String {
    typed.map_or_else(|| "TRUE".to_owned(), |typed| format!("({typed}\n)"))
}

/// How many there are, by reason.
pub(super) fn counts(letters: &str, condition: &str) -> String {
    format!(
        "SELECT reason, count(*) AS letters, sum(CASE WHEN state = 'pending' THEN 1 ELSE 0 END) AS pending, \
         sum(CASE WHEN state = 'replayed' THEN 1 ELSE 0 END) AS replayed, max(_received_at) AS newest \
         FROM {letters} WHERE {condition} GROUP BY reason ORDER BY letters DESC, reason"
    )
}

/// The newest first; for eyes without their bytes, which `show` shows.
pub(super) fn list(letters: &str, condition: &str, limit: u64, for_eyes: bool) -> String {
    let columns = if for_eyes {
        "CAST(_partition AS VARCHAR) || ':' || CAST(_offset AS VARCHAR) AS place, _received_at AS received_at, \
         reason, state, detail"
    } else {
        "_partition, _offset, _received_at, reason, detail, state, replayed_at, raw"
    };
    format!(
        "SELECT {columns} FROM {letters} WHERE {condition} \
         ORDER BY _received_at DESC, _partition, _offset DESC LIMIT {limit}"
    )
}

/// The one at a place.
pub(super) fn one(letters: &str, partition: u32, offset: u64) -> String {
    format!(
        "SELECT _partition, _offset, CAST(_received_at AS VARCHAR) AS received_at, reason, detail, state, \
         CAST(replayed_at AS VARCHAR) AS replayed_at, raw FROM {letters} \
         WHERE _partition = {partition} AND _offset = {offset}"
    )
}

/// Those that are not replayed, in the order of the log.
pub(super) fn pending(letters: &str, condition: &str) -> String {
    format!(
        "SELECT _partition, _offset, _received_at, raw FROM {letters} \
         WHERE state = 'pending' AND {condition} ORDER BY _partition, _offset"
    )
}

/// The letters in a batch of [`pending`].
pub(super) fn read(batch: &RecordBatch) -> Result<Vec<DeadLetter>> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| anyhow!("the table of dead letters has no column {name}"))
    };
    let other = || anyhow!("the table of dead letters has columns of other types than Laker's");
    let partitions = column(columns::PARTITION)?.as_primitive_opt::<Int32Type>().ok_or_else(other)?;
    let offsets = column(columns::OFFSET)?.as_primitive_opt::<Int64Type>().ok_or_else(other)?;
    let received =
        column(columns::RECEIVED_AT)?.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(other)?;
    let raw = column(columns::RAW)?.as_binary_opt::<i32>().ok_or_else(other)?;
    let letter = |at: usize| {
        Ok(DeadLetter {
            partition: PartitionId(u32::try_from(partitions.value(at))?),
            offset: Offset(u64::try_from(offsets.value(at))?),
            received_at: TimestampMicros(received.value(at)),
            raw: Bytes::copy_from_slice(raw.value(at)),
        })
    };
    (0..batch.num_rows()).map(letter).collect()
}
