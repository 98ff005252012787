//! Transactions in checkpoints, and writing checkpoints.
//!
//! A checkpoint is a Parquet file with all that the log says up to its version. `deltalake-core`
//! answers for one transaction at a time, by name; a writer has to know which there are, so their
//! column is read here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, RecordBatch};
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use table::TableError;

use crate::place::Place;

/// Entries between two checkpoints: what a reader that comes new has to read one by one.
pub(crate) const CHECKPOINT_INTERVAL: u64 = 100;

/// What there is of the log.
pub(crate) struct Listing {
    /// The newest version.
    pub(crate) newest: u64,
    /// The newest whole checkpoint: its version and its parts.
    pub(crate) checkpoint: Option<(u64, Vec<Path>)>,
}

impl Listing {
    /// Lists the log from its last known checkpoint on; none when there is no log.
    pub(crate) async fn read(place: &Place) -> Result<Option<Self>, TableError> {
        let folder = place.path("_delta_log");
        let from = last_checkpoint(place).await?;
        let listing = match from {
            None => place.lake().store().list(Some(&folder)),
            Some(version) => {
                let before = folder.clone().join(format!("{version:020}"));
                place.lake().store().list_with_offset(Some(&folder), &before)
            }
        };
        let listed: Result<Vec<_>, _> = listing.map_ok(|meta| meta.location).try_collect().await;
        let listed = listed.map_err(|error| place.lake().explain(&folder, &error))?;
        Ok(Self::of(&listed))
    }

    fn of(paths: &[Path]) -> Option<Self> {
        let mut entries = BTreeSet::new();
        let mut parts: BTreeMap<(u64, u32), Vec<Path>> = BTreeMap::new();
        for path in paths {
            let name = path.filename().unwrap_or_default();
            if let Some(version) = name.strip_suffix(".json").and_then(version) {
                entries.insert(version);
            } else if let Some((version, of)) = checkpoint_part(name) {
                parts.entry((version, of)).or_default().push(path.clone());
            }
        }
        let mut whole = parts.into_iter().filter(|((_, of), paths)| paths.len() == *of as usize);
        let checkpoint = whole.next_back().map(|((version, _), paths)| (version, paths));
        let newest = entries.last().copied().max(checkpoint.as_ref().map(|(version, _)| *version))?;
        Some(Self { newest, checkpoint })
    }

    /// The first entry that the checkpoint does not hold.
    pub(crate) fn first_entry(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |(version, _)| version + 1)
    }
}

/// The oldest entry that is there.
pub(crate) async fn oldest_entry(place: &Place) -> Result<Option<u64>, TableError> {
    let folder = place.path("_delta_log");
    let listed = place.lake().store().list(Some(&folder));
    let versions = listed.try_filter_map(|meta| async move {
        let name = meta.location.filename().unwrap_or_default();
        Ok(name.strip_suffix(".json").and_then(version))
    });
    let oldest = versions.try_fold(None, |oldest: Option<u64>, version| async move {
        Ok(Some(oldest.map_or(version, |oldest| oldest.min(version))))
    });
    oldest.await.map_err(|error| place.lake().explain(&folder, &error))
}

fn version(digits: &str) -> Option<u64> {
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// Version and number of parts in `<v>.checkpoint.parquet` or `<v>.checkpoint.<part>.<parts>.parquet`.
fn checkpoint_part(name: &str) -> Option<(u64, u32)> {
    let parts: Vec<_> = name.split('.').collect();
    match parts[..] {
        [digits, "checkpoint", "parquet"] => Some((version(digits)?, 1)),
        [digits, "checkpoint", _, of, "parquet"] => Some((version(digits)?, of.parse().ok()?)),
        _ => None,
    }
}

/// The version in `_last_checkpoint`: a hint, from which listing may start.
async fn last_checkpoint(place: &Place) -> Result<Option<u64>, TableError> {
    let path = place.path("_delta_log/_last_checkpoint");
    let hint = match place.lake().store().get(&path).await {
        Ok(hint) => hint.bytes().await,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(error) => Err(error),
    };
    let hint = hint.map_err(|error| place.lake().explain(&path, &error))?;
    let hint: Option<serde_json::Value> = serde_json::from_slice(&hint).ok();
    Ok(hint.and_then(|hint| hint.get("version")?.as_u64()))
}

/// All transactions in the checkpoint.
pub(crate) async fn transactions(
    place: &Place,
    checkpoint: &Option<(u64, Vec<Path>)>,
) -> Result<BTreeMap<String, i64>, TableError> {
    let mut transactions = BTreeMap::new();
    for path in checkpoint.iter().flat_map(|(_, paths)| paths) {
        let bytes = match place.lake().store().get(path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        let bytes = bytes.map_err(|error| place.lake().explain(path, &error))?;
        let found =
            transactions_in(bytes).map_err(|e| place.data_error(format!("checkpoint {path}: {e}")))?;
        transactions.extend(found);
    }
    Ok(transactions)
}

fn transactions_in(bytes: Bytes) -> Result<Vec<(String, i64)>, String> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader =
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(|e| e.to_string())?;
    let Some(index) = reader.schema().fields().iter().position(|field| field.name() == "txn") else {
        return Ok(Vec::new());
    };
    let mask = ProjectionMask::roots(reader.parquet_schema(), [index]);
    let batches = reader.with_projection(mask).build().map_err(|e| e.to_string())?;
    let mut found = Vec::new();
    for batch in batches {
        let batch = batch.map_err(|e| e.to_string())?;
        found.extend(transactions_of(&batch).ok_or("its column txn is not as Delta defines it")?);
    }
    Ok(found)
}

fn transactions_of(batch: &RecordBatch) -> Option<Vec<(String, i64)>> {
    let txn = batch.column_by_name("txn")?.as_struct_opt()?;
    let ids = txn.column_by_name("appId")?.as_string_opt::<i32>()?;
    let versions = txn.column_by_name("version")?.as_primitive_opt::<Int64Type>()?;
    let set = (0..txn.len()).filter(|row| txn.is_valid(*row) && ids.is_valid(*row));
    Some(set.map(|row| (ids.value(row).to_owned(), versions.value(row))).collect())
}

/// Writes a checkpoint of `version`, when one is due. The commit stands whatever becomes of it.
pub(crate) async fn write_if_due(place: &Arc<Place>, version: u64) {
    if !version.is_multiple_of(CHECKPOINT_INTERVAL) {
        return;
    }
    if let Err(error) = write(place, version).await {
        tracing::warn!(table = place.name(), version, %error, "a checkpoint could not be written; the next one will do");
    }
}

async fn write(place: &Place, version: u64) -> Result<(), TableError> {
    let store = place.log_store()?;
    let (url, engine) = (store.root_url().clone(), store.engine(None));
    let written = tokio::task::spawn_blocking(move || {
        let snapshot = delta_kernel::Snapshot::builder_for(url).at_version(version).build(engine.as_ref())?;
        snapshot.checkpoint(engine.as_ref(), None).map(|_| ())
    });
    let written = place.clock.outside(written).await.map_err(|e| place.data_error(e.to_string()))?;
    written.map_err(|error| place.explain(&error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Option<(u64, Option<u64>)> {
        let paths: Vec<_> = names.iter().map(|name| Path::from(format!("t/_delta_log/{name}"))).collect();
        Listing::of(&paths).map(|l| (l.newest, l.checkpoint.map(|(version, _)| version)))
    }

    #[test]
    fn the_newest_whole_checkpoint_counts() {
        let entry = |v: u64| format!("{v:020}.json");
        let one = |v: u64| format!("{v:020}.checkpoint.parquet");
        let part = |v: u64, part: u32| format!("{v:020}.checkpoint.{part:010}.{:010}.parquet", 2);
        assert_eq!(listing(&[]), None);
        assert_eq!(listing(&["_last_checkpoint", "x.json"]), None);
        assert_eq!(listing(&[&entry(0), &entry(1)]), Some((1, None)));
        assert_eq!(listing(&[&entry(9), &entry(10), &one(10), &entry(11)]), Some((11, Some(10))));
        assert_eq!(listing(&[&one(10), &part(20, 1), &entry(20)]), Some((20, Some(10))));
        assert_eq!(listing(&[&one(10), &part(20, 1), &part(20, 2)]), Some((20, Some(20))));
    }
}
