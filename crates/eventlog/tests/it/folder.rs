//! Who may use a folder, and what is said to those who may not.

use std::fs;

use bytes::Bytes;
use event::{Clock, ErrorKind, Offset, Positions};
use eventlog::embedded::EmbeddedOptions;
use eventlog::{EmbeddedLog, EventLog, LogError};

fn open(options: EmbeddedOptions) -> Result<EmbeddedLog, LogError> {
    EmbeddedLog::open(options, Clock::system())
}

fn settings_error(outcome: Result<EmbeddedLog, LogError>) -> String {
    match outcome {
        Err(error) if error.kind() == ErrorKind::Settings => error.to_string(),
        other => panic!("expected an error about the settings, got {other:?}"),
    }
}

#[test]
fn a_folder_in_use_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(EmbeddedOptions::new(folder.path())).unwrap();
    let refused = open(EmbeddedOptions::new(folder.path())).unwrap_err();
    assert!(matches!(&refused, LogError::InUse { place } if *place == folder.path().display().to_string()));
    drop(log);
    open(EmbeddedOptions::new(folder.path())).unwrap();
}

#[test]
fn a_file_in_place_of_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    fs::write(&file, "not a folder").unwrap();
    let refused = settings_error(open(EmbeddedOptions::new(&file)));
    assert!(refused.contains("no folder"), "{refused}");
}

#[test]
fn options_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    settings_error(open(EmbeddedOptions { partition_count: 0, ..EmbeddedOptions::new(folder.path()) }));
    settings_error(open(EmbeddedOptions {
        partition_count: u32::MAX,
        ..EmbeddedOptions::new(folder.path())
    }));
    settings_error(open(EmbeddedOptions { segment_bytes: 0, ..EmbeddedOptions::new(folder.path()) }));
}

#[tokio::test]
async fn a_name_that_cannot_name_a_topic_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(EmbeddedOptions::new(folder.path())).unwrap();
    for name in ["", "a/b", "a b", "ä", &"x".repeat(250)] {
        let refused = log.create_topic(name).await.unwrap_err();
        assert!(matches!(refused, LogError::Settings { .. }), "{name:?}: {refused}");
    }
    log.create_topic(&"x".repeat(249)).await.unwrap();
}

#[tokio::test]
async fn a_topic_keeps_its_partitions_when_the_setting_changes() {
    let folder = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { partition_count: 2, ..EmbeddedOptions::new(folder.path()) };
    let log = open(options.clone()).unwrap();
    log.create_topic("logs").await.unwrap();
    let before = log.describe("logs").await.unwrap();
    drop(log);
    let log = open(EmbeddedOptions { partition_count: 8, ..options }).unwrap();
    log.create_topic("logs").await.unwrap();
    assert_eq!(log.describe("logs").await.unwrap(), before);
    assert_eq!(before.partitions.len(), 2);
}

#[tokio::test]
async fn another_folder_is_another_log() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut ids = Vec::new();
    for folder in [&one, &other] {
        let log = open(EmbeddedOptions::new(folder.path())).unwrap();
        log.create_topic("logs").await.unwrap();
        ids.push(log.describe("logs").await.unwrap().id);
    }
    assert_ne!(ids[0], ids[1]);
    assert!(ids[0].as_str().starts_with("embedded:") && ids[0].as_str().ends_with(":logs"), "{}", ids[0]);
}

#[tokio::test]
async fn a_group_has_one_reader() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(EmbeddedOptions::new(folder.path())).unwrap();
    log.create_topic("logs").await.unwrap();
    let first = log.consumer("logs", "group").unwrap();
    let refused = log.consumer("logs", "group").unwrap_err();
    assert!(matches!(refused, LogError::Settings { .. }), "{refused}");
    log.consumer("logs", "other").unwrap();
    drop(first);
    log.consumer("logs", "group").unwrap();
}

#[tokio::test]
async fn a_consumer_that_outlives_its_log_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(EmbeddedOptions::new(folder.path())).unwrap();
    log.create_topic("logs").await.unwrap();
    let mut consumer = log.consumer("logs", "group").unwrap();
    drop(log);
    let told = consumer.poll(std::time::Duration::ZERO).unwrap_err();
    assert!(matches!(told, LogError::Unavailable { .. }), "{told}");
    open(EmbeddedOptions::new(folder.path())).unwrap();
}

#[tokio::test]
async fn an_event_over_the_limit_is_refused_and_nothing_of_its_request_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(EmbeddedOptions::new(folder.path())).unwrap();
    log.create_topic("logs").await.unwrap();
    let large = Bytes::from(vec![b'x'; event::limits::EVENT_BYTES_MAX + 1]);
    log.append("logs", vec![Bytes::from_static(b"{}"), large]).await.unwrap_err();
    let ends: Positions =
        log.describe("logs").await.unwrap().partitions.iter().map(|(p, range)| (*p, range.end())).collect();
    assert!(ends.iter().all(|(_, end)| end == Offset::ZERO));
}
