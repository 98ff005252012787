//! How a table of plain Parquet files came to be: its files are its commits.
//!
//! Unlike [`super::known`], this opens every file's footer and trusts no name, since readers take
//! every Parquet file they find in the table's data folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use event::{LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions, TimestampMicros, limits};
use futures::{StreamExt as _, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _};

use super::chain::ChainId;
use super::known::{collect, data_file, decode_schema, number_of};
use super::{ParquetTable, Place, object, small};
use crate::{
    FileFooter, History, Landing, Layout, Past, PastCommit, PastEvent, PastFile, Snapshot, TableError,
};

#[async_trait]
impl History for ParquetTable {
    async fn history(&self) -> Result<Option<Past>, TableError> {
        let place = Arc::new(self.place.clone());
        let Some((number, schema)) = newest_schema(&place).await? else { return Ok(None) };
        let begun = begun(&place).await?;
        let folder = place.path(&["data"]);
        let mut listed = collect(&place, &folder, place.lake.store().list(Some(&folder))).await?;
        listed.retain(|meta| meta.location.extension() == Some("parquet"));
        listed.sort_by(|a, b| a.location.cmp(&b.location));
        let written = |meta: &ObjectMeta| TimestampMicros(meta.last_modified.timestamp_micros());
        let snapshot = Snapshot {
            version: number + (begun.len() + listed.len()) as u64,
            committed_at: listed.iter().map(written).max(),
            schema,
            positions: Positions::new(),
            layout: Layout::ByLogPartition,
            files: listed.iter().cloned().map(data_file).collect(),
        };
        let event_count = (begun.len() + listed.len()) as u64;
        let files = stream::iter(listed).map(move |meta| {
            let place = Arc::clone(&place);
            async move { landed(&place, meta).await }
        });
        let files = files.buffered(limits::STORE_PARALLEL_MAX);
        let events = stream::iter(begun.into_iter().map(Ok)).chain(files).boxed();
        Ok(Some(Past { snapshot, event_count, events }))
    }

    async fn landing(
        &self,
        log: &LogId,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<Option<Landing>, TableError> {
        let mut known = self.known.lock().await;
        known.refresh(&self.place).await?;
        let found = known.file_over(log, partition, offset);
        Ok(found.map(|(range, path)| Landing { version: None, range, files: vec![path] }))
    }
}

async fn newest_schema(place: &Place) -> Result<Option<(u64, arrow_schema::SchemaRef)>, TableError> {
    let folder = place.path(&["_laker", "schema"]);
    let listed = collect(place, &folder, place.lake.store().list(Some(&folder))).await?;
    let newest = listed.into_iter().filter_map(|meta| Some((number_of(&meta.location, ".json")?, meta)));
    let Some((number, meta)) = newest.max_by_key(|(number, _)| *number) else { return Ok(None) };
    let bytes = small::read(place, &meta.location).await?.unwrap_or_default();
    Ok(Some((number, decode_schema(place, &meta.location, &bytes)?)))
}

/// Where the chains begin, one event for each log.
async fn begun(place: &Place) -> Result<Vec<PastEvent>, TableError> {
    let folder = place.path(&["_laker", "start"]);
    let listed = collect(place, &folder, place.lake.store().list(Some(&folder))).await?;
    let mut starts: BTreeMap<LogId, Positions> = BTreeMap::new();
    for meta in listed {
        let Some(chain) = meta.location.filename().and_then(ChainId::parse_start) else { continue };
        let bytes = small::read(place, &meta.location).await?.unwrap_or_default();
        let start = small::Start::decode(place, &meta.location, &bytes)?;
        starts.entry(LogId::new(start.log)).or_default().set(chain.partition, Offset(start.start));
    }
    Ok(starts.into_iter().map(|(log, starts)| PastEvent::Began { log, starts }).collect())
}

/// What one file says of itself, or that it says nothing that can be.
async fn landed(place: &Place, meta: ObjectMeta) -> Result<PastEvent, TableError> {
    let path = meta.location.clone();
    let unreadable = |reason: String| Ok(PastEvent::Unreadable { path: path.clone(), reason });
    let footer = match object::footer_at(place, &path).await {
        Ok(Some(footer)) => footer,
        Ok(None) => return unreadable("it was listed, and is not there".to_owned()),
        Err(TableError::Data { reason, .. }) => return unreadable(reason),
        Err(error) => return Err(error),
    };
    let named = ChainId::parse_file(&path);
    if named != Some((ChainId::of(&footer.log, footer.partition), footer.range.start())) {
        let (range, partition) = (footer.range, footer.partition);
        return unreadable(format!(
            "it holds {range} of partition {partition} of log {}, so this is not its name: a copy, which readers take for more rows",
            footer.log
        ));
    }
    Ok(PastEvent::Landed(commit(meta, footer)))
}

fn commit(meta: ObjectMeta, footer: FileFooter) -> PastCommit {
    let file =
        PastFile { path: meta.location, size_bytes: None, row_count: Some(footer.row_count), checksum: None };
    PastCommit {
        version: None,
        committed_at: Some(TimestampMicros(meta.last_modified.timestamp_micros())),
        batch_id: footer.batch_id,
        log: footer.log,
        ranges: OffsetRanges::from_iter([(footer.partition, footer.range)]),
        next: Positions::from_iter([(footer.partition, footer.range.end())]),
        row_count: footer.row_count,
        dead_count: footer.dead_count,
        skipped_count: footer.skipped_count,
        gap: footer.gap,
        files: vec![file],
    }
}

impl super::known::Known {
    /// The file whose range has `offset`, if it has landed.
    fn file_over(&self, log: &LogId, partition: PartitionId, offset: Offset) -> Option<(OffsetRange, Path)> {
        let chain = self.chain(log, partition).filter(|chain| offset < chain.next)?;
        let (start, file) = chain.files.range(..=offset).next_back()?;
        let end = chain.files.range(offset.next()..).next().map_or(chain.next, |(next, _)| *next);
        Some((OffsetRange::new(*start, end), file.path.clone()))
    }
}
