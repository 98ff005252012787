use std::collections::BTreeMap;

use bytes::Bytes;
use event::{LeaderEpoch, Offset, PartitionId, Positions};
use eventlog::{Consumer, EventLog, LogError, Polled};
use eventlog_kafka::KafkaLog;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};

use crate::cluster::{POLL_WAIT, admin, brokers, connect, fetch, fetch_to, new_topic, started, until};

const P0: PartitionId = PartitionId(0);

fn at(next: u64, epoch: u32) -> Positions {
    let mut positions = Positions::new();
    positions.set_under(P0, Offset(next), Some(LeaderEpoch(epoch)));
    positions
}

async fn fill(log: &KafkaLog, topic: &str, count: u64) -> BTreeMap<u64, String> {
    let mut values = BTreeMap::new();
    for _ in 0..count {
        let value = format!("value {}", values.len());
        let placed = log.append(topic, vec![Bytes::from(value.clone())]).await.unwrap();
        values.insert(placed[0].offset.0, value);
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_says_under_which_leader_its_last_record_was_written() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let log = connect(&brokers);
    fill(&log, &topic, 3).await;
    let mut consumer = started(&log, &topic, 1);
    // The first leader of a topic is number zero.
    assert_eq!(fetch(&mut *consumer).range.epoch(), Some(LeaderEpoch(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_with_its_epoch_is_compared_and_goes_on() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let log = connect(&brokers);
    let mut values = fill(&log, &topic, 10).await;
    let mut consumer = started(&log, &topic, 1);
    assert_eq!(fetch_to(&mut *consumer, 0, 10), values);
    // While it runs, and after a restart; in the middle, at the end, at the beginning.
    for from in [4, 10, 0, 9] {
        consumer.start(&at(from, 0)).unwrap();
        values.extend([(values.len() as u64, "later".to_owned())]);
        log.append(&topic, vec![Bytes::from_static(b"later")]).await.unwrap();
        let expected: BTreeMap<_, _> = values.clone().split_off(&from);
        assert_eq!(fetch_to(&mut *consumer, from, values.len() as u64), expected);
    }
    drop(consumer);
    let mut consumer = assigned(&log, &topic);
    consumer.start(&at(7, 0)).unwrap();
    assert_eq!(fetch_to(&mut *consumer, 7, values.len() as u64), values.split_off(&7));
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_an_epoch_the_leader_does_not_know_is_a_log_that_was_exchanged() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let log = connect(&brokers);
    fill(&log, &topic, 10).await;
    let mut consumer = assigned(&log, &topic);
    consumer.start(&at(7, 5)).unwrap();
    match first_error(&mut *consumer) {
        LogError::Truncated { partition, wanted, reason, .. } => {
            assert_eq!((partition, wanted), (P0, Offset(7)));
            assert!(reason.contains("leader epoch 5"), "{reason}");
        }
        other => panic!("expected an error about the history of the log, got {other}"),
    }
    // A position without an epoch, as tables of earlier versions have them, is taken as it is.
    consumer.start(&Positions::from_iter([(P0, Offset(7))])).unwrap();
    assert_eq!(fetch_to(&mut *consumer, 7, 10).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_a_topic_made_anew_ends_the_waiting_for_it() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let log = connect(&brokers);
    fill(&log, &topic, 3).await;
    let before = log.identity(&topic).await.unwrap();
    let mut consumer = started(&log, &topic, 1);
    fetch_to(&mut *consumer, 0, 3);
    let admin = admin(&brokers);
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    // Nobody polls meanwhile, so nobody sees that it is gone.
    until("the topic to go", || match log.consumer(&topic, "nobody") {
        Err(LogError::TopicMissing { .. }) => Some(()),
        _ => None,
    });
    let again = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    admin.create_topics([&again], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let lasting = |error: &LogError| !error.kind().is_retryable();
    let error = until("an error", || consumer.poll(POLL_WAIT).err().filter(lasting));
    match error {
        LogError::TopicRecreated { expected, found, .. } => {
            assert!(expected == before && found != before, "{expected} became {found}");
        }
        // What librdkafka noticed first; the identity is looked at before the next commit.
        LogError::TopicMissing { .. } | LogError::OffsetOutOfRange { .. } => {}
        other => panic!("expected an error about the topic, got {other}"),
    }
    assert_ne!(log.identity(&topic).await.unwrap(), before);
}

fn assigned(log: &KafkaLog, topic: &str) -> Box<dyn Consumer> {
    let mut consumer = log.consumer(topic, &format!("group-of-{topic}")).unwrap();
    until("an assignment", || match consumer.poll(POLL_WAIT).unwrap() {
        Polled::Assigned(_) => Some(()),
        _ => None,
    });
    consumer
}

fn first_error(consumer: &mut dyn Consumer) -> LogError {
    until("an error", || match consumer.poll(POLL_WAIT) {
        Ok(Polled::Fetched(fetched)) => panic!("nothing must be delivered, but {} was", fetched.range),
        polled => polled.err(),
    })
}
