use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::cluster::{brokers, connect, fetch_to, new_topic, started};

/// Unmodified producers differ in codec, keys and headers; the value is what counts.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_any_producer_are_read_as_they_were_sent() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let log = connect(&brokers);
    let mut expected = std::collections::BTreeMap::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("compression.codec", codec)
            .create()
            .unwrap_or_else(|error| panic!("{codec} is not in this build: {error}"));
        for event in 0..50 {
            let value = format!("{codec} {event} {}", "padding ".repeat(20));
            let headers = OwnedHeaders::new().insert(Header { key: "trace", value: Some("1") });
            let record = FutureRecord::to(&topic)
                .partition(0)
                .key("key")
                .headers(headers)
                .payload(&value)
                .timestamp(5);
            let delivered = producer.send(record, None).await.map_err(|(error, _)| error).unwrap();
            expected.insert(u64::try_from(delivered.offset).unwrap(), value);
        }
    }
    let mut consumer = started(&log, &topic, 1);
    assert_eq!(fetch_to(&mut *consumer, 0, 250), expected);
}
