//! Data files: names, footers, and the conditional create that commits one.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use bytes::Bytes;
use event::{Offset, OffsetRange, PartitionId};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore as _};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;

use super::chain::ChainId;
use super::{Place, create_mode};
use crate::checksum;
use crate::file::FileFooter;
use crate::lake::Pauses;
use crate::{Commit, TableError};

/// Bytes read from a file's end at first; most footers fit.
const FOOTER_READ_BYTES: u64 = 64 * 1024;

/// Path of the file of `chain` that begins at `start`, under the table's folder.
pub(super) fn path(place: &Place, chain: ChainId, start: Offset) -> Path {
    place.path(&["data", &format!("p={}", chain.partition), &chain.file_name(start)])
}

/// A file about to become the next of its partition's chain.
#[derive(Debug)]
pub(super) struct Link {
    footer: FileFooter,
    bytes: Bytes,
}

/// What became of a [`Link`].
#[derive(Debug)]
pub(super) enum Put {
    /// It is the next of the chain.
    Landed,
    /// Another batch is, with this reason to tell.
    Taken(String),
}

impl Link {
    /// The file in `bytes`, or one without rows. What its footer says must be what is committed,
    /// since from then on the footer alone counts.
    pub(super) fn new(
        place: &Place,
        commit: &Commit,
        partition: PartitionId,
        range: OffsetRange,
        bytes: Option<Bytes>,
        empty: &mut EmptyCounts,
    ) -> Result<Self, TableError> {
        let Some(bytes) = bytes else {
            let footer = empty.footer(commit, partition, range);
            let bytes = empty_file(&commit.schema, &footer).map_err(|e| place.data_error(e.to_string()))?;
            return Ok(Self { footer, bytes });
        };
        let chain = ChainId::of(&commit.log, partition);
        let footer = footer_in(place, &path(place, chain, range.start()), &bytes)?;
        if is_of(&footer, commit, partition, range) {
            return Ok(Self { footer, bytes });
        }
        Err(place.data_error(format!(
            "the file for {range} of partition {partition} in batch {} says of itself {footer:?}; this is a bug in Laker",
            commit.batch_id
        )))
    }

    pub(super) fn partition(&self) -> PartitionId {
        self.footer.partition
    }

    pub(super) fn range(&self) -> OffsetRange {
        self.footer.range
    }

    /// Creates the object. After any error it is read: the same batch there means it landed, another
    /// that it did not and never will, and none that the create may be tried again.
    pub(super) async fn put(&self, place: &Place) -> Result<Put, TableError> {
        let chain = ChainId::of(&self.footer.log, self.partition());
        let path = path(place, chain, self.range().start());
        let mut pauses = Pauses::default();
        loop {
            let payload = self.bytes.clone().into();
            let error = match place.lake.store().put_opts(&path, payload, create_mode()).await {
                Ok(_) => return Ok(Put::Landed),
                Err(error) => error,
            };
            match footer_at(place, &path).await {
                Ok(Some(stored)) if stored == self.footer => return Ok(Put::Landed),
                Ok(Some(stored)) => return Ok(Put::Taken(taken(&path, &stored))),
                Ok(None) => pauses.wait_or(&place.clock, || place.lake.explain(&path, &error)).await?,
                Err(error) => pauses.wait_or(&place.clock, || error).await?,
            }
        }
    }
}

fn taken(path: &Path, by: &FileFooter) -> String {
    format!("{path} is of batch {}, which covers {} of partition {}", by.batch_id, by.range, by.partition)
}

fn is_of(footer: &FileFooter, commit: &Commit, partition: PartitionId, range: OffsetRange) -> bool {
    let of_batch = footer.batch_id == commit.batch_id && footer.log == commit.log;
    of_batch && footer.partition == partition && footer.range == range
}

/// Whether an earlier attempt with the same batch landed `range`.
pub(super) async fn landed_before(
    place: &Place,
    commit: &Commit,
    partition: PartitionId,
    range: OffsetRange,
) -> Result<bool, TableError> {
    let chain = ChainId::of(&commit.log, partition);
    let stored = footer_at(place, &path(place, chain, range.start())).await?;
    Ok(!range.is_empty() && stored.is_some_and(|footer| is_of(&footer, commit, partition, range)))
}

/// Counts of a commit that no file with rows has: files without rows carry them.
pub(super) struct EmptyCounts {
    dead_count: u64,
    skipped_count: u64,
}

impl EmptyCounts {
    pub(super) fn of(commit: &Commit, place: &Place) -> Result<Self, TableError> {
        let mut left = Self { dead_count: commit.dead_count, skipped_count: commit.skipped_count };
        for file in commit.files.iter().filter_map(|file| file.held.as_ref()) {
            let footer = footer_in(place, &Path::from("file of the batch"), file)?;
            left.dead_count = left.dead_count.saturating_sub(footer.dead_count);
            left.skipped_count = left.skipped_count.saturating_sub(footer.skipped_count);
        }
        Ok(left)
    }

    /// Only the sum over the commit is known, so the first file without rows carries all of it.
    fn footer(&mut self, commit: &Commit, partition: PartitionId, range: OffsetRange) -> FileFooter {
        FileFooter {
            batch_id: commit.batch_id.clone(),
            log: commit.log.clone(),
            partition,
            range,
            row_count: 0,
            dead_count: std::mem::take(&mut self.dead_count),
            skipped_count: std::mem::take(&mut self.skipped_count),
            gap: commit.gap,
        }
    }
}

/// A file with all columns and no rows: it moves the position on.
fn empty_file(schema: &SchemaRef, footer: &FileFooter) -> Result<Bytes, ParquetError> {
    let pairs = footer.pairs().into_iter().chain([checksum::unsealed()]);
    let pairs = pairs.map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect();
    let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs)).build();
    let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties))?;
    let mut bytes = writer.into_inner()?;
    checksum::seal(&mut bytes);
    Ok(Bytes::from(bytes))
}

/// What the file of `chain` that begins at `start` says of itself.
pub(super) async fn footer_of(
    place: &Place,
    chain: ChainId,
    start: Offset,
) -> Result<FileFooter, TableError> {
    let path = path(place, chain, start);
    let footer = footer_at(place, &path).await?;
    let footer = footer.ok_or_else(|| place.data_error(format!("{path} is listed but missing")))?;
    let of_chain = ChainId::of(&footer.log, footer.partition) == chain;
    if of_chain && footer.range.start() == start && !footer.range.is_empty() {
        return Ok(footer);
    }
    Err(place.data_error(format!("{path} says of itself {footer:?}; was it copied there? Move it away")))
}

/// What the file at `path` says of itself; none when there is no file.
pub(super) async fn footer_at(place: &Place, path: &Path) -> Result<Option<FileFooter>, TableError> {
    let mut tail = FOOTER_READ_BYTES;
    loop {
        let Some((bytes, size)) = read_tail(place, path, tail).await? else { return Ok(None) };
        match metadata(&bytes, size) {
            Err(ParquetError::NeedMoreData(needed)) if tail < size => tail = (needed as u64).max(tail * 2),
            Err(error) => {
                return Err(place.data_error(format!("{path} is no Parquet file: {error}; move it away")));
            }
            Ok(metadata) => return parse(place, path, &metadata).map(Some),
        }
    }
}

async fn read_tail(place: &Place, path: &Path, tail: u64) -> Result<Option<(Bytes, u64)>, TableError> {
    let options = GetOptions::new().with_range(Some(GetRange::Suffix(tail)));
    let found = match place.lake.store().get_opts(path, options).await {
        Ok(found) => found,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(place.lake.explain(path, &error)),
    };
    let size = found.meta.size;
    let bytes = found.bytes().await.map_err(|error| place.lake.explain(path, &error))?;
    Ok(Some((bytes, size)))
}

fn footer_in(place: &Place, path: &Path, bytes: &Bytes) -> Result<FileFooter, TableError> {
    let metadata = metadata(bytes, bytes.len() as u64);
    let metadata =
        metadata.map_err(|error| place.data_error(format!("{path} is no Parquet file: {error}")))?;
    parse(place, path, &metadata)
}

fn metadata(tail: &Bytes, size: u64) -> Result<ParquetMetaData, ParquetError> {
    let mut reader = ParquetMetaDataReader::new();
    reader.try_parse_sized(tail, size)?;
    reader.finish()
}

fn parse(place: &Place, path: &Path, metadata: &ParquetMetaData) -> Result<FileFooter, TableError> {
    let pairs = metadata.file_metadata().key_value_metadata();
    let pairs = pairs
        .into_iter()
        .flatten()
        .map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap_or_default()));
    FileFooter::parse(pairs)
        .map_err(|reason| place.data_error(format!("{path} is not of Laker: {reason}; move it away")))
}
