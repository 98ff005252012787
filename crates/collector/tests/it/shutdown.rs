//! Shutdown in the middle of traffic: what was answered 200 is in the log, and nothing else was.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Version};
use bytes::Bytes;
use collector::{Collector, CollectorLimits};
use event::{Clock, limits};
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;

use crate::support::{Fixture, Mode, send};
use crate::tcp::{Client, Server};

#[tokio::test]
async fn requests_after_the_stop_are_sent_away_and_those_before_it_finish() {
    let fixture = Fixture::new();
    let gate = Arc::new(Semaphore::new(0));
    fixture.log.set(Mode::Gate(Arc::clone(&gate)));
    let running =
        tokio::spawn(send(fixture.router.clone(), Request::post("/events").body("{}".into()).unwrap()));
    fixture.log.begun.acquire().await.unwrap().forget();

    assert!(fixture.collector.is_accepting());
    fixture.collector.stop_accepting();
    assert!(!fixture.collector.is_accepting());
    let late = fixture.post("{}").await;
    late.assert_error(503, "shutting_down");
    assert_eq!(late.header("retry-after"), Some("2"));
    assert_eq!(late.header("connection"), Some("close"));

    assert!(
        futures::poll!(std::pin::pin!(fixture.collector.drained())).is_pending(),
        "a request under way must hold the drain up"
    );
    gate.add_permits(1);
    assert_eq!(running.await.unwrap().accepted(), 1);
    fixture.collector.drained().await;
    assert_eq!(fixture.logged(), ["{}"]);
}

#[tokio::test]
async fn a_client_that_comes_after_the_stop_and_never_ends_does_not_hold_the_drain_up() {
    let fixture = Fixture::new();
    fixture.collector.stop_accepting();
    let (asked, mut is_asked) = tokio::sync::mpsc::unbounded_channel();
    let body = Body::from_stream(stream::poll_fn(move |_| {
        asked.send(()).unwrap();
        Poll::<Option<Result<Bytes, std::io::Error>>>::Pending
    }));
    let late = tokio::spawn(send(fixture.router.clone(), Request::post("/events").body(body).unwrap()));
    is_asked.recv().await.expect("the body is read away, so that the client sees the answer");
    fixture.collector.drained().await;
    late.abort();
}

#[tokio::test]
async fn a_body_that_stands_still_at_the_stop_holds_the_drain_up_only_so_long() {
    let limits = CollectorLimits {
        body_finish_deadline: Duration::from_millis(20),
        body_idle_deadline: Duration::MAX,
        ..CollectorLimits::default()
    };
    let fixture = Fixture::with_limits(limits);
    let (asked, mut is_asked) = tokio::sync::mpsc::unbounded_channel();
    let begun = stream::once(async { Ok(Bytes::from_static(b"{\"a\":1}\n")) });
    let stuck = stream::poll_fn(move |_| {
        asked.send(()).unwrap();
        Poll::<Option<Result<Bytes, std::io::Error>>>::Pending
    });
    let request = Request::post("/events").body(Body::from_stream(begun.chain(stuck))).unwrap();
    let slow = tokio::spawn(send(fixture.router.clone(), request));
    is_asked.recv().await.expect("the body is being read");
    fixture.collector.stop_accepting();
    let drained = Clock::system().timeout(limits::BODY_IDLE_DEADLINE, fixture.collector.drained()).await;
    assert!(drained.is_some());
    assert!(fixture.logged().is_empty());
    slow.abort();
}

#[tokio::test]
async fn http2_clients_get_no_connection_header() {
    let fixture = Fixture::new();
    fixture.collector.stop_accepting();
    let request = Request::post("/events").version(Version::HTTP_2).body("{}".into()).unwrap();
    let answer = fixture.send(request).await;
    answer.assert_error(503, "shutting_down");
    assert_eq!(answer.header("connection"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_and_a_stop_in_the_middle_lose_and_invent_nothing() {
    let fixture = Fixture::new();
    stop_amid_two_hundred_clients(&fixture.collector, async || fixture.logged()).await;
}

/// Lets 200 clients send until they are sent away. The log at the moment of the drain must have
/// exactly the events that were acknowledged, then or later; gives those events.
pub async fn stop_amid_two_hundred_clients(
    collector: &Arc<Collector>,
    logged: impl AsyncFn() -> Vec<String>,
) -> Vec<String> {
    const CLIENTS: usize = 200;
    let server = Server::start(collector.router()).await;
    let answers = Arc::new(Semaphore::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(send_until_stopped(server.address(), client, Arc::clone(&answers))))
        .collect();

    answers.acquire_many(CLIENTS as u32 * 5).await.unwrap().forget();
    collector.stop_accepting();
    collector.drained().await;
    let drained = logged().await;

    let outcomes = futures::future::join_all(clients).await;
    server.stop().await;
    let acknowledged: Vec<_> = outcomes.into_iter().flat_map(Result::unwrap).collect();
    assert_same_events(acknowledged.clone(), drained);
    acknowledged
}

#[track_caller]
pub fn assert_same_events(mut acknowledged: Vec<String>, mut logged: Vec<String>) {
    assert!(!acknowledged.is_empty());
    acknowledged.sort_unstable();
    logged.sort_unstable();
    assert!(acknowledged == logged, "{} acknowledged, {} in the log", acknowledged.len(), logged.len());
}

/// Sends one event after another over one connection until it is told that the collector stops.
/// Whatever else happens to it is a failure.
async fn send_until_stopped(address: SocketAddr, client: usize, answers: Arc<Semaphore>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut connection = Client::connect(address).await;
    loop {
        let event = format!("{{\"client\":{client},\"event\":{}}}", acknowledged.len());
        let answer = connection.post("/events", &event).await;
        if answer.status != 200 {
            assert_eq!((answer.status, &answer.json["code"]), (503, &"shutting_down".into()));
            assert!(answer.closes);
            return acknowledged;
        }
        acknowledged.push(event);
        answers.add_permits(1);
        assert!(acknowledged.len() < 1_000_000, "the stop never came");
    }
}

#[tokio::test]
async fn drained_waits_for_nothing_when_nothing_is_under_way() {
    let fixture = Fixture::new();
    fixture.post("{}").await.accepted();
    fixture.collector.stop_accepting();
    let drained = Clock::system().timeout(limits::CONNECT_DEADLINE, fixture.collector.drained()).await;
    assert!(drained.is_some());
}
