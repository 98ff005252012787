//! Each event once, landed or not.

use std::sync::Arc;

use query::{LogPart, QueryEngine, QueryOptions};

use tokio::sync::{Semaphore, watch};

use crate::support::{KINDS, Kind, Stream, rows};

/// The end-to-end suite asks more often, and slower.
const QUERIES: usize = 500;
/// Messages between two questions, at most.
const MESSAGES_PER_QUERY: usize = 10;
/// Every so manieth message is no event.
const BROKEN: u64 = 7;

/// Sends a sequence, lands it piece by piece, and asks all the while.
struct Sequence {
    stream: Stream,
    sent: watch::Sender<u64>,
    allowed: Semaphore,
}

impl Sequence {
    /// Sends as many as are allowed, until no more will be.
    async fn send_on(&self) {
        while let Ok(permit) = self.allowed.acquire().await {
            permit.forget();
            let n = *self.sent.borrow();
            self.stream.send(&[&event(n)]).await;
            self.sent.send_replace(n + 1);
        }
    }

    async fn land_on(&self) {
        let mut sent = self.sent.subscribe();
        let mut landed = 0;
        while !self.allowed.is_closed() {
            landed = *sent.wait_for(|sent| *sent > landed + 40 || self.allowed.is_closed()).await.unwrap();
            self.stream.land().await;
        }
    }

    async fn ask_on(&self, engine: &QueryEngine) {
        for _ in 0..QUERIES {
            self.allowed.add_permits(MESSAGES_PER_QUERY);
            let sent = *self.sent.borrow();
            let sql = format!(
                "SELECT count(*) - count(DISTINCT n), count(*) FILTER (WHERE n < {sent}), \
                 (SELECT count(*) - count(DISTINCT raw) FROM logs__dead), \
                 (SELECT count(*) FROM logs__dead WHERE CAST(substr(CAST(raw AS VARCHAR), 8) AS BIGINT) < {sent}) \
                 FROM logs"
            );
            let broken = sent.div_ceil(BROKEN);
            assert_eq!(
                rows(engine, &sql).await,
                format!("0,{},0,{broken}", sent - broken),
                "after {sent} were sent"
            );
        }
        self.allowed.close();
        self.sent.send_modify(|_| {});
    }
}

fn event(n: u64) -> String {
    if n.is_multiple_of(BROKEN) {
        format!("broken {n}")
    } else {
        format!(r#"{{"n": {n}, "even": {}}}"#, n.is_multiple_of(2))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sends_and_asks_at_once_finds_it_once_while_it_lands() {
    for kind in KINDS {
        let stream = Stream::new("logs", kind).await;
        let engine = stream.engine();
        stream.send(&["broken 0"]).await;
        stream.send(&[&event(1)]).await;
        let sequence = Arc::new(Sequence { stream, sent: watch::Sender::new(2), allowed: Semaphore::new(0) });
        let sender = tokio::spawn({
            let sequence = sequence.clone();
            async move { sequence.send_on().await }
        });
        let loader = tokio::spawn({
            let sequence = sequence.clone();
            async move { sequence.land_on().await }
        });
        sequence.ask_on(&engine).await;
        sender.await.unwrap();
        loader.await.unwrap();
    }
}

#[tokio::test]
async fn a_table_that_is_not_there_yet_is_what_the_log_holds() {
    for kind in KINDS {
        let stream = Stream::new("logs", kind).await;
        let engine = stream.engine();
        assert_eq!(rows(&engine, "SELECT count(*) FROM logs").await, "0");
        assert_eq!(rows(&engine, "SELECT _time, event_date FROM logs").await, "");
        assert_eq!(rows(&engine, "SELECT count(*) FROM logs__dead").await, "0");
        stream.send(&[r#"{"action": "search"}"#, "nonsense"]).await;
        assert_eq!(rows(&engine, "SELECT action FROM logs").await, "search");
        assert_eq!(rows(&engine, "SELECT raw FROM logs__dead").await, "nonsense");
        let freshness = engine.run("SELECT count(*) FROM logs, logs__dead").await.unwrap().freshness;
        assert!(freshness.iter().all(|table| table.version.is_none()));
        assert!(
            freshness.iter().all(|table| table.log == LogPart::Read { rows: 1, cut: false }),
            "{freshness:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_is_the_same_before_and_after_landing() {
    for kind in KINDS {
        let stream = Stream::new("logs", kind).await;
        let engine = stream.engine();
        let sql = "SELECT n, price, user, items, _residual FROM logs ORDER BY n";
        stream.send(&[r#"{"n": 1, "user": {"id": "a"}, "price": 1, "items": [{"id": 1}]}"#]).await;
        stream.land().await;
        stream
            .send(&[
                r#"{"n": 2, "user": {"id": "b", "plan": "gold"}, "price": "free"}"#,
                r#"{"n": 3, "user": "c", "items": [{"id": 2, "seats": [4, 5]}]}"#,
                "[1]",
            ])
            .await;
        let before = rows(&engine, sql).await;
        stream.land().await;
        assert_eq!(before, rows(&engine, sql).await);
        assert_eq!(before.split('|').count(), 3, "{before}");
        assert!(before.contains(r#""{""price"":""free""}""#), "{before}");
        assert_eq!(rows(&engine, "SELECT reason, raw FROM logs__dead").await, "not_an_object,[1]");
    }
}

#[tokio::test]
async fn a_field_nobody_has_seen_is_a_column_at_once() {
    let stream = Stream::new("logs", Kind::Delta).await;
    let engine = stream.engine();
    stream.send(&[r#"{"a": 1}"#]).await;
    assert_eq!(rows(&engine, "SELECT a FROM logs").await, "1");
    stream.send(&[r#"{"a": 2, "b": {"c": true}}"#]).await;
    assert_eq!(rows(&engine, "SELECT a, b.c FROM logs ORDER BY a").await, "1,|2,true");
    stream.land().await;
    stream.send(&[r#"{"a": 3, "d": 1}"#, r#"{"a": 4, "d": 0.5}"#]).await;
    assert_eq!(rows(&engine, "SELECT a, b.c, d FROM logs ORDER BY a").await, "1,,|2,true,|3,,1.0|4,,0.5");
}

#[tokio::test]
async fn a_dead_letter_counts_once_wherever_its_table_stands() {
    for kind in KINDS {
        let stream = Stream::new("logs", kind).await;
        let engine = stream.engine();
        let sql = "SELECT raw FROM logs__dead ORDER BY raw";
        stream.send(&[r#"{"n": 1}"#, "dead 1"]).await;
        stream.land_dead_only().await;
        assert_eq!(rows(&engine, sql).await, "dead 1", "its table is ahead");
        stream.send(&["dead 2"]).await;
        assert_eq!(
            rows(&engine, sql).await,
            "dead 1|dead 2",
            "its table is ahead of one and behind the other"
        );
        stream.land().await;
        for n in 2..9 {
            stream.send(&[&format!(r#"{{"n": {n}}}"#)]).await;
        }
        stream.land().await;
        assert_eq!(rows(&engine, sql).await, "dead 1|dead 2", "its table is behind");
        stream.send(&["dead 3"]).await;
        assert_eq!(rows(&engine, sql).await, "dead 1|dead 2|dead 3");
        assert_eq!(rows(&engine, "SELECT count(*), count(DISTINCT n) FROM logs").await, "8,8");
    }
}

#[tokio::test]
async fn a_log_longer_than_one_query_may_read_is_cut_and_says_so() {
    let stream = Stream::new("logs", Kind::Delta).await;
    let options = QueryOptions { seam_bytes_max: 4_000, ..QueryOptions::default() };
    let engine = QueryEngine::new(vec![stream.source()], options, stream.clock.clone()).unwrap();
    let count = async || {
        let answer = engine.run("SELECT count(*) FROM logs").await.unwrap();
        let log = answer.freshness[0].log.clone();
        (rows(&engine, "SELECT count(*) FROM logs").await.parse::<u32>().unwrap(), log)
    };
    for n in 0..1_000 {
        stream.send(&[&format!(r#"{{"n": {n}}}"#)]).await;
    }
    let (seen, log) = count().await;
    assert!(matches!(log, LogPart::Read { cut: true, .. }), "{log:?}");
    assert!(0 < seen && seen < 1_000, "{seen}");
    stream.land().await;
    assert_eq!(count().await, (1_000, LogPart::Read { rows: 0, cut: false }));
    stream.send(&[r#"{"n": 1000}"#]).await;
    assert_eq!(count().await, (1_001, LogPart::Read { rows: 1, cut: false }));
}
