//! What a commit carries and what comes of it.

use arrow_schema::SchemaRef;
use event::{LogId, OffsetRanges};

use crate::{StoredFile, TableState};

/// Rows and the ranges they come from, to become visible together.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Identity of this attempt to move the chain on (UUID version 7); the same on every retry.
    pub batch_id: String,
    /// The log whose positions move.
    pub log: LogId,
    /// What the rows cover. Partitions may be covered without any row.
    pub ranges: OffsetRanges,
    /// The files, possibly none.
    pub files: Vec<StoredFile>,
    /// Columns the files may have. Columns unknown to the table are added by this commit.
    pub schema: SchemaRef,
    /// Rows in all files.
    pub row_count: u64,
    /// Records in the ranges that are dead letters of this stream.
    pub dead_count: u64,
    /// Records in the ranges that were skipped on purpose (tombstones).
    pub skipped_count: u64,
    /// Whether the ranges are a gap: what the log had there was gone before it landed, and a person
    /// accepted that. Such a commit has neither files nor counts, and says so to whoever reads it.
    pub gap: bool,
}

impl Commit {
    /// Moves positions over `ranges`, whose records are gone from the log.
    #[must_use]
    pub fn of_gap(batch_id: String, log: LogId, ranges: OffsetRanges, schema: SchemaRef) -> Self {
        Self {
            batch_id,
            log,
            ranges,
            files: Vec::new(),
            schema,
            row_count: 0,
            dead_count: 0,
            skipped_count: 0,
            gap: true,
        }
    }

    /// What is wrong with a gap that has more than ranges, if it has; every table refuses that.
    #[must_use]
    pub fn gap_fault(&self) -> Option<String> {
        let counted = self.row_count + self.dead_count + self.skipped_count;
        let faulty = self.gap && (counted > 0 || !self.files.is_empty());
        faulty.then(|| format!("batch {} is a gap and has records; this is a bug in Laker", self.batch_id))
    }
}

/// How a commit ended, when that is known for certain.
#[derive(Debug, Clone)]
pub enum CommitOutcome {
    /// All of it is in the table, now or since an earlier attempt with the same batch id.
    Landed(TableState),
    /// Somebody else moved a partition on, or fixed a column to another type. Whatever is not in
    /// `landed` must be dropped and read again from `state.positions`.
    Fenced {
        /// The table as it is now.
        state: TableState,
        /// Ranges of this commit that did land (only a table that commits per partition has any).
        landed: OffsetRanges,
        /// Why, for the log.
        reason: String,
    },
}
