//! What the log says of the table, up to one version.
//!
//! Of the whole log only four things matter to a writer: columns, protocol, transactions, version.
//! They are read from the newest checkpoint and the entries after it once, and kept up to date by
//! reading one entry per new version, so that a commit costs the same in a table of any size.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use deltalake_core::kernel::engine::arrow_conversion::TryIntoArrow as _;
use deltalake_core::kernel::{Action, Metadata, Protocol, Snapshot, StructType};
use deltalake_core::logstore::get_actions;
use event::{LogId, Positions, limits};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use table::file::{FORMAT, FORMAT_KEY};
use table::{Commit, TableError, TableState};

use crate::checkpoint;
use crate::place::Place;
use crate::position::{self, Transactions, app_id};

/// Features an append keeps whole without doing anything for them.
const WRITER_FEATURES: [&str; 6] =
    ["appendOnly", "invariants", "timestampNtz", "deletionVectors", "domainMetadata", "vacuumProtocolCheck"];

/// The table as its log describes it at one version.
#[derive(Debug, Clone)]
pub(crate) struct TableLog {
    pub(crate) version: u64,
    pub(crate) metadata: Metadata,
    protocol: Protocol,
    /// All columns, in Arrow's words.
    pub(crate) schema: SchemaRef,
    transactions: Transactions,
    /// When `version` was committed, in milliseconds, if it says so.
    pub(crate) committed_at_ms: Option<i64>,
}

/// Brings `known` to the newest version; none when there is no table.
pub(crate) async fn refresh(known: &mut Option<TableLog>, place: &Place) -> Result<(), TableError> {
    if let Some(log) = known
        && log.advance(place).await?
    {
        return Ok(());
    }
    *known = TableLog::read(place).await?;
    Ok(())
}

impl TableLog {
    /// Reads the log from its newest checkpoint on.
    async fn read(place: &Place) -> Result<Option<Self>, TableError> {
        let Some(listing) = checkpoint::Listing::read(place).await? else { return Ok(None) };
        let store = place.log_store()?;
        let snapshot = Snapshot::try_new(store.as_ref(), Some(listing.newest));
        let snapshot = place.clock.outside(snapshot).await;
        let snapshot = snapshot.map_err(|error| place.explain(&error))?;
        let mut log = Self {
            version: listing.newest,
            metadata: snapshot.metadata().clone(),
            protocol: snapshot.protocol().clone(),
            schema: snapshot.arrow_schema(),
            transactions: checkpoint::transactions(place, &listing.checkpoint).await?,
            committed_at_ms: None,
        };
        let first = listing.first_entry();
        for (version, actions) in read_entries(place, first, listing.newest).await? {
            let actions = actions
                .ok_or_else(|| place.data_error(format!("version {version} of its log is missing")))?;
            log.take(version, &actions, place)?;
        }
        Ok(Some(log))
    }

    /// Takes newer entries into account. `false` when the log is not where it was: read it anew.
    async fn advance(&mut self, place: &Place) -> Result<bool, TableError> {
        let (before, mut width) = (self.version, 1);
        loop {
            let next = self.version + 1;
            for (version, actions) in read_entries(place, next, next + width - 1).await? {
                let Some(actions) = actions else {
                    // Entries are removed oldest first: while ours is there, none after it was.
                    return Ok(self.version > before || place.has_entry(self.version).await?);
                };
                self.take(version, &actions, place)?;
            }
            width = (width * 2).min(limits::STORE_PARALLEL_MAX as u64);
        }
    }

    /// Takes the entry of `version` into account.
    pub(crate) fn take(&mut self, version: u64, actions: &[Action], place: &Place) -> Result<(), TableError> {
        self.version = version;
        self.committed_at_ms = None;
        for action in actions {
            match action {
                Action::Txn(txn) => {
                    self.transactions.insert(txn.app_id.clone(), txn.version);
                }
                Action::Metadata(metadata) => {
                    self.schema = arrow_schema(metadata, place)?;
                    self.metadata = metadata.clone();
                }
                Action::Protocol(protocol) => self.protocol = protocol.clone(),
                Action::CommitInfo(info) => {
                    self.committed_at_ms = info.in_commit_timestamp.or(info.timestamp)
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Positions of `log`.
    pub(crate) fn positions(&self, log: &LogId) -> Positions {
        position::positions(&self.transactions, log)
    }

    pub(crate) fn state(&self, log: &LogId) -> TableState {
        TableState {
            version: self.version,
            schema: Arc::clone(&self.schema),
            positions: self.positions(log),
            other_logs: self.other_logs(log),
        }
    }

    fn other_logs(&self, log: &LogId) -> Vec<LogId> {
        position::other_logs(&self.transactions, log)
    }

    /// Refuses to begin a second log beside one that has positions here.
    pub(crate) fn refuse_other_logs(&self, log: &LogId, place: &Place) -> Result<(), TableError> {
        match self.other_logs(log).first() {
            Some(other) if self.positions(log).is_empty() => Err(place.data_error(format!(
                "it has positions of log {other}, this is log {log}; use another table, or restore the log"
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses a table whose protocol asks writers for what we do not do.
    pub(crate) fn check_writable(&self, place: &Place) -> Result<(), TableError> {
        let format = self.metadata.configuration().get(FORMAT_KEY);
        if let Some(format) = format.filter(|format| *format != FORMAT) {
            return Err(place.data_error(format!(
                "it is of format {format:?}, and this Laker writes {FORMAT}; use a newer one, or another table"
            )));
        }
        let version = self.protocol.min_writer_version();
        let features: Vec<String> =
            self.protocol.writer_features().unwrap_or_default().iter().map(ToString::to_string).collect();
        let unknown: Vec<_> =
            features.into_iter().filter(|f| !WRITER_FEATURES.contains(&f.as_str())).collect();
        match version {
            0..=2 => Ok(()),
            7 if unknown.is_empty() => Ok(()),
            _ => Err(place.data_error(format!(
                "its protocol asks writers for version {version} {unknown:?}, which Laker does not write; \
                 drop these features, or load into another table"
            ))),
        }
    }

    /// Whether `commit` is in the log: whether its batch is what moved its partition on from its
    /// start. Asked only when the position is no longer there.
    pub(crate) async fn has_batch(&self, place: &Place, commit: &Commit) -> Result<bool, TableError> {
        let moved = commit.ranges.iter().find(|(_, range)| !range.is_empty());
        let Some((partition, range)) = moved else { return Ok(false) };
        let id = app_id(&commit.log, partition);
        for version in (0..=self.version).rev().take(limits::COMMIT_SEARCH_MAX) {
            let Some(bytes) = place.read_entry(version).await? else { return Ok(false) };
            let actions = decode(place, version, &bytes)?;
            if actions.iter().any(|action| is_of_batch(action, &commit.batch_id)) {
                return Ok(true);
            }
            let start = i64::try_from(range.start().0).unwrap_or(i64::MAX);
            let before =
                |a: &Action| matches!(a, Action::Txn(txn) if txn.app_id == id && txn.version <= start);
            if actions.iter().any(before) {
                return Ok(false);
            }
        }
        Ok(false)
    }
}

fn is_of_batch(action: &Action, batch_id: &str) -> bool {
    let Action::CommitInfo(info) = action else { return false };
    info.info.get(crate::entry::BATCH_ID).and_then(|id| id.as_str()) == Some(batch_id)
}

/// The columns in `metadata`, in Arrow's words.
fn arrow_schema(metadata: &Metadata, place: &Place) -> Result<SchemaRef, TableError> {
    let schema = metadata.parse_schema().map_err(|e| place.data_error(format!("its schema: {e}")))?;
    let schema: Result<Schema, _> = (&schema as &StructType).try_into_arrow();
    schema.map(Arc::new).map_err(|e| place.data_error(format!("its schema: {e}")))
}

pub(crate) fn decode(place: &Place, version: u64, bytes: &bytes::Bytes) -> Result<Vec<Action>, TableError> {
    get_actions(version, bytes).map_err(|error| place.explain(&error))
}

/// The entries from `first` to `last`, in order; none for one that does not exist.
async fn read_entries(
    place: &Place,
    first: u64,
    last: u64,
) -> Result<Vec<(u64, Option<Vec<Action>>)>, TableError> {
    let read = stream::iter(first..=last).map(|version| async move {
        let bytes = place.read_entry(version).await?;
        let actions = bytes.map(|bytes| decode(place, version, &bytes)).transpose()?;
        Ok((version, actions))
    });
    read.buffered(limits::STORE_PARALLEL_MAX).try_collect().await
}
