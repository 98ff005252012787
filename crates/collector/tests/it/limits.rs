//! What is over a limit is refused before it costs.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use collector::CollectorLimits;
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;

use crate::support::{Fixture, Mode, send, small_limits};

const KIB: usize = 1024;

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_or_not_it_declares_its_length() {
    let fixture = Fixture::with_limits(small_limits());
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(64 * KIB));
    let declared = large.len().to_string();
    fixture.post_with(&[("content-length", &declared)], large.clone()).await.assert_error(413, "too_large");
    fixture.post(large.clone()).await.assert_error(413, "too_large");

    let pieces: Vec<_> =
        large.as_bytes().chunks(KIB).map(|p| Ok::<_, std::io::Error>(Bytes::copy_from_slice(p))).collect();
    fixture.post(Body::from_stream(stream::iter(pieces))).await.assert_error(413, "too_large");
    assert!(fixture.logged().is_empty());
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken() {
    let fixture = Fixture::with_limits(small_limits());
    let frame = r#"{"a":""}"#.len();
    let exact = format!("{{\"a\":\"{}\"}}", "x".repeat(64 * KIB - frame));
    assert_eq!(fixture.post(exact).await.accepted(), 1);
}

#[tokio::test]
async fn more_events_than_allowed_are_refused_whole() {
    let fixture = Fixture::with_limits(small_limits());
    let events = vec!["{}"; 101];
    for body in
        [events.join("\n"), format!("[{}]", events.join(",")), events.join("\n \n").replace("{}", "{\n}")]
    {
        fixture.post(body).await.assert_error(413, "too_many_events");
    }
    assert!(fixture.logged().is_empty());
    assert_eq!(fixture.post(vec!["{}"; 100].join("\n")).await.accepted(), 100);
}

#[tokio::test]
async fn requests_over_the_bytes_in_flight_are_asked_to_come_back_and_the_bytes_come_back_too() {
    let limits = CollectorLimits {
        body_bytes_max: 10 * KIB,
        body_decompressed_bytes_max: 10 * KIB,
        request_events_max: 4,
        in_flight_bytes_max: 21 * KIB,
        ..CollectorLimits::default()
    };
    let fixture = Fixture::with_limits(limits);
    let gate = Arc::new(Semaphore::new(0));
    fixture.log.set(Mode::Gate(Arc::clone(&gate)));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(9 * KIB));
    let under_way = [(); 2].map(|()| {
        let request = Request::post("/events").body(large.clone().into()).unwrap();
        tokio::spawn(send(fixture.router.clone(), request))
    });
    fixture.log.begun.acquire_many(2).await.unwrap().forget();

    let answer = fixture.post(large.clone()).await;
    answer.assert_error(503, "overloaded");
    assert_eq!(answer.header("retry-after"), Some("2"));

    gate.add_permits(3);
    for request in under_way {
        assert_eq!(request.await.unwrap().accepted(), 1);
    }
    assert_eq!(fixture.post(large).await.accepted(), 1);
}

#[tokio::test]
async fn a_client_that_stops_sending_is_let_go() {
    let limits =
        CollectorLimits { body_idle_deadline: Duration::from_millis(20), ..CollectorLimits::default() };
    let fixture = Fixture::with_limits(limits);
    let begun = stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"{\"a\":1}\n")) });
    let answer = fixture.post(Body::from_stream(begun.chain(stream::pending()))).await;
    answer.assert_error(408, "body_timeout");
    assert!(fixture.logged().is_empty());
}

#[test]
#[should_panic(expected = "do not hold one request")]
fn a_budget_that_no_large_request_fits_is_refused_at_start() {
    Fixture::with_limits(CollectorLimits { in_flight_bytes_max: 1024, ..CollectorLimits::default() });
}
