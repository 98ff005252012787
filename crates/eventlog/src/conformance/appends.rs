//! What is appended is durable, in order, and read back.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use event::{Offset, OffsetRange, PartitionId, Positions};

use super::steps::*;
use super::{PARTITION_COUNT, Subject};
use crate::{EventLog, LogError};

/// What is appended is read back: every event, at the place the append named, in the order given.
///
/// # Panics
/// When the promise is broken.
pub async fn appended_events_are_read_at_their_places(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let mut expected = BTreeMap::new();
    for append in 0..10 {
        let payloads: Vec<Bytes> = (0..100).map(|event| event_bytes(append, event)).collect();
        let placements = appended(log.append(&topic, payloads.clone()).await);
        assert_eq!(placements.len(), payloads.len(), "one place for each event");
        assert_in_order(&placements);
        expect_at(&mut expected, &placements, &payloads);
    }
    assert_eq!(read_all(&*log, &topic).await, expected);
}

/// Two hundred appends at once are each acknowledged, and each event is in the log exactly once.
///
/// # Panics
/// When the promise is broken.
pub async fn concurrent_appends_are_each_in_the_log_once(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let mut appends = tokio::task::JoinSet::new();
    for append in 0..200 {
        let (log, topic) = (Arc::clone(&log), topic.clone());
        appends.spawn(async move {
            let payloads: Vec<Bytes> = (0..7).map(|event| event_bytes(append, event)).collect();
            (appended(log.append(&topic, payloads.clone()).await), payloads)
        });
    }
    let mut expected = BTreeMap::new();
    while let Some(append) = appends.join_next().await {
        let (placements, payloads) = append.expect("an append does not panic");
        assert_in_order(&placements);
        expect_at(&mut expected, &placements, &payloads);
    }
    assert_eq!(read_all(&*log, &topic).await, expected);
}

/// An event of no bytes is an event; an append of no events is none.
///
/// # Panics
/// When the promise is broken.
pub async fn an_empty_payload_is_an_event(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    assert_eq!(appended(log.append(&topic, Vec::new()).await), []);
    let payloads = vec![Bytes::new(), Bytes::from_static(b"{}"), Bytes::new()];
    let placements = appended(log.append(&topic, payloads.clone()).await);
    let mut expected = BTreeMap::new();
    expect_at(&mut expected, &placements, &payloads);
    assert_eq!(read_all(&*log, &topic).await, expected);
}

/// An event of 10 MB comes back whole, between small ones.
///
/// # Panics
/// When the promise is broken.
pub async fn an_event_of_ten_megabytes_is_carried(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let large: Vec<u8> = (0..10_000_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[2]).collect();
    let payloads = vec![event_bytes(0, 0), Bytes::from(large), event_bytes(0, 2)];
    let placements = appended(log.append(&topic, payloads.clone()).await);
    let mut expected = BTreeMap::new();
    expect_at(&mut expected, &placements, &payloads);
    assert_eq!(read_all(&*log, &topic).await, expected);
    let mut consumer = started(&*log, &topic, &zero_positions());
    assert_eq!(consume(&mut *consumer, expected.len()), expected);
}

/// Two topics know nothing of each other.
///
/// # Panics
/// When the promise is broken.
pub async fn topics_are_apart(subject: &dyn Subject) {
    let log = subject.log();
    let (one, other) = (subject.new_topic().await, subject.new_topic().await);
    let mut expected = BTreeMap::new();
    let payloads = vec![event_bytes(1, 1)];
    let placements = appended(log.append(&one, payloads.clone()).await);
    expect_at(&mut expected, &placements, &payloads);
    assert_eq!(read_all(&*log, &one).await, expected);
    assert_eq!(read_all(&*log, &other).await, BTreeMap::new());
    let (one, other) = (described(&*log, &one).await, described(&*log, &other).await);
    assert_ne!(one.0, other.0, "two topics have two identities");
}

/// `describe` names every partition, and its end moves with each append.
///
/// # Panics
/// When the promise is broken.
pub async fn the_description_follows_the_appends(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let (id, empty) = described(&*log, &topic).await;
    let nothing = OffsetRange::new(Offset::ZERO, Offset::ZERO);
    assert_eq!(empty, (0..PARTITION_COUNT).map(|p| (PartitionId(p), nothing)).collect::<BTreeMap<_, _>>());
    let mut appended_count = 0;
    for append in 0..20 {
        let placements =
            appended(log.append(&topic, vec![event_bytes(append, 0), event_bytes(append, 1)]).await);
        appended_count += placements.len() as u64;
        let (same_id, partitions) = described(&*log, &topic).await;
        assert_eq!(same_id, id, "a topic keeps its identity");
        let last = placements.last().expect("two events were appended");
        assert_eq!(partitions[&last.partition].end(), last.offset.next());
        assert_eq!(partitions.values().map(|range| range.offset_count()).sum::<u64>(), appended_count);
    }
}

/// Whatever was acknowledged before a read is in it, from the asked positions on, also in small bites.
///
/// # Panics
/// When the promise is broken.
pub async fn a_read_sees_every_acknowledged_event(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let mut expected = BTreeMap::new();
    let mut positions = zero_positions();
    for append in 0..50 {
        let payloads: Vec<Bytes> = (0..3).map(|event| event_bytes(append, event)).collect();
        let placements = appended(log.append(&topic, payloads.clone()).await);
        expect_at(&mut expected, &placements, &payloads);
        let ahead = answered(log.read(&topic, &positions, EVERYTHING).await);
        assert!(!ahead.cut, "nothing was there to cut");
        let news: BTreeMap<_, _> =
            ahead.partitions.iter().flat_map(|(p, (_, records))| contents(*p, records)).collect();
        let mut acknowledged = BTreeMap::new();
        expect_at(&mut acknowledged, &placements, &payloads);
        assert_eq!(news, acknowledged, "exactly the new events, right after the acknowledgement");
        for (partition, (range, _)) in &ahead.partitions {
            positions.set(*partition, range.end());
        }
    }
    assert_eq!(read_in_bites(&*log, &topic).await, expected);
}

/// A read that is cut says so, and going on from where it ended brings the rest.
async fn read_in_bites(log: &dyn EventLog, topic: &str) -> BTreeMap<Place, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut positions = zero_positions();
    loop {
        let ahead = answered(log.read(topic, &positions, 200).await);
        let mut moved = false;
        for (partition, (range, records)) in &ahead.partitions {
            assert_eq!(positions.get(*partition), Some(range.start()), "it goes on where it ended");
            moved |= !range.is_empty();
            positions.set(*partition, range.end());
            found.extend(contents(*partition, records));
        }
        if !ahead.cut {
            return found;
        }
        assert!(moved, "a cut read brings something");
    }
}

/// A read names only the partitions it was asked for.
///
/// # Panics
/// When the promise is broken.
pub async fn a_read_keeps_to_its_partitions(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let mut expected = BTreeMap::new();
    for append in 0..40 {
        let payloads = vec![event_bytes(append, 0)];
        expect_at(&mut expected, &appended(log.append(&topic, payloads.clone()).await), &payloads);
    }
    let asked = PartitionId(2);
    let ahead = answered(log.read(&topic, &Positions::from_iter([(asked, Offset::ZERO)]), EVERYTHING).await);
    assert_eq!(ahead.partitions.keys().copied().collect::<Vec<_>>(), [asked]);
    expected.retain(|(partition, _), _| *partition == asked);
    let found: BTreeMap<_, _> = contents(asked, &ahead.partitions[&asked].1).collect();
    assert_eq!(found, expected);
}

/// What is not there is said to be missing, at once, and nothing is made by asking.
///
/// # Panics
/// When the promise is broken.
pub async fn an_unknown_topic_is_missing(subject: &dyn Subject) {
    let log = subject.log();
    let unknown = format!("{}-unknown", subject.new_topic().await);
    let is_missing = |error: LogError| match error {
        LogError::TopicMissing { topic, .. } => assert_eq!(topic, unknown),
        other => panic!("expected a missing topic, got {other}"),
    };
    for _ in 0..2 {
        is_missing(refused(log.describe(&unknown).await));
        is_missing(refused(log.append(&unknown, vec![event_bytes(0, 0)]).await));
        is_missing(refused(log.append(&unknown, Vec::new()).await));
        is_missing(refused(log.read(&unknown, &zero_positions(), EVERYTHING).await));
        is_missing(refused(log.consumer(&unknown, "group")));
    }
}

/// A restart keeps every acknowledged event, the topic's identity and where its offsets go on.
///
/// # Panics
/// When the promise is broken.
pub async fn a_reopened_log_has_everything(subject: &mut dyn Subject) {
    let topic = subject.new_topic().await;
    let mut expected = fill(&*subject.log(), &topic, 1_000).await;
    for _ in 0..3 {
        let before = described(&*subject.log(), &topic).await;
        subject.reopen().await;
        let log = subject.log();
        assert_eq!(described(&*log, &topic).await, before);
        assert_eq!(read_all(&*log, &topic).await, expected);
        expected.extend(fill(&*log, &topic, 100).await);
    }
    assert_eq!(read_all(&*subject.log(), &topic).await, expected);
}
