//! Data files before and after they are stored.

use std::collections::BTreeMap;

use bytes::Bytes;
use event::{LeaderEpoch, LogId, Offset, OffsetRange, OffsetRanges, PartitionId};
use object_store::path::Path;

/// A finished Parquet file in memory.
#[derive(Debug, Clone)]
pub struct EncodedFile {
    /// Batch it belongs to, and its number within it: together they make its name unique.
    pub batch_id: String,
    /// Number within the batch, from zero.
    pub index: u32,
    /// Days since 1970-01-01 of all its rows, under [`crate::Layout::ByEventDate`].
    pub event_date: Option<i32>,
    /// What its rows come from. Under [`crate::Layout::ByLogPartition`] exactly one partition,
    /// and the range is what the file commits.
    pub ranges: OffsetRanges,
    /// Rows in it.
    pub row_count: u64,
    /// The file's bytes.
    pub bytes: Bytes,
    /// Statistics of its columns, for pruning.
    pub column_stats: Vec<ColumnStats>,
}

/// A file a commit can name.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// Path under the table's folder.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// Rows in it.
    pub row_count: u64,
    /// See [`EncodedFile::event_date`].
    pub event_date: Option<i32>,
    /// See [`EncodedFile::ranges`].
    pub ranges: OffsetRanges,
    /// See [`EncodedFile::column_stats`].
    pub column_stats: Vec<ColumnStats>,
    /// Checksum of its bytes, where the commit is to write it down. Files of plain Parquet carry
    /// theirs in their footers.
    pub checksum: Option<crate::Checksum>,
    /// The bytes, where the commit itself puts them (plain Parquet); else they are stored already.
    pub held: Option<Bytes>,
}

/// A live file, as a reader sees it.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Full path in the lake's object store.
    pub path: Path,
    /// Its size.
    pub size_bytes: u64,
    /// Rows in it, where known.
    pub row_count: Option<u64>,
    /// Its partition value, under [`crate::Layout::ByEventDate`].
    pub event_date: Option<i32>,
    /// Statistics, where known.
    pub column_stats: Vec<ColumnStats>,
}

/// Smallest and largest value of one top-level column of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnStats {
    /// The column.
    pub column: String,
    /// No value is smaller.
    pub min: Option<StatValue>,
    /// No value is larger.
    pub max: Option<StatValue>,
    /// How many values are null.
    pub null_count: Option<u64>,
}

/// A bound in [`ColumnStats`].
#[derive(Debug, Clone, PartialEq)]
pub enum StatValue {
    /// Of an `int` or `long` column.
    Long(i64),
    /// Of a `double` column; never NaN.
    Double(f64),
    /// Of a `boolean` column.
    Boolean(bool),
    /// Of a `string` column. A maximum is given only when it is exact.
    String(String),
    /// Of a `timestamp` column, in microseconds.
    TimestampMicros(i64),
}

/// Key of the Parquet footer: identity of the batch.
pub const BATCH_ID_KEY: &str = "laker.batch_id";
/// Key of the Parquet footer: identity of the log.
pub const LOG_KEY: &str = "laker.log";
/// Key of the Parquet footer: partition of the log.
pub const PARTITION_KEY: &str = "laker.partition";
/// Key of the Parquet footer: first offset covered.
pub const START_KEY: &str = "laker.start";
/// Key of the Parquet footer: first offset not covered any more.
pub const END_KEY: &str = "laker.end";
/// Key of the Parquet footer: rows in the file.
pub const ROW_COUNT_KEY: &str = "laker.row_count";
/// Key of the Parquet footer: dead letters in the range.
pub const DEAD_COUNT_KEY: &str = "laker.dead_count";
/// Key of the Parquet footer: records skipped in the range.
pub const SKIPPED_COUNT_KEY: &str = "laker.skipped_count";
/// Key of the Parquet footer: leader epoch of the last record known below the end; left out where
/// the log has none.
pub const END_EPOCH_KEY: &str = "laker.end_epoch";
/// Key of the Parquet footer: `true` where the range is a gap; else left out.
pub const GAP_KEY: &str = "laker.gap";

/// Key of the Parquet footer: the format, where it is not [`FORMAT`]. Nothing writes it yet; a later
/// format will, so that this version refuses its files instead of misreading them (`docs/formats.md`).
pub const FORMAT_KEY: &str = "laker.format";
/// The format this version reads and writes, also in a Delta table's configuration.
pub const FORMAT: &str = "1";

/// What a file under [`crate::Layout::ByLogPartition`] says about itself in the key-value metadata
/// of its Parquet footer. The file **is** the commit, so this is what the table rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFooter {
    /// Batch the file belongs to.
    pub batch_id: String,
    /// The log its offsets are of.
    pub log: LogId,
    /// The partition its offsets are of.
    pub partition: PartitionId,
    /// What it commits, with the leader epoch at its end.
    pub range: OffsetRange,
    /// Rows in it.
    pub row_count: u64,
    /// Records in the range that are dead letters.
    pub dead_count: u64,
    /// Records in the range that were skipped on purpose.
    pub skipped_count: u64,
    /// Whether the range is a gap; see [`crate::Commit::gap`].
    pub gap: bool,
}

impl FileFooter {
    /// The pairs to write into the footer.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            (BATCH_ID_KEY, self.batch_id.clone()),
            (LOG_KEY, self.log.to_string()),
            (PARTITION_KEY, self.partition.to_string()),
            (START_KEY, self.range.start().to_string()),
            (END_KEY, self.range.end().to_string()),
            (ROW_COUNT_KEY, self.row_count.to_string()),
            (DEAD_COUNT_KEY, self.dead_count.to_string()),
            (SKIPPED_COUNT_KEY, self.skipped_count.to_string()),
        ];
        pairs.extend(self.range.epoch().map(|epoch| (END_EPOCH_KEY, epoch.to_string())));
        pairs.extend(self.gap.then(|| (GAP_KEY, true.to_string())));
        pairs
    }

    /// Reads what [`FileFooter::pairs`] wrote; other pairs are ignored.
    ///
    /// # Errors
    /// Which key is missing or has no sense.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let pairs: BTreeMap<&str, &str> = pairs.into_iter().collect();
        if let Some(format) = pairs.get(FORMAT_KEY).filter(|format| **format != FORMAT) {
            return Err(format!(
                "it is of format {format:?}, and this Laker reads {FORMAT}; use a newer one"
            ));
        }
        let text = |key| pairs.get(key).copied().ok_or_else(|| format!("its footer has no {key}"));
        let number = |key| text(key)?.parse::<u64>().map_err(|e| format!("its {key} is no number: {e}"));
        let (start, end) = (number(START_KEY)?, number(END_KEY)?);
        let epoch = pairs.get(END_EPOCH_KEY).map(|epoch| epoch.parse().map(LeaderEpoch)).transpose();
        let epoch = epoch.map_err(|e| format!("its {END_EPOCH_KEY} is no number: {e}"))?;
        let log = text(LOG_KEY)?;
        if start > end || log.is_empty() || log.contains('/') {
            return Err(format!("its footer names log {log:?} and range [{start}, {end})"));
        }
        Ok(Self {
            batch_id: text(BATCH_ID_KEY)?.to_owned(),
            log: LogId::new(log),
            partition: PartitionId(
                text(PARTITION_KEY)?.parse().map_err(|e| format!("its {PARTITION_KEY}: {e}"))?,
            ),
            range: OffsetRange::new(Offset(start), Offset(end)).written_under(epoch),
            row_count: number(ROW_COUNT_KEY)?,
            dead_count: number(DEAD_COUNT_KEY)?,
            skipped_count: number(SKIPPED_COUNT_KEY)?,
            gap: pairs.get(GAP_KEY).is_some_and(|gap| *gap == "true"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> FileFooter {
        FileFooter {
            batch_id: "0198c0de-0000-7000-8000-000000000000".to_owned(),
            log: LogId::new("kafka:cluster:topic"),
            partition: PartitionId(3),
            range: OffsetRange::new(Offset(10), Offset(25)),
            row_count: 12,
            dead_count: 2,
            skipped_count: 1,
            gap: false,
        }
    }

    #[test]
    fn a_footer_says_what_was_written_into_it() {
        let pairs = footer().pairs();
        let read = FileFooter::parse(pairs.iter().map(|(key, value)| (*key, value.as_str())));
        assert_eq!(read, Ok(footer()));
    }

    #[test]
    fn a_footer_keeps_the_leader_epoch_and_the_mark_of_a_gap_and_needs_neither() {
        let read = |footer: &FileFooter| {
            let pairs = footer.pairs();
            let read = FileFooter::parse(pairs.iter().map(|(key, value)| (*key, value.as_str()))).unwrap();
            (read.range.epoch(), read.gap, pairs.len())
        };
        assert_eq!(read(&footer()), (None, false, 8), "as files were written before there were epochs");
        let epoch = Some(LeaderEpoch(7));
        let range = footer().range.written_under(epoch);
        assert_eq!(read(&FileFooter { range, gap: true, ..footer() }), (epoch, true, 10));
    }

    #[test]
    fn a_footer_of_a_later_format_is_refused_by_name() {
        let read = |format| {
            let pairs = footer().pairs();
            let pairs = pairs.iter().map(|(key, value)| (*key, value.as_str()));
            FileFooter::parse(pairs.chain([(FORMAT_KEY, format)]))
        };
        assert_eq!(read(FORMAT), Ok(footer()));
        assert!(read("2").unwrap_err().contains("format \"2\""));
    }

    #[test]
    fn a_footer_of_another_writer_is_not_taken_for_ours() {
        for broken in 0..8 {
            let pairs = footer().pairs();
            let kept = pairs.iter().enumerate().filter(|(index, _)| *index != broken);
            FileFooter::parse(kept.map(|(_, (key, value))| (*key, value.as_str()))).unwrap_err();
        }
        let pairs = footer().pairs();
        let turned =
            pairs.iter().map(|(key, value)| (*key, if *key == END_KEY { "9" } else { value.as_str() }));
        assert!(FileFooter::parse(turned).unwrap_err().contains("[10, 9)"));
    }
}
