//! The table on the lake, in plain data: what the loader commits and the query reads.
//!
//! One trait, [`Table`], with two implementations: plain Parquet here, and Delta in `table-delta`.
//! Both pass [`conformance`]. The table is the authority on positions: rows and `next(p)` are one
//! commit, and a commit is accepted only where `next(p)` equals the start of its range.

/// What a commit carries and what comes of it.
pub mod commit;
/// Data files before and after they are stored.
pub mod file;
/// Checksums of data files, and files that carry their own.
pub mod checksum;
/// How a table came to be, commit by commit.
pub mod history;
/// Rows of data files, streamed.
pub mod rows;
/// What can go wrong, and what to do then.
pub mod error;
/// Merging schemas forward, never back.
pub mod schema;
/// Where tables live: a folder or a bucket, and whether its conditional writes hold.
pub mod lake;
/// Tables of plain Parquet files, where the object is the commit.
pub mod parquet_table;
/// The suite every implementation passes.
pub mod conformance;

use std::fmt;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use event::{LogId, Positions, TimestampMicros};

pub use checksum::Checksum;
pub use commit::{Commit, CommitOutcome};
pub use error::TableError;
pub use file::{ColumnStats, DataFile, EncodedFile, FileFooter, StatValue, StoredFile};
pub use history::{History, Landing, Past, PastCommit, PastEvent, PastFile};
pub use lake::Lake;
pub use parquet_table::ParquetTable;

/// One table on the lake.
#[async_trait]
pub trait Table: fmt::Debug + Send + Sync + 'static {
    /// Its name: the folder under the lake, the name in SQL.
    fn name(&self) -> &str;

    /// How a flush is to be cut into files.
    fn layout(&self) -> Layout;

    /// The newest state, with the positions of `log`; `None` when there is no table.
    ///
    /// # Errors
    /// [`TableError`] when it cannot be read.
    async fn load(&self, log: &LogId) -> Result<Option<TableState>, TableError>;

    /// Makes the table with `schema`, in a commit of its own that has no rows. When somebody else
    /// made it meanwhile, that one is returned.
    ///
    /// # Errors
    /// [`TableError`] when it cannot be made.
    async fn create(&self, schema: &SchemaRef, log: &LogId) -> Result<TableState, TableError>;

    /// Writes down where partitions of `log` begin that have no position yet; ones that have are
    /// left alone. Returns the state after it.
    ///
    /// # Errors
    /// [`TableError`] when it cannot be written.
    async fn begin(&self, log: &LogId, starts: &Positions) -> Result<TableState, TableError>;

    /// Stores a file so that a commit can name it; no reader sees it before. Plain Parquet, where
    /// the object is the commit, only keeps the bytes until then.
    ///
    /// # Errors
    /// [`TableError`] when it cannot be stored. What may have been stored is never deleted here.
    async fn store(&self, file: EncodedFile) -> Result<StoredFile, TableError>;

    /// Makes files visible and moves positions, if and only if each partition's position equals
    /// the start of its range in the very state the commit is applied to.
    ///
    /// Calling it again with the same `batch_id` after an error applies nothing twice: an outcome
    /// that was unknown is settled by reading the state again.
    ///
    /// # Errors
    /// [`TableError`] when the outcome could not be established; the caller may call again with
    /// the very same commit, and must neither delete its files nor read on before it knows.
    async fn commit(&self, commit: &Commit) -> Result<CommitOutcome, TableError>;

    /// The newest state as a reader needs it; `None` when there is no table.
    ///
    /// # Errors
    /// [`TableError`] when it cannot be read.
    async fn snapshot(&self, log: Option<&LogId>) -> Result<Option<Snapshot>, TableError>;
}

/// How a flush is cut into files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One file per `event_date`, with rows of any log partition; the date is in the path and
    /// **not** a column of the file (Delta).
    ByEventDate,
    /// One file per log partition, `event_date` being a column of it (plain Parquet).
    ByLogPartition,
}

/// What a writer has to know of a table.
#[derive(Debug, Clone)]
pub struct TableState {
    /// Grows with every commit.
    pub version: u64,
    /// Columns of the table, system columns included, `event_date` included.
    pub schema: SchemaRef,
    /// `next(p)` of the log that was asked for.
    pub positions: Positions,
    /// Other logs this table has positions of. Not empty together with empty `positions` means
    /// the log was exchanged: going on would mix two logs' offsets.
    pub other_logs: Vec<LogId>,
}

/// What a reader has to know of a table: one consistent version.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The version that was read.
    pub version: u64,
    /// When that version was committed, if it says so.
    pub committed_at: Option<TimestampMicros>,
    /// Columns of the table, `event_date` included.
    pub schema: SchemaRef,
    /// `next(p)` of the log asked for, of exactly this version.
    pub positions: Positions,
    /// How files are laid out.
    pub layout: Layout,
    /// All live data files.
    pub files: Vec<DataFile>,
}

impl Snapshot {
    /// Files that may have rows landed by replays, which alone have a value in `column`.
    pub fn replayed_files<'a>(&'a self, column: &'a str) -> impl Iterator<Item = &'a DataFile> {
        let exists = self.schema.column_with_name(column).is_some();
        let may_have = move |file: &&DataFile| match self.layout {
            Layout::ByLogPartition => parquet_table::is_replay(&file.path),
            Layout::ByEventDate => {
                let stats = file.column_stats.iter().find(|stats| stats.column == column);
                let nulls = stats.and_then(|stats| stats.null_count);
                nulls.is_none() || nulls != file.row_count
            }
        };
        self.files.iter().filter(move |_| exists).filter(may_have)
    }
}
