//! One topic: which way its events take.
//!
//! Direct, until the log takes none; then onto disk, until the disk's last event is in the log. The
//! door makes the way back safe: whoever writes to disk holds it open, and it is closed while the
//! last piece goes over, so that no event slips onto the disk behind the forwarder's back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use event::{ErrorKind, Offset, OffsetRange};
use tokio::sync::{Notify, RwLock, RwLockWriteGuard};

use super::mark::Mark;
use super::{NotAppended, Primary, Spool, SpooledRange, Taken, telemetry};
use crate::{EventLog as _, LogError, Placement};

/// Which way events of a topic take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Into the log.
    Direct,
    /// Onto the spool's disk.
    Spool,
}

/// How a topic is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// Which way its events take now.
    pub route: Route,
    /// Events on disk that are not in the log yet.
    pub waiting_events: u64,
    /// Why the log took none when it was last tried, if it did not.
    pub trouble: Option<String>,
}

/// One topic at work.
pub(super) struct Lane {
    pub(super) topic: String,
    pub(super) primary: Arc<dyn Primary>,
    pub(super) spool: Arc<Spool>,
    pub(super) mark: Mark,
    state: Mutex<State>,
    door: RwLock<()>,
    wake: Notify,
    /// One behind the last offset on disk, and the first that is not in the log.
    spooled_end: AtomicU64,
    forwarded_end: AtomicU64,
}

struct State {
    route: Route,
    trouble: Option<String>,
}

impl Lane {
    /// The lane of a topic of which the spool holds `held`.
    pub(super) fn new(topic: &str, held: OffsetRange, primary: Arc<dyn Primary>, spool: Arc<Spool>) -> Self {
        let mark = Mark::new(&spool.options.folder, topic);
        // With a mark left by a crash, the forwarder tidies up first.
        let is_clean = held.is_empty() && mark.is_set().is_ok_and(|set| !set);
        let route = if is_clean { Route::Direct } else { Route::Spool };
        let lane = Self {
            topic: topic.to_owned(),
            primary,
            spool,
            mark,
            state: Mutex::new(State { route, trouble: None }),
            door: RwLock::new(()),
            wake: Notify::new(),
            spooled_end: AtomicU64::new(held.end().0),
            forwarded_end: AtomicU64::new(held.start().0),
        };
        lane.measure();
        lane
    }

    /// As `EventLog::take`.
    pub(super) async fn take(&self, payloads: Vec<Bytes>) -> Result<Taken, LogError> {
        loop {
            if self.is_direct() {
                match self.primary.try_append(&self.topic, &payloads).await {
                    Ok(placements) => return Ok(Taken::InLog(placements)),
                    Err(failure) => self.divert(failure)?,
                }
            }
            let _open = self.door.read().await;
            // Drained while we stood at the door: then the log takes events again.
            if !self.is_direct() {
                return self.onto_disk(payloads).await.map(Taken::Spooled);
            }
        }
    }

    /// As `SpooledLog::append`.
    pub(super) async fn append(&self, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        if !self.is_direct() {
            return Err(LogError::Unavailable {
                place: self.spool.place(),
                reason: format!("events of topic {:?} wait here and must go first", self.topic),
            });
        }
        self.primary.try_append(&self.topic, &payloads).await.map_err(|failure| failure.error)
    }

    /// Sends what comes from now on to disk, if the failure is one that passes. What may be in the log
    /// already must not be put there a second time: whoever sent it is told, and decides.
    fn divert(&self, failure: NotAppended) -> Result<(), LogError> {
        let NotAppended { error, nothing_taken } = failure;
        if error.kind() != ErrorKind::Unavailable {
            return Err(error);
        }
        if self.set_route(Route::Spool, Some(error.to_string())) == Route::Direct {
            tracing::warn!(topic = self.topic, %error, "the log takes no events; they go to the spool");
        }
        self.wake.notify_one();
        if nothing_taken { Ok(()) } else { Err(error) }
    }

    async fn onto_disk(&self, payloads: Vec<Bytes>) -> Result<SpooledRange, LogError> {
        let bytes: usize = payloads.iter().map(Bytes::len).sum();
        self.check_room(bytes as u64)?;
        let placements = self.spool.log.append(&self.topic, payloads).await?;
        let (Some(first), Some(last)) = (placements.first(), placements.last()) else {
            let end = Offset(self.spooled_end.load(Ordering::Relaxed));
            return Ok(self.spooled(OffsetRange::new(end, end)));
        };
        let range = OffsetRange::new(first.offset, last.offset.next());
        self.spooled_end.fetch_max(range.end().0, Ordering::Relaxed);
        telemetry::taken(&self.topic, range.offset_count());
        self.measure();
        self.wake.notify_one();
        Ok(self.spooled(range))
    }

    fn spooled(&self, range: OffsetRange) -> SpooledRange {
        SpooledRange { spool: self.spool.log.folder_id().to_owned(), range }
    }

    fn check_room(&self, bytes: u64) -> Result<(), LogError> {
        let (held, most) = (self.spool.stored_bytes(), self.spool.options.bytes_max);
        if held + bytes <= most {
            return Ok(());
        }
        Err(LogError::Full {
            place: self.spool.place(),
            reason: format!(
                "it holds {held} of at most {most} bytes; it empties when the log is back, or raise `spool_bytes`"
            ),
        })
    }

    /// How it is doing.
    pub(super) fn status(&self) -> LaneStatus {
        let state = self.lock();
        LaneStatus {
            route: state.route,
            waiting_events: self.waiting_events(),
            trouble: state.trouble.clone(),
        }
    }

    pub(super) fn is_direct(&self) -> bool {
        self.lock().route == Route::Direct
    }

    /// Waits until events go to disk.
    pub(super) async fn woken(&self) {
        while self.is_direct() {
            self.wake.notified().await;
        }
    }

    /// Waits until nobody writes to disk, and holds off whoever comes.
    pub(super) async fn close_door(&self) -> RwLockWriteGuard<'_, ()> {
        self.door.write().await
    }

    /// The disk's last event is in the log, and the door is closed.
    pub(super) fn set_direct(&self, _closed: &RwLockWriteGuard<'_, ()>) {
        self.set_route(Route::Direct, None);
        self.measure();
    }

    /// Notes why forwarding broke off. Whether there was no such trouble before.
    pub(super) fn note_trouble(&self, error: &LogError) -> bool {
        self.lock().trouble.replace(error.to_string()).is_none()
    }

    /// Forwarding works (again). Whether it did not before.
    pub(super) fn clear_trouble(&self) -> bool {
        self.lock().trouble.take().is_some()
    }

    /// Notes that everything below `next` is in the log.
    pub(super) fn note_forwarded(&self, next: Offset) {
        self.forwarded_end.fetch_max(next.0, Ordering::Relaxed);
        self.measure();
    }

    /// Whether all of `range` is in the log; `None` when some of it was never here.
    pub(super) fn forwarded_part(&self, range: OffsetRange) -> Option<bool> {
        let was_here = range.end().0 <= self.spooled_end.load(Ordering::Relaxed);
        was_here.then(|| range.end().0 <= self.forwarded_end.load(Ordering::Relaxed))
    }

    fn waiting_events(&self) -> u64 {
        let end = self.spooled_end.load(Ordering::Relaxed);
        end.saturating_sub(self.forwarded_end.load(Ordering::Relaxed))
    }

    fn measure(&self) {
        telemetry::holds(&self.topic, self.waiting_events(), self.spool.stored_bytes());
    }

    fn set_route(&self, route: Route, trouble: Option<String>) -> Route {
        let mut state = self.lock();
        state.trouble = trouble;
        std::mem::replace(&mut state.route, route)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
