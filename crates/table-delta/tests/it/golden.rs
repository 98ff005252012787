//! What entries of the log say, word for word: other programs, and later versions, rest on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use event::{Clock, LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions};
use object_store::ObjectStoreExt as _;
use serde_json::{Value, json};
use table::{ColumnStats, Commit, CommitOutcome, EncodedFile, Lake, StatValue, Table};
use table_delta::DeltaTable;

use crate::lakes;

const BATCH_ID: &str = "0198c0de-0000-7000-8000-000000000000";

fn log() -> LogId {
    LogId::new("kafka:cluster:topic")
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/entries-format-1.jsonl")
}

fn schema(with: &[(&str, DataType)]) -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields = vec![
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_time", utc, false),
        Field::new("event_date", DataType::Date32, false),
    ];
    fields.extend(with.iter().map(|(name, of)| Field::new(*name, of.clone(), true)));
    Arc::new(Schema::new(fields))
}

fn added() -> [(&'static str, DataType); 4] {
    let texts = DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)));
    let user = DataType::Struct(vec![Field::new("id", DataType::Int64, true)].into());
    [("price", DataType::Float64), ("vip", DataType::Boolean), ("tags", texts), ("user", user)]
}

async fn commit(table: &DeltaTable) -> Commit {
    let ranges = [(PartitionId(0), 5, 17), (PartitionId(1), 0, 0), (PartitionId(2), 9, 10)];
    let ranges: OffsetRanges =
        ranges.into_iter().map(|(p, start, end)| (p, OffsetRange::new(Offset(start), Offset(end)))).collect();
    let bounds =
        |column: &str, min, max| ColumnStats { column: column.to_owned(), min, max, null_count: Some(1) };
    let file = EncodedFile {
        batch_id: BATCH_ID.to_owned(),
        index: 0,
        event_date: Some(20_000),
        ranges: ranges.clone(),
        row_count: 10,
        bytes: "bytes".into(),
        column_stats: vec![
            bounds("_offset", Some(StatValue::Long(5)), Some(StatValue::Long(16))),
            bounds("price", Some(StatValue::Double(0.5)), Some(StatValue::Double(9.25))),
            bounds("vip", None, None),
        ],
    };
    let files = vec![table.store(file).await.unwrap()];
    let (row_count, dead_count, skipped_count) = (10, 2, 1);
    let (batch_id, schema) = (BATCH_ID.to_owned(), schema(&added()));
    Commit { batch_id, log: log(), ranges, files, schema, row_count, dead_count, skipped_count, gap: false }
}

/// Creates a table, begins three partitions and lands a batch that has new columns.
async fn written(lake: &Lake) -> Vec<Value> {
    let table = DeltaTable::new(lake.clone(), "logs", Clock::system());
    table.create(&schema(&[]), &log()).await.unwrap();
    let starts = [(0, 5), (1, 0), (2, 9)].map(|(p, start)| (PartitionId(p), Offset(start)));
    table.begin(&log(), &Positions::from_iter(starts)).await.unwrap();
    let outcome = table.commit(&commit(&table).await).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Landed(_)), "{outcome:?}");
    let mut actions = Vec::new();
    for version in 0..3 {
        let path = lake.table_path("logs").join("_delta_log").join(format!("{version:020}.json"));
        let bytes = lake.store().get(&path).await.unwrap().bytes().await.unwrap();
        actions.extend(bytes.split(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()));
    }
    actions
}

/// The clock's and chance's part of an action made the same in every run.
fn settled(mut action: Value) -> Value {
    for pointer in [
        "/commitInfo/timestamp",
        "/commitInfo/engineInfo",
        "/metaData/createdTime",
        "/metaData/id",
        "/add/modificationTime",
    ] {
        if let Some(value) = action.pointer_mut(pointer) {
            assert!(!value.is_null(), "{pointer}");
            *value = json!("<any>");
        }
    }
    action
}

#[tokio::test]
async fn entries_say_what_they_have_said_since_format_1() {
    let (_folder, lake) = lakes::folder();
    let found: Vec<Value> = written(&lake).await.into_iter().map(settled).collect();
    let wanted: Vec<Value> = fs::read_to_string(golden())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (at, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        assert_eq!(found, wanted, "action {at}: {found}");
    }
    assert_eq!(found.len(), wanted.len());
}

#[tokio::test]
async fn a_table_of_a_later_format_is_refused_by_name() {
    let (_folder, lake) = lakes::folder();
    let actions = written(&lake).await;
    let mut later = actions.into_iter().rfind(|action| action.get("metaData").is_some()).unwrap();
    later["metaData"]["configuration"]["laker.format"] = json!("2");
    let path = lake.table_path("logs").join("_delta_log").join(format!("{:020}.json", 3));
    lake.store().put(&path, later.to_string().into()).await.unwrap();
    let table = DeltaTable::new(lake, "logs", Clock::system());
    let mut next = commit(&table).await;
    next.ranges = OffsetRanges::from_iter([(PartitionId(0), OffsetRange::new(Offset(17), Offset(18)))]);
    let refused = table.commit(&next).await.unwrap_err().to_string();
    assert!(refused.contains("format \"2\""), "{refused}");
}
