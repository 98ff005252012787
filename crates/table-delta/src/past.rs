//! How a Delta table came to be: its log, entry by entry.

use std::sync::Arc;

use async_trait::async_trait;
use deltalake_core::kernel::{Action, Add, CommitInfo};
use event::{LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions, TimestampMicros, limits};
use futures::{StreamExt as _, stream};
use object_store::path::Path;
use serde_json::Value;
use table::checksum::CHECKSUM_KEY;
use table::{Checksum, History, Landing, Past, PastCommit, PastEvent, PastFile, TableError};

use crate::DeltaTable;
use crate::checkpoint::oldest_entry;
use crate::entry::{BATCH_ID, BEGIN, CREATE, LOG, RANGES};
use crate::log::decode;
use crate::place::Place;
use crate::position::{app_id, parse_app_id};

#[async_trait]
impl History for DeltaTable {
    async fn history(&self) -> Result<Option<Past>, TableError> {
        let snapshot = self.reader.lock().await.snapshot(&self.place, None).await?;
        let Some(snapshot) = snapshot else { return Ok(None) };
        let oldest = oldest_entry(&self.place).await?.unwrap_or(snapshot.version + 1);
        let forgotten = (oldest > 0).then_some(Ok(PastEvent::Forgotten { before: oldest }));
        let place = Arc::clone(&self.place);
        let entries = stream::iter(oldest..=snapshot.version).map(move |version| {
            let place = Arc::clone(&place);
            async move { event(&place, version).await }
        });
        let entries = entries.buffered(limits::STORE_PARALLEL_MAX);
        let event_count = (snapshot.version + 1).saturating_sub(oldest);
        let events = stream::iter(forgotten).chain(entries).boxed();
        Ok(Some(Past { snapshot, event_count, events }))
    }

    /// Positions only grow, so the entry is found by halving: some ten requests however long the
    /// log is, as long as every few entries move the partition.
    async fn landing(
        &self,
        log: &LogId,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<Option<Landing>, TableError> {
        let newest = {
            let mut known = self.log.lock().await;
            crate::log::refresh(&mut known, &self.place).await?;
            known.as_ref().map(|known| (known.version, known.positions(log).get(partition)))
        };
        let Some((newest, Some(next))) = newest else { return Ok(None) };
        if next <= offset {
            return Ok(None);
        }
        let search = Search { place: &self.place, id: app_id(log, partition), partition, offset };
        let oldest = oldest_entry(&self.place).await?.unwrap_or(newest);
        search.landing(oldest, newest).await
    }
}

/// Looks for the entry that moved one partition over one offset.
struct Search<'a> {
    place: &'a Place,
    id: String,
    partition: PartitionId,
    offset: Offset,
}

impl Search<'_> {
    async fn landing(&self, oldest: u64, newest: u64) -> Result<Option<Landing>, TableError> {
        // Below `low` the position is not over the offset; at `high` it is.
        let (mut low, mut high) = (oldest, newest);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.last_move(low, middle).await? {
                Some((version, next)) if next > self.offset => high = version,
                _ => low = middle + 1,
            }
        }
        let Some(actions) = self.actions(high).await? else { return Ok(None) };
        let info = info(&actions).filter(|info| text(info, BATCH_ID).is_some());
        let covered = info.and_then(|info| ranges(info.info.get(RANGES)?)?.get(self.partition));
        let Some(range) = covered.filter(|range| range.contains(self.offset)) else { return Ok(None) };
        let may_hold = |add: &&Add| may_hold(add, self.offset);
        let files = adds(&actions).filter(may_hold).map(|add| self.place.path(&add.path)).collect();
        Ok(Some(Landing { version: Some(high), range, files }))
    }

    /// The last entry from `low` to `high` that moves the partition, and where it moves it to.
    async fn last_move(&self, low: u64, high: u64) -> Result<Option<(u64, Offset)>, TableError> {
        for version in (low..=high).rev() {
            let actions = self.actions(version).await?.unwrap_or_default();
            if let Some(next) = actions.iter().find_map(|action| self.moved(action)) {
                return Ok(Some((version, next)));
            }
        }
        Ok(None)
    }

    fn moved(&self, action: &Action) -> Option<Offset> {
        match action {
            Action::Txn(txn) if txn.app_id == self.id => u64::try_from(txn.version).ok().map(Offset),
            _ => None,
        }
    }

    async fn actions(&self, version: u64) -> Result<Option<Vec<Action>>, TableError> {
        let bytes = self.place.read_entry(version).await?;
        bytes.map(|bytes| decode(self.place, version, &bytes)).transpose()
    }
}

/// Whether the file's statistics allow a row with this offset.
fn may_hold(add: &Add, offset: Offset) -> bool {
    let stats: Value = add.stats.as_deref().and_then(|s| serde_json::from_str(s).ok()).unwrap_or_default();
    let bound = |key: &str| stats.get(key)?.get("_offset")?.as_u64();
    bound("minValues").is_none_or(|min| min <= offset.0)
        && bound("maxValues").is_none_or(|max| offset.0 <= max)
}

/// What the entry of `version` says happened.
async fn event(place: &Place, version: u64) -> Result<PastEvent, TableError> {
    let bytes = place.read_entry(version).await?;
    let bytes = bytes.ok_or_else(|| place.data_error(format!("version {version} of its log is missing")))?;
    let actions = decode(place, version, &bytes)?;
    let Some(info) = info(&actions) else { return Ok(foreign(place, version, None, &actions)) };
    if text(info, BATCH_ID).is_some() {
        let commit = commit(place, version, info, &actions);
        return commit.map(PastEvent::Landed).ok_or_else(|| {
            place.data_error(format!(
                "version {version} of its log is a commit of Laker's, and not as Laker writes them"
            ))
        });
    }
    match info.operation.as_deref() {
        Some(CREATE) if adds(&actions).next().is_none() => Ok(PastEvent::Shaped),
        Some(BEGIN) => match text(info, LOG) {
            Some(log) => {
                Ok(PastEvent::Began { starts: positions(&actions, &LogId::new(log)), log: LogId::new(log) })
            }
            None => Ok(foreign(place, version, Some(info), &actions)),
        },
        _ => Ok(foreign(place, version, Some(info), &actions)),
    }
}

fn info(actions: &[Action]) -> Option<&CommitInfo> {
    actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => Some(info),
        _ => None,
    })
}

fn adds(actions: &[Action]) -> impl Iterator<Item = &Add> {
    actions.iter().filter_map(|action| match action {
        Action::Add(add) => Some(add),
        _ => None,
    })
}

/// A text that Laker wrote into an entry, fit to be a log's identity or a batch's.
fn text<'a>(info: &'a CommitInfo, key: &str) -> Option<&'a str> {
    info.info.get(key)?.as_str().filter(|text| !text.is_empty() && !text.contains('/'))
}

fn commit(place: &Place, version: u64, info: &CommitInfo, actions: &[Action]) -> Option<PastCommit> {
    let count = |key: &str| info.info.get(key).and_then(Value::as_u64).unwrap_or(0);
    let log = LogId::new(text(info, LOG)?);
    let millis = info.in_commit_timestamp.or(info.timestamp);
    Some(PastCommit {
        version: Some(version),
        committed_at: millis.map(|millis| TimestampMicros(millis.saturating_mul(1000))),
        batch_id: text(info, BATCH_ID)?.to_owned(),
        ranges: ranges(info.info.get(RANGES)?)?,
        next: positions(actions, &log),
        row_count: count("laker.row_count"),
        dead_count: count("laker.dead_count"),
        skipped_count: count("laker.skipped_count"),
        gap: info.info.get("laker.gap").and_then(Value::as_bool).unwrap_or(false),
        files: adds(actions).map(|add| file(place, add)).collect(),
        log,
    })
}

fn ranges(told: &Value) -> Option<OffsetRanges> {
    let one = |(partition, range): (&String, &Value)| {
        let (start, end) = (range.get(0)?.as_u64()?, range.get(1)?.as_u64()?);
        let range = (start <= end).then(|| OffsetRange::new(Offset(start), Offset(end)))?;
        Some((PartitionId(partition.parse().ok()?), range))
    };
    told.as_object()?.iter().map(one).collect()
}

/// Where the transactions of an entry put the partitions of `log`.
fn positions(actions: &[Action], log: &LogId) -> Positions {
    let moved = actions.iter().filter_map(|action| match action {
        Action::Txn(txn) => Some((parse_app_id(&txn.app_id)?, u64::try_from(txn.version).ok()?)),
        _ => None,
    });
    moved.filter(|((of, _), _)| of == log).map(|((_, partition), next)| (partition, Offset(next))).collect()
}

fn file(place: &Place, add: &Add) -> PastFile {
    let stats: Value = add.stats.as_deref().and_then(|s| serde_json::from_str(s).ok()).unwrap_or_default();
    let checksum = add.tags.as_ref().and_then(|tags| tags.get(CHECKSUM_KEY)?.as_deref());
    PastFile {
        path: place.path(&add.path),
        size_bytes: u64::try_from(add.size).ok(),
        row_count: stats.get("numRecords").and_then(Value::as_u64),
        checksum: checksum.and_then(Checksum::parse),
    }
}

fn foreign(place: &Place, version: u64, info: Option<&CommitInfo>, actions: &[Action]) -> PastEvent {
    let operation = info.and_then(|info| info.operation.clone());
    let removed: Vec<Path> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Remove(remove) => Some(place.path(&remove.path)),
            _ => None,
        })
        .collect();
    let changes_rows = actions.iter().any(|action| match action {
        Action::Remove(remove) => remove.data_change,
        Action::Add(add) => add.data_change,
        _ => false,
    });
    let operation = operation.unwrap_or_else(|| "an unnamed operation".to_owned());
    PastEvent::Foreign { version, operation, changes_rows, removed }
}
