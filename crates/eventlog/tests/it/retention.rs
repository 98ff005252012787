//! What has landed may go, nothing else, and offsets go on whatever has gone.

use std::collections::BTreeMap;

use bytes::Bytes;
use event::{Clock, Offset, OffsetRange, PartitionId, Positions};
use eventlog::embedded::EmbeddedOptions;
use eventlog::{EmbeddedLog, EventLog, LogError, Polled};
use tempfile::TempDir;

const TOPIC: &str = "logs";

fn open(folder: &TempDir, keep_landed_bytes: u64) -> EmbeddedLog {
    let options =
        EmbeddedOptions { keep_landed_bytes, segment_bytes: 10_000, ..EmbeddedOptions::new(folder.path()) };
    EmbeddedLog::open(options, Clock::system()).unwrap()
}

async fn fill(log: &EmbeddedLog, appends: usize) {
    log.create_topic(TOPIC).await.unwrap();
    for _ in 0..appends {
        log.append(TOPIC, vec![Bytes::from(vec![b'x'; 1_000])]).await.unwrap();
    }
}

async fn retained(log: &EmbeddedLog) -> BTreeMap<PartitionId, OffsetRange> {
    log.describe(TOPIC).await.unwrap().partitions
}

async fn ends(log: &EmbeddedLog) -> Positions {
    retained(log).await.into_iter().map(|(partition, range)| (partition, range.end())).collect()
}

async fn retained_count(log: &EmbeddedLog) -> u64 {
    retained(log).await.values().map(|range| range.offset_count()).sum()
}

fn zero() -> Positions {
    (0..4).map(|partition| (PartitionId(partition), Offset::ZERO)).collect()
}

#[tokio::test]
async fn what_has_not_landed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, 0);
    fill(&log, 100).await;
    log.landed(TOPIC, &zero()).await.unwrap();
    assert_eq!(retained_count(&log).await, 100);

    // One partition that lags behind keeps every segment it has a part in.
    let mut landed = ends(&log).await;
    landed.set(PartitionId(3), Offset::ZERO);
    log.landed(TOPIC, &landed).await.unwrap();
    assert_eq!(retained_count(&log).await, 100);

    // A landed position below the end keeps what lies above it.
    let landed = ends(&log).await.iter().map(|(p, end)| (p, Offset(end.0 - 5))).collect();
    log.landed(TOPIC, &landed).await.unwrap();
    let ranges = retained(&log).await;
    assert!(ranges.iter().all(|(p, range)| range.start() <= landed.get(*p).unwrap()), "{ranges:?}");
    assert!(retained_count(&log).await < 100, "whole segments below have gone");
    let ahead = log.read(TOPIC, &landed, usize::MAX).await.unwrap();
    assert_eq!(ahead.partitions.values().map(|(_, records)| records.len()).sum::<usize>(), 20);
}

#[tokio::test]
async fn so_many_bytes_stay_after_landing_and_the_oldest_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, 50_000);
    fill(&log, 200).await;
    let ends = ends(&log).await;
    log.landed(TOPIC, &ends).await.unwrap();
    let kept = retained_count(&log).await;
    assert!((45..=70).contains(&kept), "about 50 events of 1,000 bytes stay, {kept} did");
    let ranges = retained(&log).await;
    for (partition, end) in ends.iter() {
        assert_eq!(ranges[&partition].end(), end);
        assert!(ranges[&partition].start() > Offset::ZERO);
    }
    log.landed(TOPIC, &ends).await.unwrap();
    assert_eq!(retained_count(&log).await, kept, "nothing more goes by saying it again");
}

#[tokio::test]
async fn offsets_go_on_after_everything_has_gone_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, 0);
    fill(&log, 100).await;
    let before = ends(&log).await;
    log.landed(TOPIC, &before).await.unwrap();
    assert_eq!(retained_count(&log).await, 0);
    let ranges = retained(&log).await;
    drop(log);

    let log = open(&folder, 0);
    assert_eq!(retained(&log).await, ranges, "first and next offsets survive the restart");
    fill(&log, 8).await;
    let ahead = log.read(TOPIC, &before, usize::MAX).await.unwrap();
    for (partition, (range, records)) in &ahead.partitions {
        assert_eq!(Some(range.start()), before.get(*partition));
        assert_eq!(records.first_offset(), before.get(*partition), "no offset is used twice");
    }
    assert_eq!(retained_count(&log).await, 8);
}

#[tokio::test]
async fn dropped_segments_free_their_disk_space() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, 0);
    fill(&log, 300).await;
    let segments = || std::fs::read_dir(folder.path().join("keyspaces")).unwrap().count();
    let before = segments();
    log.landed(TOPIC, &ends(&log).await).await.unwrap();
    assert!(segments() < before / 4, "{before} folders before, {} after", segments());
}

#[tokio::test]
async fn a_position_that_has_gone_is_an_error_for_a_consumer_and_shown_to_a_read() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, 0);
    fill(&log, 100).await;
    let ends = ends(&log).await;
    log.landed(TOPIC, &ends).await.unwrap();

    let mut consumer = log.consumer(TOPIC, "group").unwrap();
    assert!(matches!(consumer.poll(std::time::Duration::ZERO).unwrap(), Polled::Assigned(_)));
    match consumer.start(&zero()).unwrap_err() {
        LogError::OffsetOutOfRange { wanted, first, next, .. } => {
            assert_eq!(wanted, Offset::ZERO);
            assert_eq!((Some(first), Some(next)), (ends.get(PartitionId(0)), ends.get(PartitionId(0))));
        }
        other => panic!("expected an error about the position, got {other}"),
    }
    let ahead = log.read(TOPIC, &zero(), usize::MAX).await.unwrap();
    assert!(ahead.partitions.iter().all(|(p, (range, _))| Some(range.start()) == ends.get(*p)));
}

#[tokio::test]
async fn a_reader_of_what_is_dropped_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, 0);
    fill(&log, 100).await;
    let mut consumer = log.consumer(TOPIC, "group").unwrap();
    consumer.poll(std::time::Duration::ZERO).unwrap();
    consumer.start(&zero()).unwrap();
    let mut landed = Positions::new();
    let mut records = 0;
    while records < 100 {
        let Polled::Fetched(fetched) = consumer.poll(std::time::Duration::ZERO).unwrap() else {
            panic!("everything is there to be fetched");
        };
        records += fetched.records.len();
        landed.set(fetched.partition, fetched.range.end());
        log.landed(TOPIC, &landed).await.unwrap();
    }
    assert_eq!(retained_count(&log).await, 0);
}
