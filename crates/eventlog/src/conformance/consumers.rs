//! What a member of a group is given.

use std::collections::BTreeMap;

use bytes::Bytes;
use event::{Offset, PartitionId, Positions};

use super::steps::*;
use super::{PARTITION_COUNT, Subject};
use crate::{Consumer, LogError, Polled};

/// A consumer gets every event once, in order, in ranges that follow each other without a hole.
///
/// # Panics
/// When the promise is broken.
pub async fn a_consumer_gets_everything_in_contiguous_ranges(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let mut consumer = started(&*log, &topic, &zero_positions());
    let (mut expected, mut found, mut ranges) = (BTreeMap::new(), BTreeMap::new(), Ranges::default());
    for round in 0..5 {
        for append in 0..20 {
            let payloads: Vec<Bytes> =
                (0..50).map(|event| event_bytes(round * 100 + append, event)).collect();
            expect_at(&mut expected, &appended(log.append(&topic, payloads.clone()).await), &payloads);
        }
        while found.len() < expected.len() {
            ranges.take(&fetch(&mut *consumer), &mut found);
        }
        assert_eq!(found, expected);
    }
}

/// After a rewind the same records come again from there, and nothing fetched before is mixed in.
///
/// # Panics
/// When the promise is broken.
pub async fn a_rewind_delivers_again_from_there(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let expected = fill(&*log, &topic, 4_000).await;
    let mut consumer = started(&*log, &topic, &zero_positions());
    // Some of it is delivered, more lies fetched inside the client.
    let first = fetch(&mut *consumer);
    let rewound = first.partition;
    for target in [0, 3, 0] {
        let from = Offset(target);
        answered(consumer.start(&Positions::from_iter([(rewound, from)])));
        let mut next = from;
        let wanted: BTreeMap<_, _> =
            expected.iter().filter(|((p, o), _)| *p == rewound && *o >= from).map(clone_entry).collect();
        let mut found = BTreeMap::new();
        while found.len() < wanted.len() {
            let fetched = fetch(&mut *consumer);
            if fetched.partition == rewound {
                assert_eq!(fetched.range.start(), next, "it goes on from the rewind, without a hole");
                next = fetched.range.end();
                found.extend(contents(rewound, &fetched.records));
            }
        }
        assert_eq!(found, wanted);
    }
}

/// A paused consumer delivers nothing, and goes on where it was.
///
/// # Panics
/// When the promise is broken.
pub async fn a_pause_holds_everything_back(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let mut expected = fill(&*log, &topic, 2_000).await;
    let mut consumer = started(&*log, &topic, &zero_positions());
    let mut ranges = Ranges::default();
    let mut found = BTreeMap::new();
    ranges.take(&fetch(&mut *consumer), &mut found);
    answered(consumer.pause());
    expected.extend(fill(&*log, &topic, 500).await);
    for _ in 0..10 {
        let polled = answered(consumer.poll(POLL_WAIT));
        assert!(matches!(polled, Polled::Nothing), "paused, but got {polled:?}");
    }
    answered(consumer.resume());
    while found.len() < expected.len() {
        ranges.take(&fetch(&mut *consumer), &mut found);
    }
    assert_eq!(found, expected);
}

/// Nothing of a partition comes before its start position was given.
///
/// # Panics
/// When the promise is broken.
pub async fn nothing_is_delivered_before_its_start(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let expected = fill(&*log, &topic, 400).await;
    let mut consumer = answered(log.consumer(&topic, &group_of(&topic)));
    assert_eq!(assignment(&mut *consumer).len(), PARTITION_COUNT as usize);
    for _ in 0..5 {
        let polled = answered(consumer.poll(POLL_WAIT));
        assert!(matches!(polled, Polled::Nothing), "not started, but got {polled:?}");
    }
    answered(consumer.start(&zero_positions()));
    assert_eq!(consume(&mut *consumer, expected.len()), expected);
}

/// A start in the middle delivers what lies behind it and nothing before.
///
/// # Panics
/// When the promise is broken.
pub async fn a_start_position_is_exact(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let mut expected = fill(&*log, &topic, 1_000).await;
    let (_, partitions) = described(&*log, &topic).await;
    let middle: Positions = partitions.iter().map(|(p, range)| (*p, Offset(range.end().0 / 2 + 1))).collect();
    expected.retain(|(partition, offset), _| middle.get(*partition).is_some_and(|from| *offset >= from));
    let mut consumer = started(&*log, &topic, &middle);
    assert_eq!(consume(&mut *consumer, expected.len()), expected);
}

/// A start at the very end waits for what comes; one beyond it is an error that names the place.
///
/// # Panics
/// When the promise is broken.
pub async fn a_position_beyond_the_end_is_an_error(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    let expected = fill(&*log, &topic, 100).await;
    let (_, partitions) = described(&*log, &topic).await;
    let ends: Positions = partitions.iter().map(|(p, range)| (*p, range.end())).collect();
    let mut consumer = started(&*log, &topic, &ends);
    let news = fill(&*log, &topic, 10).await;
    let later: BTreeMap<_, _> = news.into_iter().filter(|(place, _)| !expected.contains_key(place)).collect();
    assert_eq!(consume(&mut *consumer, later.len()), later);
    drop(consumer);

    let beyond = Offset(partitions[&PartitionId(1)].end().0 + 1_000);
    let mut positions = ends;
    positions.set(PartitionId(1), beyond);
    let mut consumer = answered(log.consumer(&topic, &format!("{}-beyond", group_of(&topic))));
    assignment(&mut *consumer);
    match first_error(&mut *consumer, &positions) {
        LogError::OffsetOutOfRange { partition, wanted, first, next, .. } => {
            assert_eq!((partition, wanted, first), (PartitionId(1), beyond, Offset::ZERO));
            assert!(next < beyond, "{next} is the end of the log");
        }
        other => panic!("expected an error about the position, got {other}"),
    }
}

fn first_error(consumer: &mut dyn Consumer, positions: &Positions) -> LogError {
    if let Err(error) = consumer.start(positions) {
        return error;
    }
    until(|| consumer.poll(POLL_WAIT).err(), "an error about the position")
}

/// A record without a value is delivered as such, where the log can have one.
///
/// # Panics
/// When the promise is broken.
pub async fn a_tombstone_is_no_empty_event(subject: &dyn Subject) {
    let (log, topic) = (subject.log(), subject.new_topic().await);
    if !subject.put_tombstone(&topic).await {
        return;
    }
    let place = (PartitionId(0), Offset::ZERO);
    let expected = BTreeMap::from([(place, None)]);
    assert_eq!(read_all(&*log, &topic).await, expected);
    let mut consumer = started(&*log, &topic, &zero_positions());
    assert_eq!(consume(&mut *consumer, 1), expected);
}
