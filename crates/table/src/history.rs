//! How a table came to be, commit by commit: for whoever does not believe it.
//!
//! [`History`] reads what is written down beside the rows and judges nothing. Judging is the work
//! of the crate `verify`.

use std::fmt;

use async_trait::async_trait;
use event::{LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions, TimestampMicros};
use futures::stream::BoxStream;
use object_store::path::Path;

use crate::{Checksum, Snapshot, Table, TableError};

/// A table that can say how it came to be.
#[async_trait]
pub trait History: Table {
    /// The newest version, and all that led to it; `None` when there is no table.
    ///
    /// # Errors
    /// [`TableError`] when it cannot be read.
    async fn history(&self) -> Result<Option<Past>, TableError>;

    /// The commit that moved `partition` of `log` over `offset`; `None` when none did, or when it
    /// is no longer written down.
    ///
    /// # Errors
    /// [`TableError`] when it cannot be read.
    async fn landing(
        &self,
        log: &LogId,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<Option<Landing>, TableError>;
}

/// One version of a table, and how it came to be.
pub struct Past {
    /// That version, without positions: those follow from the events.
    pub snapshot: Snapshot,
    /// How many events there are, for showing progress.
    pub event_count: u64,
    /// What happened: in the order of the commits, or, where partitions have chains of their own,
    /// chain by chain.
    pub events: BoxStream<'static, Result<PastEvent, TableError>>,
}

impl fmt::Debug for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Past").field("version", &self.snapshot.version).finish_non_exhaustive()
    }
}

/// One thing that happened to a table.
#[derive(Debug, Clone)]
pub enum PastEvent {
    /// It was made, or its columns changed.
    Shaped,
    /// Partitions of a log got their first positions.
    Began {
        /// The log.
        log: LogId,
        /// Where they begin.
        starts: Positions,
    },
    /// A batch landed.
    Landed(PastCommit),
    /// Another program changed the table.
    Foreign {
        /// The version it made.
        version: u64,
        /// What it called that.
        operation: String,
        /// Whether it says that rows were added, changed or removed.
        changes_rows: bool,
        /// Files it took away.
        removed: Vec<Path>,
    },
    /// What happened before this version is no longer written down.
    Forgotten {
        /// The first version that is.
        before: u64,
    },
    /// A data file that readers see does not say what it is.
    Unreadable {
        /// Its path.
        path: Path,
        /// What is wrong with it.
        reason: String,
    },
}

/// A commit of Laker's, as the table has it.
#[derive(Debug, Clone)]
pub struct PastCommit {
    /// The version it made; `None` where objects are the commits.
    pub version: Option<u64>,
    /// When it was committed, if that is known.
    pub committed_at: Option<TimestampMicros>,
    /// Identity of the batch.
    pub batch_id: String,
    /// The log whose positions it moved.
    pub log: LogId,
    /// The ranges it says it covers.
    pub ranges: OffsetRanges,
    /// Where it put the positions.
    pub next: Positions,
    /// Rows it says it has.
    pub row_count: u64,
    /// Dead letters it says there are in its ranges.
    pub dead_count: u64,
    /// Records it says were skipped.
    pub skipped_count: u64,
    /// Whether it is a gap that a person accepted: the records of its ranges were gone.
    pub gap: bool,
    /// Files it added.
    pub files: Vec<PastFile>,
}

/// A file as it was when it was added.
#[derive(Debug, Clone)]
pub struct PastFile {
    /// Full path in the lake's object store.
    pub path: Path,
    /// Its size, where that was written down.
    pub size_bytes: Option<u64>,
    /// Rows in it, where that was written down.
    pub row_count: Option<u64>,
    /// Its checksum, where that was written down.
    pub checksum: Option<Checksum>,
}

/// How an offset landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// The version of the table that was the first to have it; `None` where objects are the commits.
    pub version: Option<u64>,
    /// The offsets of its partition that the commit covers.
    pub range: OffsetRange,
    /// Files the commit added that may hold it, full paths.
    pub files: Vec<Path>,
}
