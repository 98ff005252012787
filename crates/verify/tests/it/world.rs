//! A log, a lake, loaders on them, and ways to damage what they made.
//!
//! The vandal is a good one: after rewriting a file it makes sizes, counts and checksums right again
//! wherever they are written down, so that only looking at the rows finds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use bytes::Bytes;
use decode::DecodeOptions;
use event::{Clock, LogId, Offset, PartitionId, Positions, StreamName, TimestampMicros};
use eventlog::embedded::{EmbeddedLog, EmbeddedOptions};
use eventlog::{EventLog, Placement};
use loader::{Control, DeadLetter, FlushLimits, Loader, LoaderOptions, Replayer, StartPolicy};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use table::{Checksum, History, Lake, ParquetTable, Table, checksum};
use table_delta::DeltaTable;
use verify::{Kind, Problem, Report, Subject};

pub const TOPIC: &str = "logs";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Delta,
    Parquet,
}

pub const BOTH: [Format; 2] = [Format::Delta, Format::Parquet];

/// Everything in a folder of its own.
pub struct World {
    folder: tempfile::TempDir,
    pub format: Format,
    pub log: Arc<dyn EventLog>,
    pub lake: Lake,
    pub clock: Clock,
    pub decode: DecodeOptions,
}

impl World {
    pub async fn new(format: Format) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let options =
            EmbeddedOptions { partition_count: 1, ..EmbeddedOptions::new(folder.path().join("log")) };
        let log = EmbeddedLog::open(options, clock.clone()).unwrap();
        log.create_topic(TOPIC).await.unwrap();
        let url = format!("file:{}", folder.path().join("lake").display());
        let lake = Lake::open(&url, &BTreeMap::new()).unwrap();
        // Letters that a later Laker, with higher limits, takes for events.
        let decode = DecodeOptions { event_bytes_max: 200, ..DecodeOptions::default() };
        Self { folder, format, log: Arc::new(log), lake, clock, decode }
    }

    /// A table of three commits: rows with all kinds of values, residuals, and dead letters.
    pub async fn loaded(format: Format) -> Self {
        let world = Self::new(format).await;
        world.append(&[
            r#"{"n":"a0","price":1,"user":{"id":"y","vip":true},"tags":["x",null],"timestamp":"2026-03-09T10:00:00Z"}"#,
            "no json",
            r#"{"n":"a2","price":2.5,"odd key":[1,"x"],"big":9007199254740993}"#,
            r#"{"n":"a3","price":"free","user":{"id":"x","vip":false},"é":"\ud83d\ude00"}"#,
        ]).await;
        world.catch_up().await;
        world.append(&[r#"{"n":"b4","new":[{"deep":1.5},{}]}"#, "[1]", r#"{"n":"b6","price":-0.0}"#]).await;
        world.catch_up().await;
        world.append(&[r#"{"n":"c7"}"#, r#"{"n":"c8","_id":"mine","a":1,"a":2}"#]).await;
        world.catch_up().await;
        world
    }

    pub async fn append(&self, events: &[&str]) -> Vec<Placement> {
        let payloads = events.iter().map(|event| Bytes::copy_from_slice(event.as_bytes())).collect();
        self.log.append(TOPIC, payloads).await.unwrap()
    }

    pub fn history(&self, name: &str) -> Arc<dyn History> {
        match self.format {
            Format::Delta => Arc::new(DeltaTable::new(self.lake.clone(), name, self.clock.clone())),
            Format::Parquet => Arc::new(ParquetTable::new(self.lake.clone(), name, self.clock.clone())),
        }
    }

    pub fn table(&self, name: &str) -> Arc<dyn Table> {
        self.history(name)
    }

    /// Lands what is in the log.
    pub async fn catch_up(&self) {
        let options = LoaderOptions {
            stream: StreamName::new("logs").unwrap(),
            topic: TOPIC.to_owned(),
            group: "test".to_owned(),
            decode: Arc::new(self.decode.clone()),
            flush: FlushLimits {
                rows_max: 1_000_000,
                bytes_max: 1 << 30,
                age_max: Duration::from_secs(3600),
            },
            start: StartPolicy::Earliest,
        };
        let (main, dead) = (self.table("logs"), self.table("logs__dead"));
        let loader = Loader::new(options, Arc::clone(&self.log), main, dead, self.clock.clone());
        let described = self.log.describe(TOPIC).await.unwrap();
        let end = described.partitions.iter().map(|(partition, retained)| (*partition, retained.end()));
        let control = Control::new();
        control.finish_at(end.collect::<Positions>());
        loader.run(&control).await.unwrap();
    }

    pub fn subject(&self) -> Subject {
        Subject {
            stream: StreamName::new("logs").unwrap(),
            lake: self.lake.clone(),
            main: self.history("logs"),
            dead: self.history("logs__dead"),
            log: Ok((Arc::clone(&self.log), TOPIC.to_owned())),
            own_id: true,
        }
    }

    pub async fn verify(&self) -> Report {
        self.subject().verify(&()).await.unwrap()
    }

    /// What is found without a log to compare with.
    pub async fn verify_alone(&self) -> Report {
        let log = Err("not in this test".to_owned());
        Subject { log, ..self.subject() }.verify(&()).await.unwrap()
    }

    pub async fn log_id(&self) -> LogId {
        self.log.describe(TOPIC).await.unwrap().id
    }

    pub async fn replayer(&self) -> Replayer {
        Replayer {
            lake: self.lake.clone(),
            main: self.table("logs"),
            log: self.log_id().await,
            decode: Arc::new(DecodeOptions::default()),
            repairs: decode::Repair::ALL.to_vec(),
            clock: self.clock.clone(),
        }
    }

    /// All dead letters of the table, as `laker dead replay` would give them.
    pub async fn letters(&self) -> Vec<DeadLetter> {
        let mut letters = Vec::new();
        for batch in self.batches("logs__dead").await {
            let offsets =
                batch["_offset"].as_any().downcast_ref::<arrow_array::Int64Array>().unwrap().clone();
            let raw = batch["raw"].as_any().downcast_ref::<arrow_array::BinaryArray>().unwrap().clone();
            letters.extend((0..batch.num_rows()).map(|at| DeadLetter {
                partition: PartitionId(0),
                offset: Offset(offsets.value(at).cast_unsigned()),
                received_at: TimestampMicros(1_700_000_000_000_000),
                raw: Bytes::copy_from_slice(raw.value(at)),
            }));
        }
        letters
    }

    pub async fn batches(&self, table: &str) -> Vec<RecordBatch> {
        let snapshot = self.table(table).snapshot(None).await.unwrap().unwrap();
        snapshot.files.iter().flat_map(|file| read(&self.on_disk(file.path.as_ref()))).collect()
    }

    /// Where a path of the lake is on disk.
    fn on_disk(&self, path: &str) -> PathBuf {
        self.folder.path().join("lake").join(path)
    }

    /// The file of `table` that holds the row at `offset`: its path in the lake.
    pub async fn file_of(&self, table: &str, offset: i64) -> String {
        let snapshot = self.table(table).snapshot(None).await.unwrap().unwrap();
        let holds = |path: &str| {
            read(&self.on_disk(path)).iter().any(|batch| {
                let offsets = batch["_offset"].as_any().downcast_ref::<arrow_array::Int64Array>().unwrap();
                offsets.values().contains(&offset)
            })
        };
        let paths = snapshot.files.iter().map(|file| file.path.to_string());
        paths.into_iter().find(|path| holds(path)).unwrap()
    }
}

/// The vandal.
impl World {
    pub fn delete(&self, path: &str) {
        std::fs::remove_file(self.on_disk(path)).unwrap();
    }

    pub fn truncate(&self, path: &str) {
        let path = self.on_disk(path);
        let half = std::fs::metadata(&path).unwrap().len() / 2;
        std::fs::File::options().write(true).open(path).unwrap().set_len(half).unwrap();
    }

    /// Changes one byte of the file's data, and nothing else.
    pub fn flip_a_bit(&self, path: &str) {
        let path = self.on_disk(path);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[6] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    pub fn copy(&self, from: &str, to: &str) {
        std::fs::copy(self.on_disk(from), self.on_disk(to)).unwrap();
    }

    /// Gives the file other rows, and makes all that is written down of it right again.
    pub fn rewrite(&self, table: &str, path: &str, change: impl Fn(&RecordBatch) -> RecordBatch) {
        let on_disk = self.on_disk(path);
        let old = std::fs::read(&on_disk).unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(old)).unwrap();
        let pairs = builder.metadata().file_metadata().key_value_metadata().cloned();
        let pairs = pairs.map(|pairs| pairs.into_iter().filter(|pair| pair.key != "ARROW:schema").collect());
        let batches: Vec<_> = builder.build().unwrap().map(|batch| change(&batch.unwrap())).collect();
        let properties = WriterProperties::builder().set_key_value_metadata(pairs).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), Some(properties)).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        let mut bytes = writer.into_inner().unwrap();
        checksum::seal(&mut bytes);
        std::fs::write(&on_disk, &bytes).unwrap();
        if self.format == Format::Delta {
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            self.set_add(table, path, &bytes, rows);
        }
    }

    fn set_add(&self, table: &str, path: &str, bytes: &[u8], rows: usize) {
        self.edit_entries(table, |action| {
            let Some(add) = action.get_mut("add").filter(|add| path.ends_with(add["path"].as_str().unwrap()))
            else {
                return;
            };
            add["size"] = json!(bytes.len());
            add["tags"]["laker.checksum"] = json!(Checksum::of(bytes).text());
            let mut stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
            stats["numRecords"] = json!(rows);
            add["stats"] = json!(stats.to_string());
        });
    }

    /// Changes actions of a Delta log where they stand.
    pub fn edit_entries(&self, table: &str, edit: impl Fn(&mut Value)) {
        for path in self.entries(table) {
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().map(|line| {
                let mut action: Value = serde_json::from_str(line).unwrap();
                edit(&mut action);
                action.to_string()
            });
            std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
        }
    }

    /// The entries of a Delta log, in order.
    fn entries(&self, table: &str) -> Vec<PathBuf> {
        let folder = self.on_disk(table).join("_delta_log");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
        paths.sort();
        paths
    }

    /// Actions of the entry that added the file at `path`.
    pub fn entry_of(&self, table: &str, path: &str) -> Vec<Value> {
        let actions = self.entries(table).into_iter().map(|entry| {
            let text = std::fs::read_to_string(entry).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        });
        let adds = |action: &Value| action["add"]["path"].as_str().is_some_and(|added| path.ends_with(added));
        actions.into_iter().find(|actions| actions.iter().any(adds)).unwrap()
    }

    /// Writes the next entry of a Delta log.
    pub fn write_entry(&self, table: &str, actions: &[Value]) {
        let entries = self.entries(table);
        let path = self.on_disk(table).join("_delta_log").join(format!("{:020}.json", entries.len()));
        let lines: Vec<_> = actions.iter().map(Value::to_string).collect();
        std::fs::write(path, lines.join("\n")).unwrap();
    }

    /// Writes a plain Parquet file without rows that covers `[start, end)`.
    pub async fn write_empty_link(&self, start: u64, end: u64) {
        let footer = table::FileFooter {
            batch_id: "vandal".to_owned(),
            log: self.log_id().await,
            partition: PartitionId(0),
            range: event::OffsetRange::new(Offset(start), Offset(end)),
            row_count: 0,
            dead_count: 0,
            skipped_count: end - start,
            gap: false,
        };
        let pair =
            |(key, value): (&str, String)| parquet::file::metadata::KeyValue::new(key.to_owned(), value);
        let pairs = footer.pairs().into_iter().map(pair).collect();
        let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs)).build();
        let schema = self.table("logs").snapshot(None).await.unwrap().unwrap().schema;
        let bytes = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap().into_inner().unwrap();
        std::fs::write(self.on_disk(&format!("logs/data/p=0/{start:020}.parquet")), bytes).unwrap();
    }
}

fn read(path: &Path) -> Vec<RecordBatch> {
    let bytes = Bytes::from(std::fs::read(path).unwrap());
    ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap().map(Result::unwrap).collect()
}

/// The problems of one kind.
pub fn of_kind(report: &Report, kind: Kind) -> Vec<&Problem> {
    report.problems.iter().filter(|problem| problem.kind == kind).collect()
}

/// That the report names exactly these offsets of this kind, and that it is not proven.
#[track_caller]
pub fn assert_names(report: &Report, kind: Kind, offsets: &[[u64; 2]], what: &str) {
    assert!(!report.proven, "{what}: {report:#?}");
    let named: Vec<_> = of_kind(report, kind).iter().flat_map(|problem| problem.offsets.clone()).collect();
    assert_eq!(named, offsets, "{what}: {report:#?}");
}
