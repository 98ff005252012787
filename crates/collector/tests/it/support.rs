//! A log in memory that can be told to fail, and a client that reads answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use collector::{Collector, CollectorLimits, CollectorOptions, StreamRoute};
use event::{Clock, Offset, PartitionId, Positions, StreamName};
use eventlog::{Ahead, Consumer, EventLog, LogError, Placement, TopicDescription};
use serde_json::Value;
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// What the log does with an append.
#[derive(Debug, Clone)]
pub enum Mode {
    Take,
    Fail(fn() -> LogError),
    /// Takes one append per permit.
    Gate(Arc<Semaphore>),
    Hang,
    Panic,
    /// Takes all, but confirms one less.
    Forget,
}

/// Events per topic, partition 0.
#[derive(Debug)]
pub struct MemoryLog {
    mode: Mutex<Mode>,
    topics: Mutex<BTreeMap<String, Vec<Bytes>>>,
    /// One permit for each append that has begun.
    pub begun: Semaphore,
}

impl MemoryLog {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { mode: Mutex::new(Mode::Take), topics: Mutex::default(), begun: Semaphore::new(0) })
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub fn events(&self, topic: &str) -> Vec<String> {
        let raw = self.raw_events(topic);
        raw.iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect()
    }

    pub fn raw_events(&self, topic: &str) -> Vec<Bytes> {
        self.topics.lock().unwrap().get(topic).cloned().unwrap_or_default()
    }

    fn take(&self, topic: &str, payloads: Vec<Bytes>) -> Vec<Placement> {
        let mut topics = self.topics.lock().unwrap();
        let events = topics.entry(topic.to_owned()).or_default();
        let first = events.len() as u64;
        events.extend(payloads);
        (first..events.len() as u64)
            .map(|n| Placement { partition: PartitionId(0), offset: Offset(n) })
            .collect()
    }
}

pub fn unavailable() -> LogError {
    LogError::Unavailable { place: "test".into(), reason: "told to be down".into() }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        self.begun.add_permits(1);
        let mode = self.mode.lock().unwrap().clone();
        match mode {
            Mode::Take => Ok(self.take(topic, payloads)),
            Mode::Fail(error) => Err(error()),
            Mode::Gate(gate) => {
                gate.acquire().await.unwrap().forget();
                Ok(self.take(topic, payloads))
            }
            Mode::Hang => std::future::pending().await,
            Mode::Panic => panic!("told to panic"),
            Mode::Forget => {
                let mut placements = self.take(topic, payloads);
                placements.pop();
                Ok(placements)
            }
        }
    }

    async fn describe(&self, _topic: &str) -> Result<TopicDescription, LogError> {
        Err(unavailable())
    }

    async fn read(&self, _topic: &str, _from: &Positions, _bytes_max: usize) -> Result<Ahead, LogError> {
        Err(unavailable())
    }

    fn consumer(&self, _topic: &str, _group: &str) -> Result<Box<dyn Consumer>, LogError> {
        Err(unavailable())
    }

    async fn landed(&self, _topic: &str, _landed: &Positions) -> Result<(), LogError> {
        Err(unavailable())
    }
}

/// A collector of the streams `logs` (the default) and `clicks`, over a log in memory.
pub struct Fixture {
    pub log: Arc<MemoryLog>,
    pub collector: Arc<Collector>,
    pub router: Router,
}

/// Small enough to reach in a test.
pub fn small_limits() -> CollectorLimits {
    CollectorLimits {
        body_bytes_max: 64 * 1024,
        body_decompressed_bytes_max: 256 * 1024,
        request_events_max: 100,
        in_flight_bytes_max: 1024 * 1024,
        ..CollectorLimits::default()
    }
}

impl Fixture {
    pub fn new() -> Self {
        Self::with_limits(CollectorLimits::default())
    }

    pub fn with_limits(limits: CollectorLimits) -> Self {
        let log = MemoryLog::new();
        let collector = collector_over(Arc::clone(&log) as Arc<dyn EventLog>, limits);
        Self { log, router: collector.router(), collector }
    }

    /// Sends `body` to the default stream, as `curl --data-binary` would without headers.
    pub async fn post(&self, body: impl Into<Body>) -> Answer {
        self.send(Request::post("/events").body(body.into()).unwrap()).await
    }

    pub async fn post_with(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post("/events");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        send(self.router.clone(), request).await
    }

    /// What the log has of stream `logs`.
    pub fn logged(&self) -> Vec<String> {
        self.log.events("logs")
    }
}

pub fn collector_over(log: Arc<dyn EventLog>, limits: CollectorLimits) -> Arc<Collector> {
    let name = |name| StreamName::new(name).unwrap();
    let clicks = StreamRoute {
        topic: "web-clicks".into(),
        event_bytes_max: 100,
        depth_max: 3,
        ..StreamRoute::new(name("clicks"))
    };
    let streams = vec![StreamRoute::new(name("logs")), clicks];
    let options = CollectorOptions { streams, default_stream: name("logs"), limits };
    Collector::new(options, log, Clock::system())
}

pub async fn send(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let json = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    Answer { status: parts.status, headers: parts.headers, json }
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub json: Value,
}

impl Answer {
    /// The status must be 200; gives the number of events taken.
    #[track_caller]
    pub fn accepted(&self) -> u64 {
        assert_eq!(self.status, StatusCode::OK, "{}", self.json);
        assert!(self.json["receipt"].is_string(), "{}", self.json);
        self.json["accepted"].as_u64().unwrap()
    }

    /// Index and code of each rejected event.
    #[track_caller]
    pub fn rejected(&self) -> Vec<(u64, &str)> {
        let rejected =
            self.json["rejected"].as_array().unwrap_or_else(|| panic!("no verdicts in {}", self.json));
        rejected
            .iter()
            .map(|one| {
                assert!(!one["message"].as_str().unwrap().is_empty());
                (one["index"].as_u64().unwrap(), one["code"].as_str().unwrap())
            })
            .collect()
    }

    /// The answer must be an error in the agreed form.
    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.json["code"].as_str()), (status, Some(code)), "{}", self.json);
        assert!(!self.json["message"].as_str().unwrap().is_empty());
        assert!(self.json["receipt"].is_null(), "an error must acknowledge nothing: {}", self.json);
    }

    #[track_caller]
    pub fn message(&self) -> &str {
        self.json["message"].as_str().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
