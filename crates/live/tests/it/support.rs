//! What the tests share.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::http::{Method, Request, Response, StatusCode, header};
use event::{Clock, StreamName};
use futures::StreamExt;
use live::{Live, LiveOptions, LiveStream, Progress, RunSql};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::memory_log::MemoryLog;

/// Far beyond what anything here takes; a test that reaches it hangs for good.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A running live server on a log in memory.
pub struct Served {
    pub live: Arc<Live>,
    pub log: Arc<MemoryLog>,
    pub progress: watch::Sender<Progress>,
    pub shutdown: CancellationToken,
    pub clock: Clock,
}

pub fn logs() -> StreamName {
    StreamName::new("logs").unwrap()
}

/// Serves stream `logs` and waits until its end is followed.
pub async fn serve(partition_count: usize) -> Served {
    let served = start(partition_count);
    served.wait_for(|stats| stats["log"]["state"] == "following").await;
    served
}

/// Serves stream `logs` without SQL.
pub fn start(partition_count: usize) -> Served {
    start_with(partition_count, |_, _| None)
}

/// Serves stream `logs` with the SQL that is made of its log.
pub fn start_with(
    partition_count: usize,
    make_sql: impl FnOnce(Arc<MemoryLog>, &Clock) -> Option<RunSql>,
) -> Served {
    let clock = Clock::system();
    let log = Arc::new(MemoryLog::new(partition_count, clock.clone()));
    let run_sql = make_sql(log.clone(), &clock);
    let (progress, told) = watch::channel(Progress::new());
    let options = LiveOptions { streams: vec![LiveStream::new(logs())] };
    let live = Live::new(options, log.clone(), told, run_sql, clock.clone());
    let shutdown = CancellationToken::new();
    tokio::spawn(live.clone().run(shutdown.clone()));
    Served { live, log, progress, shutdown, clock }
}

impl Served {
    pub async fn request(&self, request: Request<Body>) -> Response<Body> {
        self.live.router().oneshot(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Response<Body> {
        self.request(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn json(&self, path: &str) -> Value {
        json(self.get(path).await).await.1
    }

    pub async fn stats(&self) -> Value {
        self.json("/live/logs/stats").await
    }

    /// The numbers, once they are as wanted.
    pub async fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let waiting = async {
            loop {
                last = self.stats().await;
                if wanted(&last) {
                    return;
                }
                self.clock.sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let reached = self.clock.timeout(PATIENCE, waiting).await.is_some();
        assert!(reached, "never reached; the numbers were {last}");
        last
    }

    /// Waits until so many events were counted.
    pub async fn wait_for_events(&self, count: u64) {
        self.wait_for(|stats| stats["log"]["events_total"] == count).await;
    }

    /// Connects to the event stream.
    pub async fn events(&self, query: &str) -> EventStream {
        let response = self.get(&format!("/live/logs/events{query}")).await;
        EventStream::new(response, self.clock.clone())
    }
}

pub fn post(path: &str, content_type: &str, accept: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let request =
        Request::builder().method(Method::POST).uri(path).header(header::CONTENT_TYPE, content_type);
    let request = match accept {
        Some(accept) => request.header(header::ACCEPT, accept),
        None => request,
    };
    request.body(body.into()).unwrap()
}

pub async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub async fn json(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let text = text(response).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// Server-sent events, read by the rules of the HTML standard.
pub struct EventStream {
    body: BodyDataStream,
    unread: String,
    clock: Clock,
}

/// One message.
#[derive(Debug, PartialEq)]
pub struct Message {
    pub kind: String,
    pub id: Option<String>,
    pub data: Value,
}

impl EventStream {
    pub fn new(response: Response<Body>, clock: Clock) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), unread: String::new(), clock }
    }

    /// The next message; `None` at the end. Comments and empty messages are skipped.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let message = parse(block);
                self.unread = rest.to_owned();
                match message {
                    Some(message) => return Some(message),
                    None => continue,
                }
            }
            let chunk =
                self.clock.timeout(PATIENCE, self.body.next()).await.expect("the stream stays silent")?;
            self.unread.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    /// The next `count` messages.
    pub async fn take(&mut self, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(self.next().await.expect("the stream goes on"));
        }
        messages
    }
}

fn parse(block: &str) -> Option<Message> {
    let (mut kind, mut id, mut data) = ("message".to_owned(), None, Vec::new());
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("data", value)) => data.push(value),
            Some(("event", value)) => kind = value.to_owned(),
            Some(("id", value)) => id = Some(value.to_owned()),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| Message { kind, id, data: serde_json::from_str(&data.join("\n")).unwrap() })
}
