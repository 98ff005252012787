//! What is known of the table, brought up to date by listing what is new.
//!
//! Objects are never changed or removed, so what was read once stays true, and a listing starts
//! behind the newest object that is known. Of the data files only the newest per partition is opened.

use std::collections::BTreeMap;

use arrow_schema::SchemaRef;
use event::{LeaderEpoch, LogId, Offset, OffsetRange, PartitionId, Positions, TimestampMicros, limits};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _};

use super::chain::ChainId;
use super::{Place, object, schema_file, small};
use crate::{Commit, DataFile, Layout, Snapshot, TableError, TableState, schema};

/// The table as far as it was read or written.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Number and columns of the newest schema; none when there is no table.
    schema: Option<(u64, SchemaRef)>,
    chains: BTreeMap<ChainId, Chain>,
    committed_at: Option<TimestampMicros>,
}

/// The files of one chain, each beginning where the one before ends.
#[derive(Debug)]
pub(super) struct Chain {
    log: LogId,
    pub(super) next: Offset,
    epoch: Option<LeaderEpoch>,
    /// Start of the file `next` is the end of; none while `next` is the partition's start.
    next_of: Option<Offset>,
    /// Listed files by their start.
    pub(super) files: BTreeMap<Offset, DataFile>,
}

pub(super) fn schema_path(place: &Place, number: u64) -> Path {
    place.path(&["_laker", "schema", &format!("{number:020}.json")])
}

pub(super) fn start_path(place: &Place, chain: ChainId) -> Path {
    place.path(&["_laker", "start", &chain.start_name()])
}

impl Known {
    /// Reads what is new.
    pub(super) async fn refresh(&mut self, place: &Place) -> Result<(), TableError> {
        self.refresh_schema(place).await?;
        if self.schema.is_some() {
            let first_time = self.chains.is_empty();
            self.refresh_starts(place).await?;
            let new = if first_time { self.list_all(place).await? } else { self.list_new(place).await? };
            self.take(place, new).await?;
        }
        Ok(())
    }

    /// Positions of `log`.
    pub(super) fn positions(&self, log: &LogId) -> Positions {
        let mut positions = Positions::new();
        for (id, chain) in self.chains.iter().filter(|(_, chain)| chain.log == *log) {
            positions.set_under(id.partition, chain.next, chain.epoch);
        }
        positions
    }

    /// The chain of `log` in `partition`, if it has begun.
    pub(super) fn chain(&self, log: &LogId, partition: PartitionId) -> Option<&Chain> {
        self.chains.get(&ChainId::of(log, partition)).filter(|chain| chain.log == *log)
    }

    pub(super) fn state(&self, log: &LogId) -> Option<TableState> {
        let (_, schema) = self.schema.as_ref()?;
        let is_other = |other: &&LogId| **other != *log && other.is_replays() == log.is_replays();
        let mut other_logs: Vec<_> = self.chains.values().map(|chain| &chain.log).filter(is_other).collect();
        other_logs.sort();
        other_logs.dedup();
        Some(TableState {
            version: self.version(),
            schema: SchemaRef::clone(schema),
            positions: self.positions(log),
            other_logs: other_logs.into_iter().cloned().collect(),
        })
    }

    pub(super) fn snapshot(&self, log: Option<&LogId>) -> Option<Snapshot> {
        let (_, schema) = self.schema.as_ref()?;
        Some(Snapshot {
            version: self.version(),
            committed_at: self.committed_at,
            schema: SchemaRef::clone(schema),
            positions: log.map(|log| self.positions(log)).unwrap_or_default(),
            layout: Layout::ByLogPartition,
            files: self.chains.values().flat_map(|chain| chain.files.values().cloned()).collect(),
        })
    }

    /// There is no log of commits, so the version is how many objects made the table what it is.
    fn version(&self) -> u64 {
        let files: usize = self.chains.values().map(|chain| chain.files.len()).sum();
        let schema = self.schema.as_ref().map_or(0, |(number, _)| *number);
        schema + (files + self.chains.len()) as u64
    }

    /// A file of ours became the newest of its chain.
    pub(super) fn landed(&mut self, chain: ChainId, range: OffsetRange) {
        if let Some(chain) = self.chains.get_mut(&chain)
            && chain.next == range.start()
            && !range.is_empty()
        {
            chain.moved_by(range);
        }
    }

    /// Refuses partitions whose files hold another log's offsets.
    pub(super) fn refuse_other_logs(&self, commit: &Commit, place: &Place) -> Result<(), TableError> {
        for (partition, _) in commit.ranges.iter() {
            let id = ChainId::of(&commit.log, partition);
            if let Some(chain) = self.chains.get(&id).filter(|chain| chain.log != commit.log) {
                return Err(place.data_error(format!(
                    "partition {partition} has positions of log {}, the batch is of log {}; use another table, or restore the log",
                    chain.log, commit.log
                )));
            }
        }
        Ok(())
    }

    /// Publishes the columns that `newer` adds; the conflict, if it cannot be merged.
    pub(super) async fn grow(
        &mut self,
        place: &Place,
        newer: &SchemaRef,
    ) -> Result<Result<(), String>, TableError> {
        for _ in 0..limits::COMMIT_ATTEMPTS_MAX {
            let (number, have) = self.schema.as_ref().ok_or_else(|| place.data_error("there is no table"))?;
            if schema::is_superset(have, newer) {
                return Ok(Ok(()));
            }
            let merged = match schema::merge(have, newer) {
                Ok(merged) => merged,
                Err(conflict) => return Ok(Err(conflict.to_string())),
            };
            let number = number + 1;
            let bytes = schema_file::encode(&merged).map_err(|reason| place.data_error(reason))?;
            let path = schema_path(place, number);
            let stored = small::create(place, &path, bytes).await?;
            self.schema = Some((number, decode_schema(place, &path, &stored)?));
        }
        Ok(Err("other writers add columns all the time".to_owned()))
    }

    async fn refresh_schema(&mut self, place: &Place) -> Result<(), TableError> {
        let folder = place.path(&["_laker", "schema"]);
        let listing = match &self.schema {
            None => place.lake.store().list(Some(&folder)),
            Some((number, _)) => {
                place.lake.store().list_with_offset(Some(&folder), &schema_path(place, *number))
            }
        };
        let listed = collect(place, &folder, listing).await?;
        let newest = listed.iter().filter_map(|meta| number_of(&meta.location, ".json")).max();
        if let Some(number) = newest {
            let path = schema_path(place, number);
            let bytes = small::read(place, &path).await?;
            let bytes = bytes.ok_or_else(|| place.data_error(format!("{path} is listed but missing")))?;
            self.schema = Some((number, decode_schema(place, &path, &bytes)?));
        }
        Ok(())
    }

    async fn refresh_starts(&mut self, place: &Place) -> Result<(), TableError> {
        let folder = place.path(&["_laker", "start"]);
        let listed = collect(place, &folder, place.lake.store().list(Some(&folder))).await?;
        for meta in listed {
            let Some(id) = meta.location.filename().and_then(ChainId::parse_start) else { continue };
            if self.chains.contains_key(&id) {
                continue;
            }
            let bytes = small::read(place, &meta.location).await?;
            let bytes = bytes.ok_or_else(|| place.behind(&meta.location))?;
            let start = small::Start::decode(place, &meta.location, &bytes)?;
            let (log, next) = (LogId::new(start.log), Offset(start.start));
            self.chains.insert(id, Chain { log, next, epoch: None, next_of: None, files: BTreeMap::new() });
        }
        Ok(())
    }

    async fn list_all(&self, place: &Place) -> Result<Vec<ObjectMeta>, TableError> {
        let folder = place.path(&["data"]);
        collect(place, &folder, place.lake.store().list(Some(&folder))).await
    }

    async fn list_new(&self, place: &Place) -> Result<Vec<ObjectMeta>, TableError> {
        let list = |(id, chain): (&ChainId, &Chain)| {
            let folder = place.path(&["data", &format!("p={}", id.partition)]);
            let newest = chain.files.keys().next_back().map(|start| object::path(place, *id, *start));
            async move {
                let listing = match newest {
                    None => place.lake.store().list(Some(&folder)),
                    Some(newest) => place.lake.store().list_with_offset(Some(&folder), &newest),
                };
                collect(place, &folder, listing).await
            }
        };
        let futures: Vec<_> = self.chains.iter().map(list).collect();
        let listed = stream::iter(futures).buffer_unordered(limits::STORE_PARALLEL_MAX);
        Ok(listed.try_collect::<Vec<_>>().await?.concat())
    }

    async fn take(&mut self, place: &Place, listed: Vec<ObjectMeta>) -> Result<(), TableError> {
        for meta in listed {
            let Some((id, start)) = ChainId::parse_file(&meta.location) else {
                tracing::warn!(path = %meta.location, "an object in the table's data folder is not of Laker");
                continue;
            };
            let Some(chain) = self.chains.get_mut(&id) else {
                // Listed after the starts were: its start is younger than that listing.
                continue;
            };
            let written = TimestampMicros(meta.last_modified.timestamp_micros());
            self.committed_at = self.committed_at.max(Some(written));
            chain.files.insert(start, data_file(meta));
        }
        let behind: Vec<_> =
            self.chains.iter().filter_map(|(id, chain)| Some((*id, chain.unread()?))).collect();
        let read = stream::iter(behind).map(|(id, start)| async move {
            object::footer_of(place, id, start).await.map(|footer| (id, start, footer))
        });
        let footers: Vec<_> = read.buffer_unordered(limits::STORE_PARALLEL_MAX).try_collect().await?;
        for (id, start, footer) in footers {
            let Some(chain) = self.chains.get_mut(&id) else { continue };
            if footer.log != chain.log {
                let path = object::path(place, id, start);
                return Err(place
                    .data_error(format!("{path} is of log {}, its partition of {}", footer.log, chain.log)));
            }
            chain.moved_by(footer.range);
        }
        Ok(())
    }
}

impl Chain {
    /// Goes on behind the file of `range`. A file without an epoch says nothing of it.
    fn moved_by(&mut self, range: OffsetRange) {
        self.next = range.end();
        self.next_of = Some(range.start());
        self.epoch = range.epoch().or(self.epoch);
    }

    /// Start of the newest listed file, when `next` is not from it or a later one.
    fn unread(&self) -> Option<Offset> {
        let newest = *self.files.keys().next_back()?;
        (self.next_of.is_none_or(|of| of < newest)).then_some(newest)
    }
}

pub(super) fn data_file(meta: ObjectMeta) -> DataFile {
    let (path, size_bytes) = (meta.location, meta.size);
    DataFile { path, size_bytes, row_count: None, event_date: None, column_stats: Vec::new() }
}

pub(super) fn decode_schema(place: &Place, path: &Path, bytes: &[u8]) -> Result<SchemaRef, TableError> {
    schema_file::decode(bytes).map_err(|reason| place.data_error(format!("{path}: {reason}")))
}

pub(super) async fn collect(
    place: &Place,
    folder: &Path,
    listing: stream::BoxStream<'static, object_store::Result<ObjectMeta>>,
) -> Result<Vec<ObjectMeta>, TableError> {
    listing.try_collect().await.map_err(|error| place.lake.explain(folder, &error))
}

/// The number in `…/<20 digits><suffix>`.
pub(super) fn number_of(path: &Path, suffix: &str) -> Option<u64> {
    let digits = path.filename()?.strip_suffix(suffix)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}
