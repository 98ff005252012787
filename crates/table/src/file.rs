//! Data files before and after they are stored.

use bytes::Bytes;
use event::OffsetRanges;
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
