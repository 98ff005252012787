use std::sync::Arc;

use async_trait::async_trait;
use eventlog::EventLog;
use eventlog::conformance::{self, PARTITION_COUNT, Subject};
use eventlog_kafka::KafkaLog;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::cluster;

struct Kafka {
    brokers: String,
    log: Option<Arc<KafkaLog>>,
}

impl Kafka {
    fn connect() -> Option<Self> {
        let brokers = cluster::brokers()?;
        let log = Some(cluster::connect(&brokers));
        Some(Self { brokers, log })
    }
}

#[async_trait]
impl Subject for Kafka {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone().unwrap()
    }

    async fn new_topic(&self) -> String {
        cluster::new_topic(&self.brokers, i32::try_from(PARTITION_COUNT).unwrap(), &[]).await
    }

    async fn reopen(&mut self) {
        drop(self.log.take());
        self.log = Some(cluster::connect(&self.brokers));
    }

    async fn put_tombstone(&self, topic: &str) -> bool {
        let producer: FutureProducer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let tombstone = FutureRecord::<str, [u8]>::to(topic).partition(0).key("key");
        producer.send(tombstone, None).await.unwrap();
        true
    }
}

macro_rules! conforms {
    ($($promise:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                if let Some(kafka) = Kafka::connect() {
                    conformance::$promise(&kafka).await;
                }
            }
        )*
    };
}

conforms![
    appended_events_are_read_at_their_places,
    concurrent_appends_are_each_in_the_log_once,
    an_empty_payload_is_an_event,
    an_event_of_ten_megabytes_is_carried,
    topics_are_apart,
    the_description_follows_the_appends,
    a_read_sees_every_acknowledged_event,
    a_read_keeps_to_its_partitions,
    a_consumer_gets_everything_in_contiguous_ranges,
    a_rewind_delivers_again_from_there,
    a_pause_holds_everything_back,
    nothing_is_delivered_before_its_start,
    a_start_position_is_exact,
    a_position_beyond_the_end_is_an_error,
    a_tombstone_is_no_empty_event,
    an_unknown_topic_is_missing,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_log_has_everything() {
    if let Some(mut kafka) = Kafka::connect() {
        conformance::a_reopened_log_has_everything(&mut kafka).await;
    }
}
