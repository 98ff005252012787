//! The table on Delta Lake; the only crate of the write path that sees deltalake.
//!
//! A commit of ours is one entry of the table's log, created on condition that its version does
//! not exist. It adds the files and sets, for every partition it covers, the transaction
//! `laker/<log>/<partition>` to the next offset, and beside it the leader epoch there. Before it is written, those transactions are
//! compared with the starts of its ranges in version `n`; then it is created as version `n + 1`.
//! If somebody else has that version, it is read, taken into account, and all is checked anew. So
//! check and commit are one compare-and-swap, and rows and offsets are one atomic step.
//!
//! `deltalake-core` gives the actions, the log store, snapshots for readers and checkpoints. The
//! commit loop is our own, since its check is what exactly once rests on.

/// Where the table is, and how Delta gets there.
mod place;
/// What the log says of the table, up to one version.
mod log;
/// Positions as transactions of the log.
mod position;
/// Transactions in checkpoints, and writing checkpoints.
mod checkpoint;
/// The entries we write.
mod entry;
/// Statistics of files, as Delta writes them.
mod stats;
/// What readers see: the files of one version.
mod reader;
/// The compare-and-swap.
mod write;
/// How the table came to be.
mod past;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use event::{Clock, LogId, OffsetRanges, Positions};
use table::{
    Checksum, Commit, CommitOutcome, EncodedFile, Lake, Layout, Snapshot, StoredFile, Table, TableError,
    TableState,
};
use tokio::sync::Mutex;

use log::TableLog;
use place::Place;
use reader::Reader;
use write::{Next, Written};

/// A Delta table on a lake.
#[derive(Debug)]
pub struct DeltaTable {
    place: Arc<Place>,
    /// The newest version that was read or written; none while no table was found.
    log: Mutex<Option<TableLog>>,
    reader: Mutex<Reader>,
}

impl DeltaTable {
    /// The table `name` on `lake`, whether it exists or not.
    #[must_use]
    pub fn new(lake: Lake, name: &str, clock: Clock) -> Self {
        let place = Arc::new(Place::new(lake, name, clock));
        Self { place, log: Mutex::default(), reader: Mutex::default() }
    }

    fn missing(&self) -> TableError {
        self.place.data_error("there is no table; create it before writing to it")
    }
}

#[async_trait]
impl Table for DeltaTable {
    fn name(&self) -> &str {
        self.place.name()
    }

    fn layout(&self) -> Layout {
        Layout::ByEventDate
    }

    async fn load(&self, log: &LogId) -> Result<Option<TableState>, TableError> {
        let mut known = self.log.lock().await;
        log::refresh(&mut known, &self.place).await?;
        Ok(known.as_ref().map(|known| known.state(log)))
    }

    async fn create(&self, schema: &SchemaRef, log: &LogId) -> Result<TableState, TableError> {
        let mut known = self.log.lock().await;
        write::create(&mut known, &self.place, schema).await?;
        known.as_ref().map(|known| known.state(log)).ok_or_else(|| self.missing())
    }

    async fn begin(&self, log: &LogId, starts: &Positions) -> Result<TableState, TableError> {
        let mut known = self.log.lock().await;
        write::write(&mut known, &self.place, |known| {
            let have = known.positions(log);
            let new: Positions =
                starts.iter().filter(|(partition, _)| have.get(*partition).is_none()).collect();
            if new.is_empty() {
                return Ok(Next::Done);
            }
            known.refuse_other_logs(log, &self.place)?;
            entry::begin(known, &self.place, log, &new).map(Next::Write)
        })
        .await?;
        known.as_ref().map(|known| known.state(log)).ok_or_else(|| self.missing())
    }

    async fn store(&self, file: EncodedFile) -> Result<StoredFile, TableError> {
        let path = entry::file_path(&self.place, &file)?;
        self.place.store_file(&path, file.bytes.clone()).await?;
        Ok(StoredFile {
            path,
            size_bytes: file.bytes.len() as u64,
            row_count: file.row_count,
            event_date: file.event_date,
            ranges: file.ranges,
            column_stats: file.column_stats,
            checksum: Some(Checksum::of(&file.bytes)),
            held: None,
        })
    }

    async fn commit(&self, commit: &Commit) -> Result<CommitOutcome, TableError> {
        if let Some(fault) = commit.gap_fault() {
            return Err(self.place.data_error(fault));
        }
        let mut known = self.log.lock().await;
        let moves = commit.ranges.iter().any(|(_, range)| !range.is_empty());
        if !moves && !commit.files.is_empty() {
            return Err(self.place.data_error(format!(
                "batch {} has files but covers no offset, so it could land twice; this is a bug in Laker",
                commit.batch_id
            )));
        }
        let written = write::write(&mut known, &self.place, |known| {
            if let Err(refused) = known.positions(&commit.log).check(&commit.ranges) {
                return Ok(Next::Refused(refused.to_string()));
            }
            match moves {
                true => entry::append(known, &self.place, commit),
                false => Ok(Next::Done),
            }
        })
        .await?;
        let state = known.as_ref().map(|known| known.state(&commit.log)).ok_or_else(|| self.missing())?;
        let Written::Refused(reason) = written else { return Ok(CommitOutcome::Landed(state)) };
        let known = known.as_ref().ok_or_else(|| self.missing())?;
        match known.has_batch(&self.place, commit).await? {
            true => Ok(CommitOutcome::Landed(state)),
            false => Ok(CommitOutcome::Fenced { state, landed: OffsetRanges::new(), reason }),
        }
    }

    async fn snapshot(&self, log: Option<&LogId>) -> Result<Option<Snapshot>, TableError> {
        self.reader.lock().await.snapshot(&self.place, log).await
    }
}
