//! The numbers.

use event::limits::{LIVE_BEHIND_MAX, LIVE_SHOWN_PER_READ_MAX};
use event::{Offset, PartitionId, Positions, TimestampMicros};
use live::{Progress, StreamProgress};
use serde_json::{Value, json};

use crate::support::{logs, serve, start};

fn sum(series: &Value) -> u64 {
    series.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum()
}

#[tokio::test]
async fn counts_are_true_also_when_far_more_arrives_than_is_shown() {
    let served = serve(2).await;
    let _reader = served.events("").await;
    let (searches, buys) = (LIVE_SHOWN_PER_READ_MAX * 3, 11);
    for n in 0..searches {
        served.log.put(n % 2, Some(br#"{"action":"search"}"#));
    }
    for _ in 0..buys {
        served.log.put(1, Some(br#"{"action":"buy"}"#));
    }
    served.log.put(0, None);
    let total = (searches + buys + 1) as u64;
    let stats = served.wait_for(|stats| sum(&stats["window"]["events"]) == total).await;
    assert_eq!(stats["log"]["events_total"], total);
    assert_eq!(stats["log"]["skipped_total"], 0);
    assert_eq!(sum(&stats["window"]["bytes"]), (searches * 19 + buys * 16) as u64);
    let actions: Vec<_> =
        stats["window"]["actions"].as_array().unwrap().iter().map(|a| (&a["action"], &a["total"])).collect();
    let want = [(json!("search"), json!(searches)), (json!("buy"), json!(buys)), (Value::Null, json!(1))];
    assert_eq!(actions, want.iter().map(|(action, total)| (action, total)).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_what_arrives_from_now_on_is_counted() {
    let served = start(1);
    // Before the task has its first turn.
    (0..5).for_each(|_| served.log.put(0, Some(b"{}")));
    served.wait_for(|stats| stats["log"]["state"] == "following").await;
    served.log.put(0, Some(b"{}"));
    served.wait_for_events(1).await;
    let stats = served.stats().await;
    assert_eq!(stats["partitions"], json!([{"partition": 0, "newest": 6, "landed": null}]));
}

#[tokio::test]
async fn lag_and_freshness_are_unknown_without_a_loader() {
    let served = serve(1).await;
    let stats = served.stats().await;
    assert_eq!((&stats["lag"], &stats["table"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn lag_is_what_the_table_does_not_have_yet() {
    let served = serve(2).await;
    for n in 0..30 {
        served.log.put(n % 2, Some(b"{}"));
    }
    let landed = Positions::from_iter([(PartitionId(0), Offset(5)), (PartitionId(1), Offset(15))]);
    let committed_at = TimestampMicros(served.clock.now().0 - 3_000_000);
    let progress = StreamProgress {
        landed,
        table_version: 7,
        committed_at: Some(committed_at),
        dead_total: 2,
        conflict_total: 3,
        state: "running".to_owned(),
    };
    served.progress.send_replace(Progress::from([(logs(), progress)]));
    let stats = served.wait_for(|stats| stats["lag"] == 10).await;
    let partition = |id: u64, landed: u64| json!({"partition": id, "newest": 15, "landed": landed});
    assert_eq!(stats["partitions"], json!([partition(0, 5), partition(1, 15)]));
    let table = &stats["table"];
    assert_eq!(
        (&table["version"], &table["dead_total"], &table["conflict_total"]),
        (&json!(7), &json!(2), &json!(3))
    );
    assert!(table["age_micros"].as_i64().unwrap() >= 3_000_000);
}

#[tokio::test]
async fn an_unavailable_log_is_shown_and_reading_goes_on_where_it_was() {
    let served = serve(1).await;
    served.log.fail(Some("the disk is on fire"));
    let stats = served.wait_for(|stats| stats["log"]["state"] == "unavailable").await;
    assert!(stats["log"]["reason"].as_str().unwrap().contains("the disk is on fire"));
    (0..3).for_each(|_| served.log.put(0, Some(b"{}")));
    served.log.fail(None);
    let stats = served.wait_for(|stats| stats["log"]["state"] == "following").await;
    assert_eq!(stats["log"]["reason"], Value::Null);
    served.wait_for_events(3).await;
}

#[tokio::test]
async fn a_reader_that_cannot_keep_up_skips_to_the_end_and_says_so() {
    let served = serve(1).await;
    let mut events = served.events("?last=0").await;
    served.log.read_at_most(1);
    let writer = {
        let (log, clock) = (served.log.clone(), served.clock.clone());
        tokio::spawn(async move {
            let begun = clock.monotonic();
            // More than one record per read, for longer than the reader has patience.
            while clock.monotonic() - begun < LIVE_BEHIND_MAX * 2 {
                (0..1_000).for_each(|_| log.put(0, Some(b"{}")));
                tokio::task::yield_now().await;
            }
        })
    };
    let stats = served.wait_for(|stats| stats["log"]["skipped_total"].as_u64() > Some(0)).await;
    let skipped = stats["log"]["skipped_total"].as_u64().unwrap();
    let mut missed = 0;
    while missed < skipped {
        let message = events.next().await.unwrap();
        if message.kind == "missed" {
            missed += message.data["missed"].as_u64().unwrap();
        }
    }
    writer.abort();
}

#[tokio::test]
async fn the_streams_are_listed_with_the_fields_the_page_shows() {
    let served = start(1);
    let want = json!({
        "streams": [{
            "name": "logs", "topic": "logs",
            "action_field": "action", "event_time_field": "timestamp", "user_field": "user_id",
        }],
        "sql": false,
    });
    assert_eq!(served.json("/live/streams").await, want);
}
