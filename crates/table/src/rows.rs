//! Rows of data files, streamed: one row group at a time is decoded.

use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

/// Where the bytes of a data file are.
#[derive(Debug, Clone)]
pub enum Source {
    /// In memory.
    Held(Bytes),
    /// In a store, to be read as they are needed.
    Stored {
        /// The store.
        store: Arc<dyn ObjectStore>,
        /// The file's full path.
        path: Path,
        /// Its size.
        size_bytes: u64,
    },
}

/// Rows as they are read.
pub type RowStream = ParquetRecordBatchStream<Box<dyn AsyncFileReader>>;

/// The rows of a data file, in the types that Parquet itself gives its columns. Of `columns`, those
/// that the file lacks are left out.
///
/// # Errors
/// When it cannot be read, or is no Parquet file.
pub async fn read(source: Source, columns: Option<&[&str]>) -> Result<RowStream> {
    let reader: Box<dyn AsyncFileReader> = match source {
        Source::Held(bytes) => Box::new(Cursor::new(bytes)),
        Source::Stored { store, path, size_bytes } => Box::new(StoredReader { store, path, size_bytes }),
    };
    // A writer's own notes on types differ from writer to writer.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await?;
    let mask = match columns {
        None => ProjectionMask::all(),
        Some(columns) => {
            let fields = builder.schema().fields().iter().enumerate();
            let wanted = fields.filter(|(_, field)| columns.contains(&field.name().as_str()));
            let indices: Vec<_> = wanted.map(|(index, _)| index).collect();
            ProjectionMask::roots(builder.parquet_schema(), indices)
        }
    };
    builder.with_projection(mask).build()
}

/// Reads the parts of a file that are asked for.
struct StoredReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size_bytes: u64,
}

/// The store's error as it is, so that a caller may tell a missing file from a damaged one.
fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for StoredReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move { self.store.get_range(&self.path, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let size_bytes = self.size_bytes;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            reader.load_and_finish(self, size_bytes).await.map(Arc::new)
        }
        .boxed()
    }
}
