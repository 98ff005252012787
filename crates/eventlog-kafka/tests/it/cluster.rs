use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event::{Clock, Offset, PartitionId, Positions};
use eventlog::{Consumer, EventLog, Fetched, Polled};
use eventlog_kafka::{KafkaLog, KafkaOptions};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

pub const POLL_WAIT: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(90);

/// Connects as Laker would. `RUST_LOG` and `LAKER_TEST_KAFKA_DEBUG` (librdkafka's `debug` property)
/// show what happens on the way.
pub fn connect(brokers: &str) -> Arc<KafkaLog> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let mut options = KafkaOptions::new(brokers);
    if let Ok(facilities) = std::env::var("LAKER_TEST_KAFKA_DEBUG") {
        options.properties.insert("debug".to_owned(), facilities);
    }
    Arc::new(KafkaLog::connect(options, Clock::system()).unwrap())
}

/// The servers to test on; without them a test has nothing to say, except in CI.
pub fn brokers() -> Option<String> {
    match std::env::var("LAKER_TEST_KAFKA") {
        Ok(brokers) => Some(brokers),
        Err(_) if std::env::var_os("CI").is_some() => panic!("LAKER_TEST_KAFKA must be set in CI"),
        Err(_) => {
            eprintln!("skipped: LAKER_TEST_KAFKA is not set");
            None
        }
    }
}

pub fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

/// Makes a topic nobody else uses.
pub async fn new_topic(brokers: &str, partition_count: i32, settings: &[(&str, &str)]) -> String {
    let name = format!("laker-test-{}", Clock::system().new_id());
    let mut topic = NewTopic::new(&name, partition_count, TopicReplication::Fixed(1));
    topic = topic.set("max.message.bytes", "17825792");
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let made = admin(brokers).create_topics([&topic], &AdminOptions::new()).await.unwrap();
    made.into_iter().for_each(|outcome| drop(outcome.unwrap()));
    // A broker knows a new topic a moment after its controller does.
    let log = connect(brokers);
    let clock = Clock::system();
    let deadline = clock.monotonic() + PATIENCE;
    while log.describe(&name).await.is_err() {
        assert!(clock.monotonic() < deadline, "topic {name} did not appear");
    }
    name
}

pub fn zero_positions(partition_count: u32) -> Positions {
    (0..partition_count).map(|partition| (PartitionId(partition), Offset::ZERO)).collect()
}

/// Repeats `attempt`, which waits by itself, until it brings something.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::system();
    let deadline = clock.monotonic() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(clock.monotonic() < deadline, "{what} did not come within {PATIENCE:?}");
    }
}

/// A consumer that owns everything and has begun at zero.
pub fn started(log: &KafkaLog, topic: &str, partition_count: u32) -> Box<dyn Consumer> {
    let mut consumer = log.consumer(topic, &format!("group-of-{topic}")).unwrap();
    let assigned = until("an assignment", || match consumer.poll(POLL_WAIT).unwrap() {
        Polled::Assigned(partitions) => Some(partitions),
        _ => None,
    });
    assert_eq!(assigned.len(), partition_count as usize);
    consumer.start(&zero_positions(partition_count)).unwrap();
    consumer
}

pub fn fetch(consumer: &mut dyn Consumer) -> Fetched {
    until("records", || match consumer.poll(POLL_WAIT).unwrap() {
        Polled::Fetched(fetched) => Some(fetched),
        _ => None,
    })
}

/// Fetches from `from` until partition 0 has come to `end`; the values by offset.
pub fn fetch_to(consumer: &mut dyn Consumer, from: u64, end: u64) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    let mut next = Offset(from);
    while next < Offset(end) {
        let fetched = fetch(consumer);
        assert_eq!(fetched.range.start(), next, "ranges follow each other");
        next = fetched.range.end();
        for record in fetched.records.iter() {
            assert!(fetched.range.contains(record.offset));
            let value = String::from_utf8_lossy(record.payload.unwrap_or(b"tombstone")).into_owned();
            assert_eq!(found.insert(record.offset.0, value), None);
        }
    }
    assert_eq!(next, Offset(end), "it ends where the log does");
    found
}
