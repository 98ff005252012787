//! What stands in the log, and what other programs write into it.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use event::{Clock, LeaderEpoch, LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions};
use object_store::ObjectStoreExt as _;
use serde_json::{Value, json};
use table::{ColumnStats, Commit, CommitOutcome, EncodedFile, Lake, StatValue, Table, TableError};
use table_delta::DeltaTable;

use crate::lakes;

const P0: PartitionId = PartitionId(0);

fn log() -> LogId {
    LogId::new("kafka:cluster:topic")
}

fn schema() -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("_offset", DataType::Int64, false),
        Field::new("_time", utc, false),
        Field::new("event_date", DataType::Date32, false),
    ]))
}

fn table(lake: &Lake) -> DeltaTable {
    DeltaTable::new(lake.clone(), "logs", Clock::system())
}

async fn begun(lake: &Lake) -> DeltaTable {
    let table = table(lake);
    table.create(&schema(), &log()).await.unwrap();
    table.begin(&log(), &Positions::from_iter([(P0, Offset(0))])).await.unwrap();
    table
}

fn commit(start: u64, end: u64) -> Commit {
    Commit {
        batch_id: Clock::system().new_id(),
        log: log(),
        ranges: OffsetRanges::from_iter([(P0, OffsetRange::new(Offset(start), Offset(end)))]),
        files: Vec::new(),
        schema: schema(),
        row_count: 0,
        dead_count: 0,
        skipped_count: 0,
        gap: false,
    }
}

async fn land(table: &DeltaTable, commit: &Commit) {
    let outcome = table.commit(commit).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Landed(_)), "{outcome:?}");
}

async fn entry(lake: &Lake, version: u64) -> Vec<Value> {
    let path = lake.table_path("logs").join("_delta_log").join(format!("{version:020}.json"));
    let bytes = lake.store().get(&path).await.unwrap().bytes().await.unwrap();
    bytes.split(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
}

async fn write_entry(lake: &Lake, version: u64, actions: &[Value]) {
    let path = lake.table_path("logs").join("_delta_log").join(format!("{version:020}.json"));
    let lines: Vec<_> = actions.iter().map(Value::to_string).collect();
    lake.store().put(&path, lines.join("\n").into()).await.unwrap();
}

#[tokio::test]
async fn an_entry_says_what_landed_and_where_from() {
    let (_folder, lake) = lakes::folder();
    let table = begun(&lake).await;
    let mut commit = commit(0, 12);
    let file = EncodedFile {
        batch_id: commit.batch_id.clone(),
        index: 0,
        event_date: Some(20_000),
        ranges: commit.ranges.clone(),
        row_count: 10,
        bytes: "bytes".into(),
        column_stats: vec![ColumnStats {
            column: "_offset".to_owned(),
            min: Some(StatValue::Long(0)),
            max: Some(StatValue::Long(11)),
            null_count: Some(0),
        }],
    };
    commit.files = vec![table.store(file).await.unwrap()];
    (commit.row_count, commit.dead_count, commit.skipped_count) = (10, 1, 1);
    land(&table, &commit).await;
    let actions = entry(&lake, 2).await;
    let info = &actions[0]["commitInfo"];
    assert_eq!(
        (&info["operation"], &info["operationParameters"]["mode"]),
        (&json!("WRITE"), &json!("Append"))
    );
    assert_eq!((&info["isBlindAppend"], &info["readVersion"]), (&json!(true), &json!(1)));
    assert_eq!(info["laker.batch_id"], commit.batch_id);
    assert_eq!(info["laker.ranges"], json!({ "0": [0, 12] }));
    assert_eq!((&info["laker.row_count"], &info["laker.dead_count"]), (&json!(10), &json!(1)));
    let add = &actions[1]["add"];
    assert_eq!(add["path"], format!("event_date=2024-10-04/{}-0.parquet", commit.batch_id));
    assert_eq!(add["partitionValues"], json!({ "event_date": "2024-10-04" }));
    let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    assert_eq!((&stats["numRecords"], &stats["maxValues"]["_offset"]), (&json!(10), &json!(11)));
    assert_eq!(actions[2], json!({ "txn": { "appId": "laker/kafka:cluster:topic/0", "version": 12 } }));
    assert_eq!(actions.len(), 3, "columns that are known are not written again");
}

#[tokio::test]
async fn a_gap_is_marked_in_its_entry() {
    let (_folder, lake) = lakes::folder();
    let table = begun(&lake).await;
    let ranges = OffsetRanges::from_iter([(P0, OffsetRange::new(Offset(0), Offset(7)))]);
    let gap = Commit::of_gap(Clock::system().new_id(), log(), ranges, schema());
    land(&table, &gap).await;
    land(&table, &commit(7, 9)).await;
    let actions = entry(&lake, 2).await;
    let info = &actions[0]["commitInfo"];
    assert_eq!((&info["operation"], &info["laker.gap"]), (&json!("ACCEPT GAP"), &json!(true)));
    assert_eq!(info["laker.ranges"], json!({ "0": [0, 7] }));
    assert_eq!(actions[1], json!({ "txn": { "appId": "laker/kafka:cluster:topic/0", "version": 7 } }));
    let after = &entry(&lake, 3).await[0]["commitInfo"];
    assert_eq!((&after["operation"], after.get("laker.gap")), (&json!("WRITE"), None));
}

#[tokio::test]
async fn every_reader_may_open_the_table() {
    let (_folder, lake) = lakes::folder();
    begun(&lake).await;
    let actions = entry(&lake, 0).await;
    assert_eq!(actions[1]["protocol"], json!({ "minReaderVersion": 1, "minWriterVersion": 2 }));
    let metadata = &actions[2]["metaData"];
    assert_eq!(metadata["partitionColumns"], json!(["event_date"]));
    let configuration = metadata["configuration"].as_object().unwrap();
    assert_eq!(configuration["delta.enableExpiredLogCleanup"], "false");
    assert!(
        !configuration.contains_key("delta.setTransactionRetentionDuration"),
        "a position must never expire"
    );
    let columns: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    assert_eq!(columns["fields"][1]["type"], "timestamp");
}

#[tokio::test]
async fn a_timestamp_without_zone_is_refused_since_it_needs_a_table_feature() {
    let (_folder, lake) = lakes::folder();
    let zoneless = DataType::Timestamp(TimeUnit::Microsecond, None);
    let schema = Arc::new(Schema::new(vec![Field::new("at", zoneless, true)]));
    let refused = table(&lake).create(&schema, &log()).await.unwrap_err();
    assert!(
        matches!(refused, TableError::Data { .. }) && refused.to_string().contains("\"at\""),
        "{refused}"
    );
}

/// More commits than between two checkpoints, by two writers that take turns.
#[tokio::test(flavor = "multi_thread")]
async fn positions_are_found_again_behind_a_checkpoint() {
    let (_folder, lake) = lakes::folder();
    let writers = [begun(&lake).await, table(&lake)];
    for start in 0..110_u64 {
        let mut commit = commit(start, start + 1);
        let epoch = (start < 90).then_some(LeaderEpoch(6));
        commit.ranges = [(P0, commit.ranges.get(P0).unwrap().written_under(epoch))].into_iter().collect();
        land(&writers[(start % 2) as usize], &commit).await;
    }
    let hint = lake.table_path("logs").join("_delta_log").join("_last_checkpoint");
    let hint = lake.store().get(&hint).await.unwrap().bytes().await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&hint).unwrap()["version"], 100);
    // Without the entries that the checkpoint holds, only the checkpoint can tell.
    for version in 0..=100_u64 {
        let path = lake.table_path("logs").join("_delta_log").join(format!("{version:020}.json"));
        lake.store().delete(&path).await.unwrap();
    }
    let other = LogId::new("kafka:cluster:another");
    let state = table(&lake).load(&log()).await.unwrap().unwrap();
    assert_eq!((state.version, state.positions.get(P0)), (111, Some(Offset(110))));
    assert_eq!(state.positions.epoch(P0), Some(LeaderEpoch(6)), "the last that was known");
    assert_eq!(table(&lake).load(&other).await.unwrap().unwrap().other_logs, [log()]);
    let snapshot = table(&lake).snapshot(Some(&log())).await.unwrap().unwrap();
    assert_eq!((snapshot.version, snapshot.positions.get(P0)), (111, Some(Offset(110))));
    land(&table(&lake), &commit(110, 111)).await;
}

#[tokio::test]
async fn a_writer_that_slept_while_its_place_in_the_log_was_cleaned_up_does_not_write_there() {
    let (_folder, lake) = lakes::folder();
    let sleeper = begun(&lake).await;
    let awake = table(&lake);
    for start in 0..105 {
        land(&awake, &commit(start, start + 1)).await;
    }
    for version in 0..=100_u64 {
        let path = lake.table_path("logs").join("_delta_log").join(format!("{version:020}.json"));
        lake.store().delete(&path).await.unwrap();
    }
    let outcome = sleeper.commit(&commit(0, 50)).await.unwrap();
    let CommitOutcome::Fenced { state, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(state.positions.get(P0), Some(Offset(105)));
}

#[tokio::test]
async fn commits_of_other_programs_do_not_disturb() {
    let (_folder, lake) = lakes::folder();
    let table = begun(&lake).await;
    let mut first = commit(0, 5);
    let file = EncodedFile {
        batch_id: first.batch_id.clone(),
        index: 0,
        event_date: Some(20_000),
        ranges: first.ranges.clone(),
        row_count: 5,
        bytes: "bytes".into(),
        column_stats: Vec::new(),
    };
    first.files = vec![table.store(file).await.unwrap()];
    land(&table, &first).await;
    assert_eq!(table.snapshot(None).await.unwrap().unwrap().files.len(), 1);
    let path = &first.files[0].path;
    let values = json!({ "event_date": "2024-10-04" });
    let compaction = [
        json!({ "commitInfo": { "operation": "OPTIMIZE", "timestamp": 1_700_000_000_000_i64 } }),
        json!({ "remove": { "path": path, "dataChange": false, "deletionTimestamp": 1, "partitionValues": values } }),
        json!({ "add": {
            "path": "event_date=2024-10-04/compacted%20file.parquet", "dataChange": false, "partitionValues": values,
            "size": 3, "modificationTime": 1, "stats": "{\"numRecords\":5}",
        } }),
        json!({ "txn": { "appId": "another-program", "version": 7 } }),
    ];
    write_entry(&lake, 3, &compaction).await;
    let snapshot = table.snapshot(Some(&log())).await.unwrap().unwrap();
    assert_eq!((snapshot.version, snapshot.positions.get(P0)), (3, Some(Offset(5))));
    assert_eq!(snapshot.committed_at.map(|at| at.0), Some(1_700_000_000_000_000));
    let file = &snapshot.files[..];
    assert_eq!(file.len(), 1);
    assert_eq!((file[0].row_count, file[0].event_date), (Some(5), Some(20_000)));
    assert_eq!(file[0].path.as_ref(), "logs/event_date=2024-10-04/compacted file.parquet");
    let state = table.load(&log()).await.unwrap().unwrap();
    assert!(state.other_logs.is_empty(), "another program is no log");
    land(&table, &commit(5, 6)).await;
    assert_eq!(table.load(&log()).await.unwrap().unwrap().version, 4);
}

#[tokio::test]
async fn a_table_whose_protocol_asks_for_more_is_not_written() {
    let (_folder, lake) = lakes::folder();
    let table = begun(&lake).await;
    let appending = json!({ "protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors", "appendOnly"],
    } });
    write_entry(&lake, 2, &[appending]).await;
    land(&table, &commit(0, 1)).await;
    let tracking = json!({ "protocol": {
        "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["rowTracking", "domainMetadata"],
    } });
    write_entry(&lake, 4, &[tracking]).await;
    let refused = table.commit(&commit(1, 2)).await.unwrap_err();
    assert!(
        matches!(refused, TableError::Data { .. }) && refused.to_string().contains("rowTracking"),
        "{refused}"
    );
}

/// The figure of the design: 50 commits, each a few requests whatever the table's age.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_costs_a_handful_of_requests() {
    let (_folder, lake) = lakes::folder();
    let table = begun(&lake).await;
    for start in 0..20 {
        land(&table, &commit(start, start + 1)).await;
    }
    let counting = Arc::new(lakes::Counting::new(Arc::clone(lake.store())));
    let counted = DeltaTable::new(lake.with_store(counting.clone()), "logs", Clock::system());
    counted.load(&log()).await.unwrap();
    let before = counting.requests();
    for start in 20..30 {
        land(&counted, &commit(start, start + 1)).await;
    }
    assert_eq!(counting.requests() - before, 30, "look for a newer entry, see that ours is there, create");
}
