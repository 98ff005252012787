//! What the promises are proven with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use event::{Clock, Offset, OffsetRange, PartitionId, Positions, Records};

use super::PARTITION_COUNT;
use crate::{Consumer, EventLog, Fetched, LogError, Placement, Polled};

/// How long the suite waits for what must come. Only a broken promise takes that long.
const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const POLL_WAIT: Duration = Duration::from_millis(50);
pub(super) const EVERYTHING: usize = usize::MAX;

pub(super) type Place = (PartitionId, Offset);

/// An event whose contents say which it is; of changing length.
pub(super) fn event_bytes(append: u32, event: u32) -> Bytes {
    let padding = "x".repeat((append * 31 + event * 7) as usize % 200);
    Bytes::from(format!(r#"{{"append":{append},"event":{event},"padding":"{padding}"}}"#))
}

pub(super) fn clone_entry((place, payload): (&Place, &Option<Vec<u8>>)) -> (Place, Option<Vec<u8>>) {
    (*place, payload.clone())
}

pub(super) fn group_of(topic: &str) -> String {
    format!("group-of-{topic}")
}

pub(super) fn zero_positions() -> Positions {
    (0..PARTITION_COUNT).map(|partition| (PartitionId(partition), Offset::ZERO)).collect()
}

pub(super) fn appended(outcome: Result<Vec<Placement>, LogError>) -> Vec<Placement> {
    outcome.unwrap_or_else(|error| panic!("the append failed: {error}"))
}

pub(super) fn answered<T>(outcome: Result<T, LogError>) -> T {
    outcome.unwrap_or_else(|error| panic!("the log answered: {error}"))
}

pub(super) fn refused<T>(outcome: Result<T, LogError>) -> LogError {
    outcome.err().unwrap_or_else(|| panic!("the log answered where it must refuse"))
}

/// Events of one append lie in one partition, or at least in order within each.
pub(super) fn assert_in_order(placements: &[Placement]) {
    let mut last: BTreeMap<PartitionId, Offset> = BTreeMap::new();
    for placement in placements {
        if let Some(before) = last.insert(placement.partition, placement.offset) {
            assert!(before < placement.offset, "{placement:?} lies before the event sent before it");
        }
    }
}

pub(super) fn expect_at(
    expected: &mut BTreeMap<Place, Option<Vec<u8>>>,
    placements: &[Placement],
    payloads: &[Bytes],
) {
    assert_eq!(placements.len(), payloads.len(), "one place for each event");
    for (placement, payload) in placements.iter().zip(payloads) {
        let place = (placement.partition, placement.offset);
        let doubled = expected.insert(place, Some(payload.to_vec()));
        assert_eq!(doubled, None, "two events were given the place {place:?}");
    }
}

/// Appends `count` events of changing length, in appends of up to 50.
pub(super) async fn fill(log: &dyn EventLog, topic: &str, count: u32) -> BTreeMap<Place, Option<Vec<u8>>> {
    let mut expected = BTreeMap::new();
    for first in (0..count).step_by(50) {
        let payloads: Vec<Bytes> =
            (first..count.min(first + 50)).map(|event| event_bytes(first, event)).collect();
        expect_at(&mut expected, &appended(log.append(topic, payloads.clone()).await), &payloads);
    }
    expected
}

pub(super) fn contents(
    partition: PartitionId,
    records: &Records,
) -> impl Iterator<Item = (Place, Option<Vec<u8>>)> {
    let now = Clock::system().now();
    records.iter().map(move |record| {
        assert!(
            record.received_at.0 > 0 && record.received_at <= now,
            "received at {:?}",
            record.received_at
        );
        ((partition, record.offset), record.payload.map(<[u8]>::to_vec))
    })
}

pub(super) async fn described(
    log: &dyn EventLog,
    topic: &str,
) -> (event::LogId, BTreeMap<PartitionId, OffsetRange>) {
    let description = answered(log.describe(topic).await);
    (description.id, description.partitions)
}

pub(super) async fn read_all(log: &dyn EventLog, topic: &str) -> BTreeMap<Place, Option<Vec<u8>>> {
    let ahead = answered(log.read(topic, &zero_positions(), EVERYTHING).await);
    assert!(!ahead.cut, "nothing limits this read");
    let all = ahead.partitions.iter();
    all.flat_map(|(partition, (_, records))| contents(*partition, records).collect::<Vec<_>>()).collect()
}

pub(super) fn started(log: &dyn EventLog, topic: &str, positions: &Positions) -> Box<dyn Consumer> {
    let mut consumer = answered(log.consumer(topic, &group_of(topic)));
    let assigned: BTreeSet<PartitionId> = assignment(&mut *consumer).into_iter().collect();
    let all: BTreeSet<PartitionId> = (0..PARTITION_COUNT).map(PartitionId).collect();
    assert_eq!(assigned, all, "the only member of a group owns every partition");
    answered(consumer.start(positions));
    consumer
}

pub(super) fn assignment(consumer: &mut dyn Consumer) -> Vec<PartitionId> {
    let assigned = || match answered(consumer.poll(POLL_WAIT)) {
        Polled::Assigned(partitions) => Some(partitions),
        Polled::Nothing => None,
        other => panic!("expected an assignment, got {other:?}"),
    };
    until(assigned, "an assignment")
}

pub(super) fn fetch(consumer: &mut dyn Consumer) -> Fetched {
    let fetched = || match answered(consumer.poll(POLL_WAIT)) {
        Polled::Fetched(fetched) => Some(fetched),
        Polled::Nothing => None,
        other => panic!("expected records, got {other:?}"),
    };
    until(fetched, "records")
}

/// Repeats `attempt`, which waits by itself, until it brings something.
pub(super) fn until<T>(mut attempt: impl FnMut() -> Option<T>, what: &str) -> T {
    let clock = Clock::system();
    let deadline = clock.monotonic() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(clock.monotonic() < deadline, "{what} did not come within {PATIENCE:?}");
    }
}

/// Fetches `count` records, and checks that ranges follow each other.
pub(super) fn consume(consumer: &mut dyn Consumer, count: usize) -> BTreeMap<Place, Option<Vec<u8>>> {
    let mut ranges = Ranges::default();
    let mut found = BTreeMap::new();
    while found.len() < count {
        ranges.take(&fetch(consumer), &mut found);
    }
    found
}

/// Where the fetches of one start have come to.
#[derive(Default)]
pub(super) struct Ranges(BTreeMap<PartitionId, Offset>);

impl Ranges {
    pub(super) fn take(&mut self, fetched: &Fetched, found: &mut BTreeMap<Place, Option<Vec<u8>>>) {
        let Fetched { partition, range, records } = fetched;
        if let Some(next) = self.0.insert(*partition, range.end()) {
            assert_eq!(range.start(), next, "partition {partition}: ranges follow each other");
        }
        for (place, payload) in contents(*partition, records) {
            assert!(range.contains(place.1), "{place:?} lies in {range}");
            let doubled = found.insert(place, payload);
            assert_eq!(doubled, None, "{place:?} was delivered twice");
        }
    }
}
