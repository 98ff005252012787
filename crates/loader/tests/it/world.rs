//! A log, a lake and loaders on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use bytes::Bytes;
use decode::DecodeOptions;
use event::{Clock, Positions, StreamName};
use eventlog::embedded::{EmbeddedLog, EmbeddedOptions};
use eventlog::{EventLog, Placement};
use loader::{Control, FlushLimits, LoadError, Loader, LoaderOptions, StartPolicy, Summary};
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use table::{Lake, ParquetTable, Table};

pub const TOPIC: &str = "logs";

/// Everything a loader works on, in a folder of its own.
pub struct World {
    _folder: tempfile::TempDir,
    pub log: Arc<dyn EventLog>,
    pub lake: Lake,
    pub clock: Clock,
    pub decode: Arc<DecodeOptions>,
    pub flush: FlushLimits,
}

/// Place and content of a row: partition, offset, and a column as text.
pub type Row = (i32, i64, Option<String>);

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let options =
            EmbeddedOptions { partition_count: 2, ..EmbeddedOptions::new(folder.path().join("log")) };
        let log = EmbeddedLog::open(options, clock.clone()).unwrap();
        log.create_topic(TOPIC).await.unwrap();
        let url = format!("file:{}", folder.path().join("lake").display());
        let lake = Lake::open(&url, &BTreeMap::new()).unwrap();
        let flush =
            FlushLimits { rows_max: 1_000_000, bytes_max: 1 << 30, age_max: Duration::from_secs(3600) };
        Self {
            _folder: folder,
            log: Arc::new(log),
            lake,
            clock,
            decode: Arc::new(DecodeOptions::default()),
            flush,
        }
    }

    pub async fn append(&self, events: &[&str]) -> Vec<Placement> {
        let payloads = events.iter().map(|event| Bytes::copy_from_slice(event.as_bytes())).collect();
        self.log.append(TOPIC, payloads).await.unwrap()
    }

    pub fn table(&self, name: &str) -> Arc<dyn Table> {
        Arc::new(ParquetTable::new(self.lake.clone(), name, self.clock.clone()))
    }

    pub fn loader_on(&self, main: Arc<dyn Table>, dead: Arc<dyn Table>) -> Loader {
        self.loader_of("test", main, dead)
    }

    /// A loader of another log.
    pub fn loader_reading(&self, log: Arc<dyn EventLog>) -> Loader {
        let (main, dead) = (self.table("logs"), self.table("logs__dead"));
        Loader::new(self.options("test"), log, main, dead, self.clock.clone())
    }

    pub fn loader_of(&self, group: &str, main: Arc<dyn Table>, dead: Arc<dyn Table>) -> Loader {
        Loader::new(self.options(group), Arc::clone(&self.log), main, dead, self.clock.clone())
    }

    fn options(&self, group: &str) -> LoaderOptions {
        LoaderOptions {
            stream: StreamName::new("logs").unwrap(),
            topic: TOPIC.to_owned(),
            group: group.to_owned(),
            decode: Arc::clone(&self.decode),
            flush: self.flush,
            start: StartPolicy::Earliest,
        }
    }

    pub fn loader(&self) -> Loader {
        self.loader_on(self.table("logs"), self.table("logs__dead"))
    }

    pub async fn end(&self) -> Positions {
        let described = self.log.describe(TOPIC).await.unwrap();
        described.partitions.iter().map(|(partition, retained)| (*partition, retained.end())).collect()
    }

    /// Loads what is in the log now.
    pub async fn catch_up(&self) -> Summary {
        self.catch_up_with(self.loader()).await.unwrap()
    }

    pub async fn catch_up_with(&self, loader: Loader) -> Result<Summary, LoadError> {
        let control = Control::new();
        control.finish_at(self.end().await);
        loader.run(&control).await
    }

    /// All rows of a table, as its files have them, in the order of their place.
    pub async fn rows(&self, table: &str, column: &str) -> Vec<Row> {
        let mut rows = Vec::new();
        for batch in self.batches(table).await {
            rows.extend(rows_of(&batch, column));
        }
        rows.sort();
        rows
    }

    pub async fn batches(&self, table: &str) -> Vec<RecordBatch> {
        let Some(snapshot) = self.table(table).snapshot(None).await.unwrap() else { return Vec::new() };
        let mut batches = Vec::new();
        for file in snapshot.files {
            let bytes = self.lake.store().get(&file.path).await.unwrap().bytes().await.unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
            batches.extend(reader.map(Result::unwrap));
        }
        batches
    }

    /// The table's type of a column.
    pub async fn column_type(&self, column: &str) -> arrow_schema::DataType {
        let snapshot = self.table("logs").snapshot(None).await.unwrap().unwrap();
        snapshot.schema.field_with_name(column).unwrap().data_type().clone()
    }
}

fn rows_of(batch: &RecordBatch, column: &str) -> Vec<Row> {
    let partitions = batch.column_by_name("_partition").unwrap().as_primitive::<Int32Type>();
    let offsets = batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
    let values = batch.column_by_name(column).map(|values| {
        arrow_cast::cast(values, &arrow_schema::DataType::Utf8).unwrap().as_string::<i32>().clone()
    });
    let text = |row| {
        values.as_ref().filter(|v| arrow_array::Array::is_valid(v, row)).map(|v| v.value(row).to_owned())
    };
    (0..batch.num_rows()).map(|row| (partitions.value(row), offsets.value(row), text(row))).collect()
}

/// The values of rows, in the order of their place.
pub fn values(rows: &[Row]) -> Vec<&str> {
    rows.iter().filter_map(|(_, _, value)| value.as_deref()).collect()
}
