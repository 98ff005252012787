//! Stage 5: files are stored where no reader sees them yet.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use event::{OffsetRanges, PartitionId};
use futures::stream::{self, StreamExt, TryStreamExt};
use table::{EncodedFile, StoredFile, Table};

use crate::LoadError;
use crate::batch::{BatchLabel, Counts};
use crate::commit::Patience;
use crate::encode::EncodedBatch;
use event::limits;

/// A batch whose files a commit can name.
#[derive(Debug)]
pub(crate) struct StoredBatch {
    pub(crate) label: BatchLabel,
    pub(crate) ranges: OffsetRanges,
    pub(crate) schema: SchemaRef,
    pub(crate) files: Vec<StoredFile>,
    pub(crate) dead: Vec<(PartitionId, arrow_array::RecordBatch)>,
    pub(crate) total: Counts,
    pub(crate) conflicts_count: u64,
}

/// Stores all files of a batch, however long the lake takes to answer.
pub(crate) async fn upload(
    batch: EncodedBatch,
    table: Arc<dyn Table>,
    patience: Patience,
) -> Result<StoredBatch, LoadError> {
    let uploads = batch.files.into_iter().map(|file| store(file, &*table, &patience));
    let files = stream::iter(uploads).buffered(limits::UPLOADS_MAX).try_collect().await?;
    Ok(StoredBatch {
        label: batch.label,
        ranges: batch.ranges,
        schema: batch.schema,
        files,
        dead: batch.dead,
        total: batch.total,
        conflicts_count: batch.conflicts_count,
    })
}

/// A repeated upload of one file goes to the same name with the same bytes, so it is safe.
async fn store(file: EncodedFile, table: &dyn Table, patience: &Patience) -> Result<StoredFile, LoadError> {
    patience.insist("upload", || table.store(file.clone())).await
}
