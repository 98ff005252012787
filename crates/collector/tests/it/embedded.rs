//! Over the real log in a folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::http::Request;
use collector::{CollectorLimits, Receipt};
use event::{Clock, Offset, PartitionId, Positions};
use eventlog::embedded::EmbeddedOptions;
use eventlog::{EmbeddedLog, EventLog};

use crate::shutdown::{assert_same_events, stop_amid_two_hundred_clients};
use crate::support::{collector_over, send};

async fn open(folder: &Path) -> Arc<EmbeddedLog> {
    let log = EmbeddedLog::open(EmbeddedOptions::new(folder), Clock::system()).unwrap();
    log.create_topic("logs").await.unwrap();
    Arc::new(log)
}

/// Every event of the topic, by its place.
async fn read_all(log: &EmbeddedLog) -> BTreeMap<(PartitionId, Offset), String> {
    let mut from = Positions::new();
    for partition in log.describe("logs").await.unwrap().partitions.keys() {
        from.set(*partition, Offset::ZERO);
    }
    let ahead = log.read("logs", &from, usize::MAX).await.unwrap();
    assert!(!ahead.cut);
    let records = ahead.partitions.iter().flat_map(|(partition, (_, records))| {
        records.iter().map(|record| {
            let payload = record.payload.expect("an event is no tombstone");
            ((*partition, record.offset), String::from_utf8(payload.to_vec()).unwrap())
        })
    });
    records.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_and_a_stop_in_the_middle_lose_and_invent_nothing_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    let collector = collector_over(Arc::clone(&log) as Arc<dyn EventLog>, CollectorLimits::default());
    let logged = async || read_all(&log).await.into_values().collect();
    let acknowledged = stop_amid_two_hundred_clients(&collector, logged).await;
    drop((collector, log));

    let reopened = open(folder.path()).await;
    assert_same_events(acknowledged, read_all(&reopened).await.into_values().collect());
}

#[tokio::test]
async fn a_receipt_names_the_places_where_the_log_has_the_events() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    let collector = collector_over(Arc::clone(&log) as Arc<dyn EventLog>, CollectorLimits::default());
    for request in 0..3 {
        let events: Vec<_> =
            (0..50).map(|event| format!("{{\"request\":{request},\"event\":{event}}}")).collect();
        let answer =
            send(collector.router(), Request::post("/events").body(events.join("\n").into()).unwrap()).await;
        assert_eq!(answer.accepted(), 50);
        let receipt: Receipt = answer.json["receipt"].as_str().unwrap().parse().unwrap();
        let named: Vec<_> = read_all(&log)
            .await
            .into_iter()
            .filter(|((partition, offset), _)| {
                let mut spans = receipt.spans().iter();
                spans.any(|s| {
                    s.partition == *partition && s.range.start() <= *offset && *offset < s.range.end()
                })
            })
            .map(|(_, event)| event)
            .collect();
        assert_same_events(events, named);
    }
}
