//! Looking at events while they arrive: the live page and what it is fed from.
//!
//! One task per stream follows the end of the log ([`tail`]) and feeds rolling counts and a short
//! queue of the newest events; HTTP serves both, the page itself, and SQL over it all. Nothing here
//! is durable and nothing waits for it: a reader that is slow is told what it missed.

/// What one stream's task keeps: counts, newest events, how it goes.
mod stream;
/// Follows the end of one stream's log.
mod tail;
/// The action an event names, found without reading the rest of it.
mod action;
/// Events per second and by action over the last ten minutes.
mod counts;
/// The newest events, and how readers follow them.
mod feed;
/// What the loader has landed, as it is given to us.
mod progress;
/// `GET /live/{stream}/stats`: all numbers of a stream as JSON.
mod stats;
/// `GET /live/{stream}/events`: events as server-sent events.
mod sse;
/// `POST /sql`.
mod sql;
/// `GET /` and `/assets/*`: the page, embedded.
mod page;
/// Error bodies.
mod answer;
/// Routes to handlers.
mod router;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use event::{Clock, StreamName};
use eventlog::EventLog;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use progress::{Progress, StreamProgress};
pub use sql::{RunSql, run_sql};

use stream::StreamState;

/// What the live page shows, and of which fields.
#[derive(Debug, Clone, Default)]
pub struct LiveOptions {
    /// The streams, the one shown first in front.
    pub streams: Vec<LiveStream>,
}

/// One stream of the live page.
#[derive(Debug, Clone)]
pub struct LiveStream {
    /// Its name in URLs.
    pub name: StreamName,
    /// Its topic in the log.
    pub topic: String,
    /// Top-level field whose text events are counted by, usually `action`.
    pub action_field: String,
    /// Top-level field that says when the event happened, usually `timestamp`: the page shows it.
    pub event_time_field: String,
    /// Top-level field that says who did it, usually `user_id`: the page shows it.
    pub user_field: String,
}

impl LiveStream {
    /// A stream whose topic and fields have their usual names.
    #[must_use]
    pub fn new(name: StreamName) -> Self {
        Self {
            topic: name.as_str().to_owned(),
            name,
            action_field: "action".to_owned(),
            event_time_field: "timestamp".to_owned(),
            user_field: "user_id".to_owned(),
        }
    }
}

/// The live page's server: [`Live::router`] answers, [`Live::run`] feeds it.
pub struct Live {
    streams: BTreeMap<StreamName, Arc<StreamState>>,
    order: Vec<StreamName>,
    log: Arc<dyn EventLog>,
    progress: watch::Receiver<Progress>,
    run_sql: Option<RunSql>,
    clock: Clock,
    closing: CancellationToken,
}

impl Live {
    /// Prepares the streams; nothing is read before [`Live::run`].
    ///
    /// `progress` has an entry for each stream a loader of this process works on; where there is
    /// none, lag and freshness are shown as unknown. Without `run_sql`, `POST /sql` answers 503.
    #[must_use]
    pub fn new(
        options: LiveOptions,
        log: Arc<dyn EventLog>,
        progress: watch::Receiver<Progress>,
        run_sql: Option<RunSql>,
        clock: Clock,
    ) -> Arc<Self> {
        let order = options.streams.iter().map(|stream| stream.name.clone()).collect();
        let streams = options
            .streams
            .into_iter()
            .map(|stream| (stream.name.clone(), Arc::new(StreamState::new(stream, &clock))))
            .collect();
        let closing = CancellationToken::new();
        Arc::new(Self { streams, order, log, progress, run_sql, clock, closing })
    }

    /// `GET /`, `/assets/*`, `/live/*` and `POST /sql`.
    pub fn router(self: &Arc<Self>) -> axum::Router {
        router::router(Arc::clone(self))
    }

    /// Follows all streams until `shutdown`; then open event streams end too, so that a graceful
    /// server is not held up by them.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let tails = self.streams.values().map(|state| {
            tail::Tail::new(Arc::clone(state), Arc::clone(&self.log), self.clock.clone())
                .run(shutdown.clone())
        });
        futures::future::join(futures::future::join_all(tails), shutdown.cancelled()).await;
        self.closing.cancel();
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("streams", &self.order).finish_non_exhaustive()
    }
}
