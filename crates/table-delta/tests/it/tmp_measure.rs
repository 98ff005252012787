//! Being measured; goes away in minutes, never committed.
use crate::lakes;
use arrow_schema::*;
use event::*;
use std::sync::Arc;
use table::*;
use table_delta::DeltaTable;

async fn measure(lake: Lake, name: &str, of: &str, commits: u64) {
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("_offset", DataType::Int64, false),
        Field::new("event_date", DataType::Date32, false),
    ]));
    let clock = Clock::system();
    let log = LogId::new("a:b:c");
    let table: Box<dyn Table> = if of == "delta" {
        Box::new(DeltaTable::new(lake.clone(), name, clock.clone()))
    } else {
        Box::new(ParquetTable::new(lake.clone(), name, clock.clone()))
    };
    table.create(&schema, &log).await.unwrap();
    table.begin(&log, &(0..4).map(|p| (PartitionId(p), Offset(0))).collect()).await.unwrap();
    let started = clock.monotonic();
    for n in 0..commits {
        let ranges: OffsetRanges =
            (0..4).map(|p| (PartitionId(p), OffsetRange::new(Offset(n), Offset(n + 1)))).collect();
        let commit = Commit {
            batch_id: clock.new_id(),
            log: log.clone(),
            ranges,
            files: vec![],
            schema: schema.clone(),
            row_count: 0,
            dead_count: 0,
            skipped_count: 0,
        };
        assert!(matches!(table.commit(&commit).await.unwrap(), CommitOutcome::Landed(_)));
    }
    eprintln!(
        "MEASURED {of} {} {commits} commits of 4 partitions: {:?}",
        lake.url(),
        clock.monotonic() - started
    );
    let started = clock.monotonic();
    let another: Box<dyn Table> = if of == "delta" {
        Box::new(DeltaTable::new(lake.clone(), name, clock.clone()))
    } else {
        Box::new(ParquetTable::new(lake.clone(), name, clock.clone()))
    };
    another.load(&log).await.unwrap();
    eprintln!("MEASURED {of} cold load {:?}", clock.monotonic() - started);
    let started = clock.monotonic();
    another.snapshot(Some(&log)).await.unwrap();
    eprintln!("MEASURED {of} snapshot {:?}", clock.monotonic() - started);
}

#[tokio::test(flavor = "multi_thread")]
async fn tmp_measure() {
    for of in ["delta", "parquet"] {
        let (_f, lake) = lakes::folder();
        measure(lake, "m", of, 50).await;
        if let Some(lake) = lakes::bucket() {
            measure(lake.clone(), "m", of, 50).await;
            measure(lake.clone(), "m2", of, 250).await;
        }
    }
    let variables = [("AWS_METADATA_ENDPOINT".to_owned(), "http://127.0.0.1:1".to_owned())];
    let lake = Lake::open("s3://b/p", &variables.into_iter().collect()).unwrap();
    eprintln!("MEASURED {}", lake.reach(&Clock::system()).await.unwrap_err());
    let lake = Lake::open("s3://b/p", &Default::default()).unwrap();
    let c = Clock::system();
    let s = c.monotonic();
    eprintln!("MEASURED {} {:?}", lake.reach(&c).await.unwrap_err(), c.monotonic() - s);
}
