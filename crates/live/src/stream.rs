//! What one stream's task keeps: counts, newest events, how it goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event::limits::LIVE_READERS_MAX;
use event::{Clock, LogId, Positions};
use tokio::sync::Semaphore;

use crate::LiveStream;
use crate::counts::Counts;
use crate::feed::Feed;

/// State of one stream, shared between its task and the handlers.
#[derive(Debug)]
pub(crate) struct StreamState {
    /// What was configured.
    pub(crate) stream: LiveStream,
    /// Tells this run's sequence numbers from those of a run before.
    pub(crate) epoch: String,
    /// Rolling counts.
    pub(crate) counts: Mutex<Counts>,
    /// Newest events.
    pub(crate) feed: Feed,
    /// How the following goes.
    pub(crate) status: Mutex<Status>,
    /// Places for readers.
    pub(crate) readers: Arc<Semaphore>,
}

/// How following the log goes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Status {
    /// What is going on.
    pub(crate) log: LogState,
    /// The log that is followed, once it was reached.
    pub(crate) id: Option<LogId>,
    /// First offset not yet read, per partition.
    pub(crate) position: Positions,
    /// The log's end as it was last asked for; may be behind `position`.
    pub(crate) end: Positions,
    /// Offsets that were skipped since the start, so they are in no count.
    pub(crate) skipped_total: u64,
    /// Events counted since the start.
    pub(crate) events_total: u64,
}

/// Whether the log can be read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) enum LogState {
    /// Not reached yet.
    #[default]
    Starting,
    /// Its end is followed.
    Following,
    /// It cannot be read now; tried again all the time.
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl StreamState {
    /// Nothing read yet.
    pub(crate) fn new(stream: LiveStream, clock: &Clock) -> Self {
        Self {
            stream,
            epoch: format!("{:08x}", clock.random_below(1 << 32)),
            counts: Mutex::new(Counts::new()),
            feed: Feed::new(),
            status: Mutex::default(),
            readers: Arc::new(Semaphore::new(LIVE_READERS_MAX)),
        }
    }
}

impl Status {
    /// The newest known end of each partition.
    pub(crate) fn newest(&self) -> Positions {
        let mut newest = self.end.clone();
        for (partition, position) in self.position.iter() {
            if newest.get(partition).is_none_or(|end| end < position) {
                newest.set(partition, position);
            }
        }
        newest
    }
}

/// Locks `mutex`. What is kept here is numbers for people: they stay usable after a panic elsewhere.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
