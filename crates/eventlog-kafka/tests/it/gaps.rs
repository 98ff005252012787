use bytes::Bytes;
use event::{Offset, PartitionId, Positions};
use eventlog::{EventLog, LogError, Polled};
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::admin::AdminOptions;
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer};

use crate::cluster::{
    POLL_WAIT, admin, brokers, connect, fetch, fetch_to, new_topic, started, until, zero_positions,
};

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

fn transactional(brokers: &str, id: &str) -> BaseProducer {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("transactional.id", id).create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer
}

fn transaction(producer: &BaseProducer, topic: &str, values: &[&str], commit: bool) {
    producer.begin_transaction().unwrap();
    for value in values {
        let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).partition(0).payload(value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(TIMEOUT).unwrap();
    if commit {
        producer.commit_transaction(TIMEOUT).unwrap();
    } else {
        producer.abort_transaction(TIMEOUT).unwrap();
    }
}

/// Offsets: 0 1 records, 2 marker, 3 4 aborted, 5 marker, 6 record, 7 marker, 8 aborted, 9 marker.
#[tokio::test(flavor = "multi_thread")]
async fn transaction_markers_and_aborted_records_are_covered_also_at_the_end() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let log = connect(&brokers);
    let producer = transactional(&brokers, &topic);
    transaction(&producer, &topic, &["a", "b"], true);
    transaction(&producer, &topic, &["x", "y"], false);
    transaction(&producer, &topic, &["c"], true);
    transaction(&producer, &topic, &["z"], false);

    // The last marker is written a moment after the producer is told of the abort.
    let mut end = Offset::ZERO;
    while end < Offset(10) {
        end = log.describe(&topic).await.unwrap().partitions[&PartitionId(0)].end();
    }
    assert_eq!(end, Offset(10));
    let values = [(0, "a"), (1, "b"), (6, "c")].map(|(offset, value)| (offset, value.to_owned())).into();
    let mut consumer = started(&log, &topic, 1);
    assert_eq!(fetch_to(&mut *consumer, 0, 10), values);

    // A restart from inside such a stretch ends at the same place, with nothing doubled.
    for from in [2, 3, 5, 7, 8, 9] {
        consumer.start(&Positions::from_iter([(PartitionId(0), Offset(from))])).unwrap();
        let found = fetch_to(&mut *consumer, from, 10);
        assert_eq!(
            found.into_keys().collect::<Vec<_>>(),
            values.keys().copied().filter(|o| *o >= from).collect::<Vec<_>>()
        );
    }

    let ahead = log.read(&topic, &zero_positions(1), usize::MAX).await.unwrap();
    let (range, records) = &ahead.partitions[&PartitionId(0)];
    assert_eq!((range.start(), range.end(), ahead.cut), (Offset(0), Offset(10), false));
    assert_eq!(records.iter().map(|record| record.offset.0).collect::<Vec<_>>(), [0, 1, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_the_end_until_it_is_decided() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let log = connect(&brokers);
    log.append(&topic, vec![Bytes::from_static(b"a")]).await.unwrap();
    let producer = transactional(&brokers, &topic);
    producer.begin_transaction().unwrap();
    let record: BaseRecord<'_, (), str> = BaseRecord::to(&topic).partition(0).payload("b");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(TIMEOUT).unwrap();

    let end = log.describe(&topic).await.unwrap().partitions[&PartitionId(0)].end();
    assert_eq!(end, Offset(1), "what is not decided is not there yet");
    let ahead = log.read(&topic, &zero_positions(1), usize::MAX).await.unwrap();
    assert_eq!(ahead.partitions[&PartitionId(0)].0.end(), Offset(1));
    let mut consumer = started(&log, &topic, 1);
    assert_eq!(fetch_to(&mut *consumer, 0, 1).len(), 1);

    producer.commit_transaction(TIMEOUT).unwrap();
    assert_eq!(fetch_to(&mut *consumer, 1, 3), [(1, "b".to_owned())].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_are_an_error_for_a_consumer_and_shown_to_a_read() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let log = connect(&brokers);
    for event in 0..10 {
        log.append(&topic, vec![Bytes::from(format!("{event}"))]).await.unwrap();
    }
    let mut below = TopicPartitionList::new();
    below.add_partition_offset(&topic, 0, rdkafka::Offset::Offset(6)).unwrap();
    admin(&brokers).delete_records(&below, &AdminOptions::new()).await.unwrap();

    let held = log.describe(&topic).await.unwrap().partitions[&PartitionId(0)];
    assert_eq!((held.start(), held.end()), (Offset(6), Offset(10)));
    let ahead = log.read(&topic, &zero_positions(1), usize::MAX).await.unwrap();
    assert_eq!(ahead.partitions[&PartitionId(0)].0, held);

    let mut consumer = started(&log, &topic, 1);
    let error = until("an error", || consumer.poll(POLL_WAIT).err());
    match error {
        LogError::OffsetOutOfRange { wanted, first, next, .. } => {
            assert_eq!((wanted, first, next), (Offset(0), Offset(6), Offset(10)));
        }
        other => panic!("expected an error about the position, got {other}"),
    }
    // A person decides to go on from what is there.
    consumer.start(&Positions::from_iter([(PartitionId(0), Offset(6))])).unwrap();
    assert_eq!(fetch_to(&mut *consumer, 6, 10).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn compacted_offsets_are_covered() {
    let Some(brokers) = brokers() else { return };
    let compacted = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("segment.ms", "100"),
        ("max.compaction.lag.ms", "100"),
    ];
    let topic = new_topic(&brokers, 1, &compacted).await;
    let log = connect(&brokers);
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    let mut end = 0;
    // Every record replaces the one before, so compaction leaves holes; it runs when it wants to.
    let values = loop {
        let value = format!("{end}");
        let record = FutureRecord::to(&topic).partition(0).key("key").payload(&value);
        producer.send(record, None).await.map_err(|(error, _)| error).unwrap();
        end += 1;
        let ahead = log.read(&topic, &zero_positions(1), usize::MAX).await.unwrap();
        let (range, records) = &ahead.partitions[&PartitionId(0)];
        assert_eq!((range.start(), range.end()), (Offset(0), Offset(end)), "the holes are covered");
        if (records.len() as u64) < end {
            break records.iter().map(|record| record.offset.0).collect::<Vec<_>>();
        }
        assert!(end < 200_000, "the log was never compacted");
    };
    assert_eq!(values.last(), Some(&(end - 1)));
    let mut consumer = started(&log, &topic, 1);
    let found = fetch_to(&mut *consumer, 0, end);
    assert!((found.len() as u64) < end, "there are holes");
    assert_eq!(found.last_key_value().map(|(offset, _)| *offset), Some(end - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_under_its_name_is_another_log() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let log = connect(&brokers);
    let before = log.describe(&topic).await.unwrap().id;
    assert!(before.as_str().starts_with("kafka:"), "{before}");
    let admin = admin(&brokers);
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    until("the topic to go", || is_gone(&log, &topic));
    let again = rdkafka::admin::NewTopic::new(&topic, 1, rdkafka::admin::TopicReplication::Fixed(1));
    admin.create_topics([&again], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let after = loop {
        if let Ok(description) = log.describe(&topic).await {
            break description.id;
        }
    };
    assert_ne!(before, after);
}

/// Whether the topic is missing by now.
fn is_gone(log: &eventlog_kafka::KafkaLog, topic: &str) -> Option<()> {
    match log.consumer(topic, "nobody") {
        Err(LogError::TopicMissing { .. }) => Some(()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_later_are_assigned_and_read_from_their_first_record() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let soon = [("topic.metadata.refresh.interval.ms".to_owned(), "500".to_owned())].into();
    let options = eventlog_kafka::KafkaOptions {
        properties: soon,
        ..eventlog_kafka::KafkaOptions::new(brokers.clone())
    };
    let log = eventlog_kafka::KafkaLog::connect(options, event::Clock::system()).unwrap();
    let mut consumer = started(&log, &topic, 1);
    let more = rdkafka::admin::NewPartitions::new(&topic, 2);
    admin(&brokers).create_partitions([&more], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    let record = FutureRecord::<str, str>::to(&topic).partition(1).payload("first");
    producer.send(record, None).await.map_err(|(error, _)| error).unwrap();
    // In a cooperative rebalance only the new partition changes hands.
    let assigned = until("the new partition", || match consumer.poll(POLL_WAIT).unwrap() {
        Polled::Assigned(partitions) => Some(partitions),
        _ => None,
    });
    assert_eq!(assigned, [PartitionId(1)]);
    consumer.start(&Positions::from_iter([(PartitionId(1), Offset::ZERO)])).unwrap();
    let fetched = fetch(&mut *consumer);
    assert_eq!((fetched.partition, fetched.records.len()), (PartitionId(1), 1));
    log.append(&topic, vec![Bytes::from_static(b"old")]).await.unwrap();
    assert_eq!(fetch(&mut *consumer).records.len(), 1, "the old one goes on");
}
