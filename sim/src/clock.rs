//! Time, chance and tasks of one simulated process, behind `event::Clock`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use event::clock::{BoxFuture, ClockSource, TimestampMicros};
use event::{Clock, limits};

use crate::executor::{Executor, ProcessId, outside};

/// Wall time of the start, when no clock is wrong: 2025-11-25T23:50:00Z, so that days change early.
pub const START: TimestampMicros = TimestampMicros(1_764_114_600_000_000);

/// The wall clock of one machine, which may be wrong by any amount. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    off_by_micros: Arc<AtomicI64>,
}

impl WallClock {
    /// Puts it forward or back.
    pub fn jump(&self, by_micros: i64) {
        self.off_by_micros.fetch_add(by_micros, Ordering::Relaxed);
    }

    fn at(&self, since_start: Duration) -> TimestampMicros {
        let elapsed = i64::try_from(since_start.as_micros()).unwrap_or(i64::MAX);
        TimestampMicros(
            START.0.saturating_add(elapsed).saturating_add(self.off_by_micros.load(Ordering::Relaxed)),
        )
    }
}

/// The clock of `process` on a machine with `wall`.
#[must_use]
pub fn clock(executor: &Executor, process: ProcessId, wall: &WallClock) -> Clock {
    Clock::of(Arc::new(Source { executor: executor.clone(), process, wall: wall.clone() }))
}

struct Source {
    executor: Executor,
    process: ProcessId,
    wall: WallClock,
}

impl ClockSource for Source {
    fn wall(&self) -> TimestampMicros {
        self.wall.at(self.executor.now())
    }

    fn monotonic(&self) -> Duration {
        self.executor.now()
    }

    fn random(&self, bytes: &mut [u8]) {
        self.executor.draw(|chance| chance.fill(bytes));
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        Box::pin(self.executor.sleep(duration.min(limits::STORE_REQUEST_DEADLINE * 1_000)))
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        self.executor.spawn_boxed(self.process, task);
    }

    /// Waits in real time, while the simulation stands still.
    fn outside<'a>(&self, work: BoxFuture<'a>) -> BoxFuture<'a> {
        Box::pin(async move { outside(|| runtime().block_on(work)) })
    }
}

/// Threads for libraries that bring their own way to run.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("the machine has threads to start with")
    })
}
