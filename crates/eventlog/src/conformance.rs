//! The suite every implementation passes. Each function proves one promise of [`EventLog`] or
//! [`Consumer`], on topics of its own, and panics where the promise is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use event::{Clock, Offset, OffsetRange, PartitionId, Positions, Records};

use crate::{Consumer, EventLog, Fetched, LogError, Placement, Polled};

/// Partitions of every topic the suite asks for.
pub const PARTITION_COUNT: u32 = 4;
/// How long the suite waits for what must come. Only a broken promise takes that long.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_WAIT: Duration = Duration::from_millis(50);
const EVERYTHING: usize = usize::MAX;

/// A log under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The log.
    fn log(&self) -> Arc<dyn EventLog>;

    /// Makes a topic that nobody else uses, with [`PARTITION_COUNT`] partitions, and returns its name.
    async fn new_topic(&self) -> String;

    /// Closes the log, waits until it is closed, and opens it again: as after a restart.
    async fn reopen(&mut self);

    /// Puts a record without a value into partition 0 of `topic`. Whether this log can have such records.
    async fn put_tombstone(&self, topic: &str) -> bool;
}

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

type Place = (PartitionId, Offset);

/// An event whose contents say which it is; of changing length.
fn event_bytes(append: u32, event: u32) -> Bytes {
    let padding = "x".repeat((append * 31 + event * 7) as usize % 200);
    Bytes::from(format!(r#"{{"append":{append},"event":{event},"padding":"{padding}"}}"#))
}

fn clone_entry((place, payload): (&Place, &Option<Vec<u8>>)) -> (Place, Option<Vec<u8>>) {
    (*place, payload.clone())
}

fn group_of(topic: &str) -> String {
    format!("group-of-{topic}")
}

fn zero_positions() -> Positions {
    (0..PARTITION_COUNT).map(|partition| (PartitionId(partition), Offset::ZERO)).collect()
}

fn appended(outcome: Result<Vec<Placement>, LogError>) -> Vec<Placement> {
    outcome.unwrap_or_else(|error| panic!("the append failed: {error}"))
}

fn answered<T>(outcome: Result<T, LogError>) -> T {
    outcome.unwrap_or_else(|error| panic!("the log answered: {error}"))
}

fn refused<T>(outcome: Result<T, LogError>) -> LogError {
    outcome.err().unwrap_or_else(|| panic!("the log answered where it must refuse"))
}

/// Events of one append lie in one partition, or at least in order within each.
fn assert_in_order(placements: &[Placement]) {
    let mut last: BTreeMap<PartitionId, Offset> = BTreeMap::new();
    for placement in placements {
        if let Some(before) = last.insert(placement.partition, placement.offset) {
            assert!(before < placement.offset, "{placement:?} lies before the event sent before it");
        }
    }
}

fn expect_at(expected: &mut BTreeMap<Place, Option<Vec<u8>>>, placements: &[Placement], payloads: &[Bytes]) {
    assert_eq!(placements.len(), payloads.len(), "one place for each event");
    for (placement, payload) in placements.iter().zip(payloads) {
        let place = (placement.partition, placement.offset);
        let doubled = expected.insert(place, Some(payload.to_vec()));
        assert_eq!(doubled, None, "two events were given the place {place:?}");
    }
}

/// Appends `count` events of changing length, in appends of up to 50.
async fn fill(log: &dyn EventLog, topic: &str, count: u32) -> BTreeMap<Place, Option<Vec<u8>>> {
    let mut expected = BTreeMap::new();
    for first in (0..count).step_by(50) {
        let payloads: Vec<Bytes> =
            (first..count.min(first + 50)).map(|event| event_bytes(first, event)).collect();
        expect_at(&mut expected, &appended(log.append(topic, payloads.clone()).await), &payloads);
    }
    expected
}

fn contents(partition: PartitionId, records: &Records) -> impl Iterator<Item = (Place, Option<Vec<u8>>)> {
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

async fn described(log: &dyn EventLog, topic: &str) -> (event::LogId, BTreeMap<PartitionId, OffsetRange>) {
    let description = answered(log.describe(topic).await);
    (description.id, description.partitions)
}

async fn read_all(log: &dyn EventLog, topic: &str) -> BTreeMap<Place, Option<Vec<u8>>> {
    let ahead = answered(log.read(topic, &zero_positions(), EVERYTHING).await);
    assert!(!ahead.cut, "nothing limits this read");
    let all = ahead.partitions.iter();
    all.flat_map(|(partition, (_, records))| contents(*partition, records).collect::<Vec<_>>()).collect()
}

fn started(log: &dyn EventLog, topic: &str, positions: &Positions) -> Box<dyn Consumer> {
    let mut consumer = answered(log.consumer(topic, &group_of(topic)));
    let assigned: BTreeSet<PartitionId> = assignment(&mut *consumer).into_iter().collect();
    let all: BTreeSet<PartitionId> = (0..PARTITION_COUNT).map(PartitionId).collect();
    assert_eq!(assigned, all, "the only member of a group owns every partition");
    answered(consumer.start(positions));
    consumer
}

fn assignment(consumer: &mut dyn Consumer) -> Vec<PartitionId> {
    let assigned = || match answered(consumer.poll(POLL_WAIT)) {
        Polled::Assigned(partitions) => Some(partitions),
        Polled::Nothing => None,
        other => panic!("expected an assignment, got {other:?}"),
    };
    until(assigned, "an assignment")
}

fn fetch(consumer: &mut dyn Consumer) -> Fetched {
    let fetched = || match answered(consumer.poll(POLL_WAIT)) {
        Polled::Fetched(fetched) => Some(fetched),
        Polled::Nothing => None,
        other => panic!("expected records, got {other:?}"),
    };
    until(fetched, "records")
}

/// Repeats `attempt`, which waits by itself, until it brings something.
fn until<T>(mut attempt: impl FnMut() -> Option<T>, what: &str) -> T {
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
fn consume(consumer: &mut dyn Consumer, count: usize) -> BTreeMap<Place, Option<Vec<u8>>> {
    let mut ranges = Ranges::default();
    let mut found = BTreeMap::new();
    while found.len() < count {
        ranges.take(&fetch(consumer), &mut found);
    }
    found
}

/// Where the fetches of one start have come to.
#[derive(Default)]
struct Ranges(BTreeMap<PartitionId, Offset>);

impl Ranges {
    fn take(&mut self, fetched: &Fetched, found: &mut BTreeMap<Place, Option<Vec<u8>>>) {
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
