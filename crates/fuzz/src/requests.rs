//! A log in memory, and requests to a collector in front of it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use bytes::Bytes;
use collector::{Collector, CollectorLimits, CollectorOptions, StreamRoute};
use event::{Clock, Offset, PartitionId, Positions, StreamName};
use eventlog::{Ahead, Consumer, EventLog, LogError, Placement, TopicDescription};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// Small, so that inputs reach them.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Events of one request that are too many.
pub(crate) const EVENTS_MAX: usize = 100;

/// Keeps the events of one request.
#[derive(Debug, Default)]
struct MemoryLog(Mutex<Vec<Bytes>>);

fn no_log() -> LogError {
    LogError::Unavailable { place: "memory".to_owned(), reason: "it only takes events".to_owned() }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, _: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        let offsets = 0..payloads.len() as u64;
        *self.0.lock().map_err(|_| no_log())? = payloads;
        Ok(offsets.map(|offset| Placement { partition: PartitionId(0), offset: Offset(offset) }).collect())
    }

    async fn describe(&self, _: &str) -> Result<TopicDescription, LogError> {
        Err(no_log())
    }

    async fn read(&self, _: &str, _: &Positions, _: usize) -> Result<Ahead, LogError> {
        Err(no_log())
    }

    fn consumer(&self, _: &str, _: &str) -> Result<Box<dyn Consumer>, LogError> {
        Err(no_log())
    }

    async fn landed(&self, _: &str, _: &Positions) -> Result<(), LogError> {
        Err(no_log())
    }
}

/// What was answered, and what the log has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) json: Value,
    pub(crate) logged: Vec<Bytes>,
}

/// A collector of the stream `logs` that answers on this thread.
pub(crate) struct Bench {
    runtime: Runtime,
    log: Arc<MemoryLog>,
    router: Router,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let log = Arc::new(MemoryLog::default());
        let name = StreamName::new("logs").expect("logs can be a name");
        let limits = CollectorLimits {
            body_bytes_max: BODY_BYTES_MAX,
            body_decompressed_bytes_max: 4 * BODY_BYTES_MAX,
            request_events_max: EVENTS_MAX,
            ..CollectorLimits::default()
        };
        let options =
            CollectorOptions { streams: vec![StreamRoute::new(name.clone())], default_stream: name, limits };
        let router = Collector::new(options, log.clone(), Clock::system()).router();
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        Self { runtime, log, router }
    }

    /// Sends a request. Every answer has a body of JSON, and nothing is a bug of the collector's.
    pub(crate) fn send(&self, request: Request<Body>) -> Outcome {
        self.log.0.lock().expect("no request panics while it holds the log").clear();
        let (status, body) = self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("a router answers");
            let status = response.status().as_u16();
            (status, to_bytes(response.into_body(), usize::MAX).await.expect("an answer has an end"))
        });
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        assert!(status < 500, "{status} {json}");
        let logged = self.log.0.lock().expect("no request panics while it holds the log").clone();
        Outcome { status, json, logged }
    }
}
