//! The spool's way into a real Kafka: events and position in one step, and one forwarder at a time.

use std::sync::Arc;

use bytes::Bytes;
use event::{Clock, Offset, PartitionId, Records, RecordsBuilder, TimestampMicros};
use eventlog::spool::{Primary, Route, SpoolOptions};
use eventlog::{EventLog, SpooledLog, Taken};
use eventlog_kafka::{KafkaLog, KafkaOptions};

use crate::cluster::{brokers, connect, new_topic, until, zero_positions};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

fn records(texts: &[&str]) -> Records {
    let mut records = RecordsBuilder::new();
    for (offset, text) in (0..).zip(texts) {
        records.push(Offset(offset), TimestampMicros(1_700_000_000_123_000), Some(text.as_bytes()));
    }
    records.finish()
}

/// What partition 0 holds once it holds that many: a transaction is committed a moment before its
/// marker, and with it its records, can be read.
async fn read(log: &KafkaLog, topic: &str, count: usize) -> Records {
    let reading = async {
        loop {
            let mut ahead = log.read(topic, &zero_positions(1), usize::MAX).await.unwrap();
            let (_, records) = ahead.partitions.remove(&PartitionId(0)).unwrap();
            if records.len() >= count {
                return records;
            }
        }
    };
    Clock::system().timeout(PATIENCE, reading).await.expect("the end is reached")
}

fn texts(records: &Records) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.payload.unwrap().to_vec()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_position_move_together_and_the_next_forwarder_finds_them() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let (log, spool) = (connect(&brokers), Clock::system().new_id());
    let mut forwarder = log.forwarder(&spool, &topic).await.unwrap();
    assert_eq!(forwarder.position(), None);
    forwarder.forward(&Records::default(), Offset(40)).await.unwrap();
    forwarder.forward(&records(&["a", "b"]), Offset(42)).await.unwrap();
    forwarder.forward(&records(&["c"]), Offset(43)).await.unwrap();
    drop(forwarder);
    assert_eq!(log.forwarder(&spool, &topic).await.unwrap().position(), Some(Offset(43)));
    assert_eq!(log.forwarder("another", &topic).await.unwrap().position(), None);
    let found = read(&log, &topic, 3).await;
    assert_eq!(texts(&found), ["a", "b", "c"]);
    let taken_at = found.get(0).unwrap().received_at;
    assert_eq!(taken_at, TimestampMicros(1_700_000_000_123_000), "when the spool took it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_that_was_replaced_can_write_nothing_any_more() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let (log, spool) = (connect(&brokers), Clock::system().new_id());
    let mut zombie = log.forwarder(&spool, &topic).await.unwrap();
    zombie.forward(&records(&["a"]), Offset(1)).await.unwrap();
    let mut successor = log.forwarder(&spool, &topic).await.unwrap();
    assert_eq!(successor.position(), Some(Offset(1)));
    zombie.forward(&records(&["b"]), Offset(2)).await.unwrap_err();
    successor.forward(&records(&["b"]), Offset(2)).await.unwrap();
    assert_eq!(texts(&read(&log, &topic, 2).await), ["a", "b"]);
    assert_eq!(log.forwarder(&spool, &topic).await.unwrap().position(), Some(Offset(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_spooled_while_no_broker_answered_comes_into_kafka_in_order() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let options = || SpoolOptions { folder: folder.path().to_owned(), bytes_max: 100_000_000 };
    // A port that was free a moment ago.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let gone = spooled(&nowhere, options(), &topic).await;
    let sent: Vec<String> = (0..500).map(|number| format!("{number:03}")).collect();
    for chunk in sent.chunks(100) {
        let events = chunk.iter().map(|text| Bytes::from(text.clone())).collect();
        assert!(matches!(gone.take(&topic, events).await.unwrap(), Taken::Spooled(_)));
    }
    drop(gone);

    let back = spooled(&brokers, options(), &topic).await;
    until("the spool is empty", || (back.status()[&topic].route == Route::Direct).then_some(()));
    back.take(&topic, vec![Bytes::from_static(b"after")]).await.unwrap();
    let found = read(&connect(&brokers), &topic, 501).await;
    assert_eq!(texts(&found), sent.into_iter().chain(["after".to_owned()]).collect::<Vec<_>>());
}

async fn spooled(brokers: &str, options: SpoolOptions, topic: &str) -> SpooledLog {
    let clock = Clock::system();
    let patience = Some(std::time::Duration::from_millis(500));
    let kafka = KafkaOptions { append_patience: patience, ..KafkaOptions::new(brokers) };
    let kafka = Arc::new(KafkaLog::open(kafka, clock.clone()).unwrap());
    let topics = [topic.to_owned()];
    loop {
        match SpooledLog::open(options.clone(), &topics, Arc::clone(&kafka) as _, clock.clone()).await {
            // The one before lets go of the folder when its last task has ended.
            Err(eventlog::LogError::InUse { .. }) => tokio::task::yield_now().await,
            outcome => return outcome.unwrap(),
        }
    }
}
