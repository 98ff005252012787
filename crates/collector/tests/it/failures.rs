//! The log's trouble and the client's: nothing is acknowledged that the log has not confirmed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use collector::CollectorLimits;
use eventlog::LogError;
use futures::stream;
use tokio::sync::Semaphore;

use crate::support::{Fixture, Mode, send, unavailable};

async fn assert_refused(mode: Mode, code: &str) {
    let limits = CollectorLimits { append_deadline: Duration::from_millis(20), ..CollectorLimits::default() };
    let fixture = Fixture::with_limits(limits);
    fixture.log.set(mode);
    let answer = fixture.post("{\"a\":1}\n{\"a\":2}\nbroken\n").await;
    answer.assert_error(503, code);
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert!(answer.json["accepted"].is_null(), "{}", answer.json);

    fixture.log.set(Mode::Take);
    assert_eq!(fixture.post("{}").await.accepted(), 1, "the collector must recover by itself");
}

#[tokio::test]
async fn a_log_that_is_down_is_503_and_nothing_is_acknowledged() {
    assert_refused(Mode::Fail(unavailable), "log_unavailable").await;
}

#[tokio::test]
async fn a_full_log_is_503() {
    assert_refused(Mode::Fail(|| LogError::Full { place: "x".into(), reason: "disk".into() }), "log_full")
        .await;
}

#[tokio::test]
async fn wrong_settings_found_at_run_time_are_503_never_500() {
    let settings = || LogError::Settings { place: "secret-host:9092".into(), reason: "bad password".into() };
    assert_refused(Mode::Fail(settings), "log_unavailable").await;
    assert_refused(
        Mode::Fail(|| LogError::TopicMissing { topic: "t".into(), place: "p".into() }),
        "log_unavailable",
    )
    .await;
    assert_refused(
        Mode::Fail(|| LogError::Damaged { place: "p".into(), reason: "r".into() }),
        "log_unavailable",
    )
    .await;
}

#[tokio::test]
async fn clients_do_not_learn_where_the_log_is() {
    let fixture = Fixture::new();
    fixture.log.set(Mode::Fail(|| LogError::Settings {
        place: "secret-host:9092".into(),
        reason: "hunter2".into(),
    }));
    let text = fixture.post("{}").await.json.to_string();
    assert!(!text.contains("secret-host") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_log_that_does_not_answer_in_time_is_503() {
    assert_refused(Mode::Hang, "log_timeout").await;
}

#[tokio::test]
async fn a_panic_is_503_never_500() {
    assert_refused(Mode::Panic, "internal").await;
}

#[tokio::test]
async fn a_log_that_confirms_fewer_events_than_sent_acknowledges_nothing() {
    assert_refused(Mode::Forget, "internal").await;
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_cut_an_append() {
    let fixture = Fixture::new();
    let gate = Arc::new(Semaphore::new(0));
    fixture.log.set(Mode::Gate(Arc::clone(&gate)));
    let client = tokio::spawn(send(
        fixture.router.clone(),
        Request::post("/events").body("{\"a\":1}\n{\"a\":2}".into()).unwrap(),
    ));
    fixture.log.begun.acquire().await.unwrap().forget();
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());

    gate.add_permits(1);
    fixture.collector.stop_accepting();
    fixture.collector.drained().await;
    assert_eq!(fixture.logged().len(), 2);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused_whole() {
    let fixture = Fixture::new();
    let pieces = [Ok(Bytes::from_static(b"{\"a\":1}\n{\"a\":2}\n")), Err(io::Error::other("reset"))];
    let answer = fixture.post(Body::from_stream(stream::iter(pieces))).await;
    answer.assert_error(400, "incomplete_body");
    assert!(fixture.logged().is_empty());
}
