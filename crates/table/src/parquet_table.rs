//! Tables of plain Parquet files, where the object is the commit.
//!
//! ```text
//! <table>/_laker/schema/<n:020>.json      the columns; n grows by one, each written once
//! <table>/_laker/start/p=<p>.json         the log, and the offset its partition p begins at
//! <table>/data/p=<p>/<s:020>.parquet      rows of [s, e); e stands in the footer
//! <table>/data/p=<p>/replay-<n:020>.parquet   rows of the n-th replay of dead letters of p
//! ```
//! The key of a data file depends on its start `s` only, and is created on condition that it does
//! not exist. Writers use `s` only if it is the partition's start or the end of an existing file.
//! So there is at most one file per `s`, and the files of a partition are one chain, whoever
//! writes, however often, with whatever delay. There is no state between "not there" and
//! "committed", and nothing is ever deleted or overwritten.

use std::collections::BTreeMap;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use event::{Clock, LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions};
use futures::{StreamExt as _, stream};
use object_store::PutMode;
use object_store::path::Path;
use tokio::sync::Mutex;

use crate::{
    Commit, CommitOutcome, EncodedFile, Lake, Layout, Snapshot, StoredFile, Table, TableError, TableState,
};

/// Names of chains, and of what lies in them.
mod chain;
/// Data files: names, footers, and the conditional create that commits one.
mod object;
/// What is known of the table, brought up to date by listing what is new.
mod known;
/// The schema as a JSON object on the lake.
mod schema_file;
/// Objects with small JSON, created once.
mod small;
/// How the table came to be.
mod past;

use chain::ChainId;
use known::Known;
use object::{Link, Put};

/// A table of plain Parquet files on a lake.
#[derive(Debug)]
pub struct ParquetTable {
    place: Place,
    known: Mutex<Known>,
}

/// Where a table is, and the means to get there.
#[derive(Debug, Clone)]
struct Place {
    lake: Lake,
    name: String,
    clock: Clock,
}

impl Place {
    fn path(&self, parts: &[&str]) -> object_store::path::Path {
        parts.iter().fold(self.lake.table_path(&self.name), |path, part| path.join(*part))
    }

    /// What is stored contradicts itself.
    fn data_error(&self, reason: impl Into<String>) -> TableError {
        let place = self.lake.table_url(&self.name);
        TableError::Data { table: self.name.clone(), place, reason: reason.into() }
    }

    /// What is listed cannot be read: a store whose reads are behind its listings.
    fn behind(&self, path: &Path) -> TableError {
        let place = self.lake.table_url(&self.name);
        TableError::Unavailable { place, reason: format!("{path} is listed and cannot be read yet") }
    }
}

impl ParquetTable {
    /// The table `name` on `lake`, whether it exists or not.
    #[must_use]
    pub fn new(lake: Lake, name: &str, clock: Clock) -> Self {
        Self { place: Place { lake, name: name.to_owned(), clock }, known: Mutex::default() }
    }

    async fn refreshed(&self, log: &LogId) -> Result<Option<TableState>, TableError> {
        let mut known = self.known.lock().await;
        known.refresh(&self.place).await?;
        Ok(known.state(log))
    }

    async fn existing(&self, log: &LogId) -> Result<TableState, TableError> {
        let state = self.refreshed(log).await?;
        state.ok_or_else(|| self.place.data_error("there is no table; create it before writing to it"))
    }

    /// The links of `commit`, and which of its partitions cannot be linked.
    async fn plan(&self, commit: &Commit) -> Result<Plan, TableError> {
        let mut plan = Plan::default();
        let mut files = self.files_by_partition(commit)?;
        let mut empty = object::EmptyCounts::of(commit, &self.place)?;
        let mut known = self.known.lock().await;
        if known.positions(&commit.log).check(&commit.ranges).is_err() {
            known.refresh(&self.place).await?;
        }
        let positions = known.positions(&commit.log);
        known.refuse_other_logs(commit, &self.place)?;
        for (partition, range) in commit.ranges.iter() {
            let bytes = files.remove(&partition);
            let one = OffsetRanges::from_iter([(partition, range)]);
            match positions.check(&one) {
                Ok(()) if range.is_empty() => plan.landed.push((partition, range)),
                Ok(()) => {
                    plan.links.push(Link::new(&self.place, commit, partition, range, bytes, &mut empty)?)
                }
                Err(refused) => plan.refused.push((partition, range, refused.to_string())),
            }
        }
        Ok(plan)
    }

    fn files_by_partition(&self, commit: &Commit) -> Result<BTreeMap<PartitionId, bytes::Bytes>, TableError> {
        let mut files = BTreeMap::new();
        for file in &commit.files {
            let mut ranges = file.ranges.iter();
            let (Some((partition, range)), None, Some(bytes)) = (ranges.next(), ranges.next(), &file.held)
            else {
                return Err(self.place.data_error(format!(
                    "file {} of batch {} must cover one partition and hold its bytes; this is a bug in Laker",
                    file.path, commit.batch_id
                )));
            };
            let agrees = commit.ranges.get(partition) == Some(range) && !range.is_empty();
            if !agrees || files.insert(partition, bytes.clone()).is_some() {
                return Err(self.place.data_error(format!(
                    "file {} of batch {} covers {range} of partition {partition}, the batch {:?}; this is a bug in Laker",
                    file.path, commit.batch_id, commit.ranges.get(partition)
                )));
            }
        }
        Ok(files)
    }

    /// Creates the objects of `links`, and collects what became of each.
    async fn put_all(&self, log: &LogId, plan: &mut Plan) -> Result<(), TableError> {
        let links = std::mem::take(&mut plan.links);
        let puts = stream::iter(links).map(|link| async move {
            let put = link.put(&self.place).await;
            (link.partition(), link.range(), put)
        });
        let puts: Vec<_> = puts.buffer_unordered(event::limits::STORE_PARALLEL_MAX).collect().await;
        let mut failed = None;
        for (partition, range, put) in puts {
            match put {
                Ok(Put::Landed) => plan.landed.push((partition, range)),
                Ok(Put::Taken(by)) => plan.refused.push((partition, range, by)),
                Err(error) => failed = Some(error),
            }
        }
        self.remember(log, &plan.landed).await;
        failed.map_or(Ok(()), Err)
    }

    async fn remember(&self, log: &LogId, landed: &[(PartitionId, OffsetRange)]) {
        let mut known = self.known.lock().await;
        for (partition, range) in landed {
            known.landed(ChainId::of(log, *partition), *range);
        }
    }

    /// Partitions that stand elsewhere may do so because an earlier attempt with this batch landed.
    async fn settle_refused(&self, commit: &Commit, plan: &mut Plan) -> Result<(), TableError> {
        for (partition, range, why) in std::mem::take(&mut plan.refused) {
            match object::landed_before(&self.place, commit, partition, range).await? {
                true => plan.landed.push((partition, range)),
                false => plan.refused.push((partition, range, why)),
            }
        }
        Ok(())
    }

    /// Publishes the columns that `schema` adds. The conflict, if it cannot be merged.
    async fn grow(&self, schema: &SchemaRef) -> Result<Result<(), String>, TableError> {
        let mut known = self.known.lock().await;
        known.grow(&self.place, schema).await
    }
}

/// What is to become of the partitions of a commit.
#[derive(Default)]
struct Plan {
    links: Vec<Link>,
    landed: Vec<(PartitionId, OffsetRange)>,
    refused: Vec<(PartitionId, OffsetRange, String)>,
}

impl Plan {
    fn outcome(self, state: TableState) -> CommitOutcome {
        let Some((_, _, reason)) = self.refused.first() else { return CommitOutcome::Landed(state) };
        CommitOutcome::Fenced { state, reason: reason.clone(), landed: self.landed.into_iter().collect() }
    }
}

#[async_trait]
impl Table for ParquetTable {
    fn name(&self) -> &str {
        &self.place.name
    }

    fn layout(&self) -> Layout {
        Layout::ByLogPartition
    }

    async fn load(&self, log: &LogId) -> Result<Option<TableState>, TableError> {
        self.refreshed(log).await
    }

    async fn create(&self, schema: &SchemaRef, log: &LogId) -> Result<TableState, TableError> {
        if let Some(state) = self.refreshed(log).await? {
            return Ok(state);
        }
        let first = schema_file::encode(schema).map_err(|reason| self.place.data_error(reason))?;
        small::create(&self.place, &known::schema_path(&self.place, 0), first).await?;
        self.existing(log).await
    }

    async fn begin(&self, log: &LogId, starts: &Positions) -> Result<TableState, TableError> {
        let state = self.existing(log).await?;
        for (partition, start) in starts.iter().filter(|(p, _)| state.positions.get(*p).is_none()) {
            self.begin_partition(log, partition, start).await?;
        }
        self.existing(log).await
    }

    async fn store(&self, file: EncodedFile) -> Result<StoredFile, TableError> {
        let covered: Vec<_> = file.ranges.iter().collect();
        let [(partition, range)] = covered[..] else {
            return Err(self
                .place
                .data_error("a file must cover exactly one partition; this is a bug in Laker"));
        };
        Ok(StoredFile {
            path: format!("data/p={partition}/{}", range.start()),
            size_bytes: file.bytes.len() as u64,
            row_count: file.row_count,
            event_date: file.event_date,
            ranges: file.ranges,
            column_stats: file.column_stats,
            checksum: None,
            held: Some(file.bytes),
        })
    }

    async fn commit(&self, commit: &Commit) -> Result<CommitOutcome, TableError> {
        if let Some(fault) = commit.gap_fault() {
            return Err(self.place.data_error(fault));
        }
        let mut plan = self.plan(commit).await?;
        self.settle_refused(commit, &mut plan).await?;
        if !plan.links.is_empty()
            && let Err(reason) = self.grow(&commit.schema).await?
        {
            let left = std::mem::take(&mut plan.links);
            plan.refused.extend(left.iter().map(|link| (link.partition(), link.range(), reason.clone())));
        }
        self.put_all(&commit.log, &mut plan).await?;
        Ok(plan.outcome(self.existing(&commit.log).await?))
    }

    async fn snapshot(&self, log: Option<&LogId>) -> Result<Option<Snapshot>, TableError> {
        let mut known = self.known.lock().await;
        known.refresh(&self.place).await?;
        Ok(known.snapshot(log))
    }
}

impl ParquetTable {
    async fn begin_partition(
        &self,
        log: &LogId,
        partition: PartitionId,
        start: Offset,
    ) -> Result<(), TableError> {
        let path = known::start_path(&self.place, ChainId::of(log, partition));
        let mine = small::Start { log: log.to_string(), start: start.0 };
        let bytes = serde_json::to_vec(&mine).map_err(|e| self.place.data_error(e.to_string()))?;
        let stored = small::create(&self.place, &path, bytes).await?;
        let stored = small::Start::decode(&self.place, &path, &stored)?;
        if stored.log == mine.log {
            return Ok(());
        }
        Err(self.place.data_error(format!(
            "partition {partition} has positions of log {}, this is log {log}; use another table, or restore the log",
            stored.log
        )))
    }
}

/// Whether the file at `path` was landed by a replay.
pub(crate) fn is_replay(path: &object_store::path::Path) -> bool {
    ChainId::parse_file(path).is_some_and(|(chain, _)| chain.of_replays)
}

/// Creates happen once or not at all.
fn create_mode() -> object_store::PutOptions {
    PutMode::Create.into()
}
