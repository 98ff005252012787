//! Logs and tables as earlier versions wrote them (`tests/golden`): read, and gone on with.
//!
//! `cargo xtask golden` writes the folder of today's format; `docs/formats.md` says when that may be done.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use decode::{DecodeOptions, EventLimits, check_event, columns};
use event::{Clock, PartitionId, Positions, StreamName};
use eventlog::EventLog;
use eventlog::embedded::{EmbeddedLog, EmbeddedOptions};
use loader::{Control, FlushLimits, Loader, LoaderOptions, StartPolicy};
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use table::{Lake, ParquetTable, Table};
use table_delta::DeltaTable;

/// The format this version writes. `docs/formats.md` says when it changes.
const FORMAT: &str = "format-1";
const TOPIC: &str = "logs";
/// Payloads per append, the last of each a dead letter or not, with the things a table must keep apart.
const APPENDS: [&[&[u8]]; 4] = [
    &[
        br#"{"_id":"a","n":1,"name":"ada","price":2.5,"vip":true,"timestamp":"2024-03-05T06:07:08.123456Z"}"#,
        br#"{"_id":"b","n":2,"user":{"id":7,"tags":["x","y"]},"timestamp":"2024-03-06T00:00:00+09:00"}"#,
        br#"{"_id":"c","n":"three","timestamp":1709618828}"#,
    ],
    &[br#"{"_id":"d","n":4,"Name":"case","a key":"space"}"#, b"[1]", b"\xff\xfe", b"{\"n\":"],
    &[
        br#"{"_id":"e","n":5,"big":1e400,"list":[1,"two"]}"#,
        "{\"_id\":\"f\",\"n\":6,\"이름\":\"값\"}".as_bytes(),
    ],
    &[b"", br#"{}"#],
];
/// What today's version adds to a golden log: a known column, a new one, a conflict and a dead letter.
const ADDED: [&[u8]; 3] =
    [br#"{"_id":"g","n":7,"name":"later"}"#, br#"{"_id":"h","n":"eight","new":true}"#, b"null"];

/// Which kind of table a golden folder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A Delta table of a few versions.
    Delta,
    /// A Delta table whose log begins with a checkpoint, its earlier entries cleaned up.
    DeltaCheckpoint,
    /// Plain Parquet.
    Parquet,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Delta, Self::DeltaCheckpoint, Self::Parquet];

    fn folder(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::DeltaCheckpoint => "delta-checkpoint",
            Self::Parquet => "parquet",
        }
    }
}

/// Partition, offset and payload of every event in a log.
type Events = BTreeMap<(u32, u64), Vec<u8>>;

/// A log and a lake in one folder.
struct Place {
    kind: Kind,
    log: Arc<EmbeddedLog>,
    lake: Lake,
}

impl Place {
    fn open(kind: Kind, folder: &Path) -> Self {
        let options = EmbeddedOptions { partition_count: 2, ..EmbeddedOptions::new(folder.join("log")) };
        let log = Arc::new(EmbeddedLog::open(options, Clock::system()).unwrap());
        let lake = Lake::open(&format!("file:{}", folder.join("lake").display()), &BTreeMap::new()).unwrap();
        Self { kind, log, lake }
    }

    fn table(&self, name: &str) -> Arc<dyn Table> {
        match self.kind {
            Kind::Parquet => Arc::new(ParquetTable::new(self.lake.clone(), name, Clock::system())),
            Kind::Delta | Kind::DeltaCheckpoint => {
                Arc::new(DeltaTable::new(self.lake.clone(), name, Clock::system()))
            }
        }
    }

    async fn append(&self, payloads: &[&[u8]]) {
        let payloads = payloads.iter().map(|payload| Bytes::copy_from_slice(payload)).collect();
        self.log.append(TOPIC, payloads).await.unwrap();
    }

    async fn end(&self) -> Positions {
        let described = self.log.describe(TOPIC).await.unwrap();
        described.partitions.iter().map(|(partition, retained)| (*partition, retained.end())).collect()
    }

    /// Everything in the log.
    async fn events(&self) -> Events {
        let described = self.log.describe(TOPIC).await.unwrap();
        let start =
            described.partitions.iter().map(|(partition, range)| (*partition, range.start())).collect();
        let ahead = self.log.read(TOPIC, &start, usize::MAX).await.unwrap();
        let of = |(partition, records): (PartitionId, &event::Records)| {
            let records = records.iter();
            let each = records.map(|r| ((partition.0, r.offset.0), r.payload.unwrap().to_vec()));
            each.collect::<Vec<_>>()
        };
        ahead.partitions.iter().flat_map(|(partition, (_, records))| of((*partition, records))).collect()
    }

    /// Loads what is in the log; returns the rows and dead letters that landed.
    async fn load(&self) -> (u64, u64) {
        let options = LoaderOptions {
            stream: StreamName::new("logs").unwrap(),
            topic: TOPIC.to_owned(),
            group: "golden".to_owned(),
            decode: Arc::new(DecodeOptions::default()),
            flush: FlushLimits {
                rows_max: 1_000_000,
                bytes_max: 1 << 30,
                age_max: Duration::from_secs(3600),
            },
            start: StartPolicy::Earliest,
        };
        let (main, dead) = (self.table("logs"), self.table("logs__dead"));
        let loader = Loader::new(options, self.log.clone() as Arc<dyn EventLog>, main, dead, Clock::system());
        let control = Control::new();
        control.finish_at(self.end().await);
        let progress = loader.run(&control).await.unwrap().progress;
        (progress.rows_total, progress.dead_total)
    }

    async fn batches(&self, table: &str) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        for file in self.table(table).snapshot(None).await.unwrap().unwrap().files {
            let bytes = self.lake.store().get(&file.path).await.unwrap().bytes().await.unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
            batches.extend(reader.map(Result::unwrap));
        }
        batches
    }

    /// Every place in the table, with `_id` of its row or the bytes of its dead letter.
    async fn landed(&self, table: &str) -> Vec<((u32, u64), Option<Vec<u8>>)> {
        let mut landed: Vec<_> = self.batches(table).await.iter().flat_map(rows_of).collect();
        landed.sort();
        landed
    }

    /// Each event of the log must be in one of the two tables, once, under its own place.
    async fn assert_each_event_landed_once(&self, events: &Events) {
        let is_event = |payload: &[u8]| check_event(payload, EventLimits::default()).is_ok();
        let rows = events.iter().filter(|(_, payload)| is_event(payload));
        let rows: Vec<_> = rows.map(|(place, payload)| (*place, id_of(payload))).collect();
        assert_eq!(self.landed("logs").await, rows, "{:?}", self.kind);
        let dead = events.iter().filter(|(_, payload)| !is_event(payload));
        let dead: Vec<_> = dead.map(|(place, payload)| (*place, Some(payload.clone()))).collect();
        assert_eq!(self.landed("logs__dead").await, dead, "{:?}", self.kind);
        let id = self.log.describe(TOPIC).await.unwrap().id;
        let state = self.table("logs").load(&id).await.unwrap().unwrap();
        assert_eq!(state.positions, self.end().await, "{:?}", self.kind);
    }
}

/// Partition and offset of a record, and what tells it from others: its id, or a dead letter's bytes.
type Content = ((u32, u64), Option<Vec<u8>>);

fn rows_of(batch: &RecordBatch) -> Vec<Content> {
    let partitions = batch[columns::PARTITION].as_primitive::<Int32Type>();
    let offsets = batch[columns::OFFSET].as_primitive::<Int64Type>();
    let content = |row: usize| match batch.column_by_name(columns::RAW) {
        Some(raw) => Some(raw.as_binary::<i32>().value(row).to_vec()),
        None => {
            let ids = batch[columns::ID].as_string::<i32>();
            ids.is_valid(row).then(|| ids.value(row).as_bytes().to_vec())
        }
    };
    let place = |row| (partitions.value(row).cast_unsigned(), offsets.value(row).cast_unsigned());
    (0..batch.num_rows()).map(|row| (place(row), content(row))).collect()
}

/// The `_id` of an event of ours, found by its plain text.
fn id_of(event: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(event).unwrap();
    let after = text.split(r#""_id":""#).nth(1)?;
    Some(after.split('"').next().unwrap().as_bytes().to_vec())
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// The folders of all formats there have been.
fn formats() -> Vec<PathBuf> {
    let entries = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path());
    let mut formats: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    formats.sort();
    assert!(formats.iter().any(|path| path.ends_with(FORMAT)), "{FORMAT} is missing: cargo xtask golden");
    formats
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of a golden folder that may be changed, and what its log must have.
fn a_copy(format: &Path, kind: Kind) -> (tempfile::TempDir, Events) {
    let folder = tempfile::tempdir().unwrap();
    let source = format.join(kind.folder());
    copy(&source, folder.path());
    (folder, read_events(&source.join("events.txt")))
}

/// `partition offset payload`, the payload in hexadecimal digits: dead letters are any bytes.
fn write_events(path: &Path, events: &Events) {
    let mut text = String::new();
    for ((partition, offset), payload) in events {
        let digits: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{partition} {offset} {digits}").unwrap();
    }
    fs::write(path, text).unwrap();
}

fn read_events(path: &Path) -> Events {
    let text = fs::read_to_string(path).unwrap();
    let each = text.lines().map(|line| {
        let mut words = line.split(' ');
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let place = (u32::try_from(number()).unwrap(), number());
        let digits = words.next().unwrap();
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (place, (0..digits.len()).step_by(2).map(byte).collect())
    });
    each.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_every_format_is_read_byte_for_byte() {
    for format in formats() {
        for kind in Kind::ALL {
            let (folder, events) = a_copy(&format, kind);
            assert_eq!(Place::open(kind, folder.path()).events().await, events, "{kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_every_format_is_read_and_nothing_lands_a_second_time() {
    for format in formats() {
        for kind in Kind::ALL {
            let (folder, events) = a_copy(&format, kind);
            let place = Place::open(kind, folder.path());
            place.assert_each_event_landed_once(&events).await;
            assert_eq!(place.load().await, (0, 0), "{kind:?}");
            place.assert_each_event_landed_once(&events).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_every_format_is_gone_on_with() {
    for format in formats() {
        for kind in Kind::ALL {
            let (folder, golden) = a_copy(&format, kind);
            for _ in 0..2 {
                let place = Place::open(kind, folder.path());
                place.append(&ADDED).await;
                assert_eq!(place.load().await, (2, 1), "{kind:?}");
                let events = place.events().await;
                assert!(golden.iter().all(|(at, payload)| events.get(at) == Some(payload)), "{kind:?}");
                place.assert_each_event_landed_once(&events).await;
            }
            let place = Place::open(kind, folder.path());
            let state = place.table("logs").snapshot(None).await.unwrap().unwrap();
            assert!(state.schema.column_with_name("new").is_some(), "{kind:?}: columns still grow");
        }
    }
}

/// With `LAKER_GOLDEN_FOLDER` it writes there, which is how `cargo xtask golden` makes the golden folders.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_today_lies_in_files_named_as_in_the_golden_folders() {
    let scratch = tempfile::tempdir().unwrap();
    let target =
        std::env::var_os("LAKER_GOLDEN_FOLDER").map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    for kind in Kind::ALL {
        let folder = target.join(FORMAT).join(kind.folder());
        assert!(!folder.exists(), "{} is in the way", folder.display());
        write_golden(kind, &folder).await;
        let golden = golden().join(FORMAT).join(kind.folder()).join("lake");
        assert_eq!(names_without_ids(&folder.join("lake")), names_without_ids(&golden), "{kind:?}");
    }
}

async fn write_golden(kind: Kind, folder: &Path) {
    let place = Place::open(kind, folder);
    place.log.create_topic(TOPIC).await.unwrap();
    for payloads in APPENDS {
        place.append(payloads).await;
        place.load().await;
    }
    if kind == Kind::DeltaCheckpoint {
        grow_to_a_checkpoint(&place, folder).await;
    }
    let events = place.events().await;
    place.assert_each_event_landed_once(&events).await;
    write_events(&folder.join("events.txt"), &events);
    drop(place);
    cut_journals(&folder.join("log"));
}

/// Cuts off the zeros that the embedded log's journals are laid out with: 64 MiB each, of which a few
/// hundred bytes are written. A log is opened without them as it is with them.
fn cut_journals(folder: &Path) {
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "jnl") {
            let bytes = fs::read(&file).unwrap();
            let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            fs::write(&file, &bytes[..written]).unwrap();
        }
    }
}

/// Paths of all files, each id replaced, since every run has others.
fn names_without_ids(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        files(folder).iter().map(|path| without_id(path.strip_prefix(folder).unwrap())).collect();
    names.sort();
    names
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// `0198c0de-0000-7000-8000-000000000000-0.parquet` becomes `<id>-0.parquet`, a day of the clock `<today>`.
fn without_id(path: &Path) -> String {
    let text = path.display().to_string();
    let (folder, name) = text.rsplit_once('/').unwrap_or(("", &text));
    let is_id =
        |name: &str| name.len() > 36 && name.is_char_boundary(36) && name[..36].matches('-').count() == 4;
    let folder =
        if folder.contains("event_date=2024") { folder } else { folder.split("event_date=").next().unwrap() };
    if is_id(name) { format!("{folder}/<id>{}", &name[36..]) } else { format!("{folder}/{name}") }
}

/// Lets the log of `logs` grow to version 100, at which a checkpoint is written, then cleans up what the
/// checkpoint covers. The versions between are another program's, which changes nothing.
async fn grow_to_a_checkpoint(place: &Place, folder: &Path) {
    let log = folder.join("lake/logs/_delta_log");
    let entry = |version: u64| log.join(format!("{version:020}.json"));
    let foreign =
        r#"{"commitInfo":{"timestamp":1709618828123,"operation":"OPTIMIZE","operationParameters":{}}}"#;
    for version in (0..100).filter(|version| !entry(*version).exists()) {
        fs::write(entry(version), foreign).unwrap();
    }
    place.append(&[br#"{"_id":"at-the-checkpoint","n":100}"#]).await;
    place.load().await;
    assert!(log.join(format!("{:020}.checkpoint.parquet", 100)).exists());
    (0..100).for_each(|version| fs::remove_file(entry(version)).unwrap());
}
