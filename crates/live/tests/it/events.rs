//! The event stream.

use axum::http::{Request, StatusCode};
use event::TimestampMicros;
use event::limits::{LIVE_EVENTS_KEPT, LIVE_QUEUE_MAX, LIVE_READERS_MAX};

use crate::support::{EventStream, Message, serve, start};

fn offsets(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.data["offset"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn an_event_arrives_as_it_was_sent_with_its_place() {
    let served = serve(2).await;
    let mut events = served.events("").await;
    let sent = "{\"action\": \"buy\",\n\t\"price\": 10.50, \"text\": \"<script>alert(1)</script>\"}";
    served.log.put_at(1, TimestampMicros(1_700_000_000_123_456), Some(sent.as_bytes()));
    let message = events.next().await.unwrap();
    assert_eq!(message.kind, "message");
    let want = serde_json::json!({
        "partition": 1, "offset": 0, "received_at": "2023-11-14T22:13:20.123456Z", "bytes": sent.len(), "event": sent,
    });
    assert_eq!(message.data, want);
}

#[tokio::test]
async fn a_reader_gets_every_event_of_a_partition_once_and_in_order() {
    let served = serve(1).await;
    let mut events = served.events("").await;
    let count = 3_000;
    for n in 0..count {
        // Times that jump must not change the order within a partition.
        served.log.put_at(0, TimestampMicros((n % 7) * 1_000_000), Some(b"{}"));
    }
    let got = events.take(usize::try_from(count).unwrap()).await;
    assert_eq!(offsets(&got), (0..count.cast_unsigned()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_new_reader_begins_with_the_newest_events_it_asks_for() {
    let served = serve(1).await;
    for _ in 0..LIVE_EVENTS_KEPT + 20 {
        served.log.put(0, Some(b"{}"));
    }
    let total = LIVE_EVENTS_KEPT as u64 + 20;
    served.wait_for_events(total).await;
    for (query, last) in [("", 10), ("?last=3", 3), ("?last=1000000", LIVE_EVENTS_KEPT as u64)] {
        let got = served.events(query).await.take(usize::try_from(last).unwrap()).await;
        assert_eq!(offsets(&got), (total - last..total).collect::<Vec<_>>(), "{query}");
    }
    let mut none = served.events("?last=0").await;
    served.log.put(0, Some(b"{}"));
    assert_eq!(offsets(&none.take(1).await), [total]);
}

#[tokio::test]
async fn a_slow_reader_is_told_how_many_events_it_missed() {
    let served = serve(1).await;
    let mut slow = served.events("?last=0").await;
    let count = LIVE_QUEUE_MAX as u64 + 500;
    // In parts, so that each is read and queued before the next.
    for part in 0..count / 250 {
        (0..250).for_each(|_| served.log.put(0, Some(b"{}")));
        served.wait_for_events((part + 1) * 250).await;
    }
    let rest = count % 250;
    (0..rest).for_each(|_| served.log.put(0, Some(b"{}")));
    served.wait_for_events(count).await;
    let missed = slow.next().await.unwrap();
    assert_eq!((missed.kind.as_str(), missed.data["missed"].as_u64()), ("missed", Some(500)));
    assert_eq!(offsets(&slow.take(2).await), [500, 501]);
}

#[tokio::test]
async fn a_reader_with_a_rate_gets_a_sample_and_the_count_of_the_rest() {
    let served = serve(1).await;
    (0..50).for_each(|_| served.log.put(0, Some(b"{}")));
    served.wait_for_events(50).await;
    let mut sampled = served.events("?last=50&rate=4").await;
    // What was there before is not held back.
    assert_eq!(offsets(&sampled.take(50).await), (0..50).collect::<Vec<_>>());
    for _ in 0..100 {
        served.log.put(0, Some(b"{}"));
    }
    let (mut shown, mut missed) = (0, 0);
    while shown + missed < 100 {
        let message = sampled.next().await.unwrap();
        match message.kind.as_str() {
            "missed" => missed += message.data["missed"].as_u64().unwrap(),
            _ => shown += 1,
        }
    }
    assert_eq!(shown + missed, 100);
    assert!((1..=20).contains(&shown), "{shown} were shown");
}

#[tokio::test]
async fn a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let served = serve(1).await;
    let mut first = served.events("").await;
    served.log.put(0, Some(b"{}"));
    let id = first.next().await.unwrap().id.unwrap();
    drop(first);
    served.log.put(0, Some(b"{}"));
    served.log.put(0, Some(b"{}"));
    served.wait_for_events(3).await;
    let again = |id: &str| {
        Request::get("/live/logs/events").header("last-event-id", id).body(axum::body::Body::empty())
    };
    let back = served.request(again(&id).unwrap()).await;
    assert_eq!(offsets(&EventStream::new(back, served.clock.clone()).take(2).await), [1, 2]);
    let stranger = served.request(again("00000000-7").unwrap()).await;
    assert_eq!(offsets(&EventStream::new(stranger, served.clock.clone()).take(3).await), [0, 1, 2]);
}

#[tokio::test]
async fn the_stream_ends_when_the_server_does() {
    let served = serve(1).await;
    let mut events = served.events("").await;
    served.log.put(0, Some(b"{}"));
    events.next().await.unwrap();
    served.shutdown.cancel();
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn readers_beyond_the_limit_are_refused_until_one_goes() {
    let served = start(1);
    let mut readers = Vec::new();
    for _ in 0..LIVE_READERS_MAX {
        readers.push(served.get("/live/logs/events").await);
    }
    assert!(readers.iter().all(|response| response.status() == StatusCode::OK));
    let refused = served.get("/live/logs/events").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    readers.pop();
    assert_eq!(served.get("/live/logs/events").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_stream_is_refused_with_the_names_there_are() {
    let served = start(1);
    for path in ["/live/nope/events", "/live/nope/stats", "/live/a%20b/stats"] {
        let (status, body) = crate::support::json(served.get(path).await).await;
        assert_eq!((status, body["code"].as_str()), (StatusCode::NOT_FOUND, Some("unknown_stream")));
        assert!(body["message"].as_str().unwrap().contains("logs"));
    }
}
