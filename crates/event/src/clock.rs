//! The one door for time, randomness, ids and tasks.
//!
//! `clippy.toml` bans the other ways in, so that a simulator can own them ([`ClockSource`]).

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Microseconds since 1970-01-01T00:00:00Z, leap seconds ignored, negative before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampMicros(pub i64);

const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

impl TimestampMicros {
    /// Days since 1970-01-01 of the UTC day this moment lies in.
    #[must_use]
    pub fn day(self) -> i32 {
        // i64::MAX micros are 106,751,991 days: the quotient always fits.
        i32::try_from(self.0.div_euclid(MICROS_PER_DAY))
            .expect("microseconds in an i64 span fewer days than an i32 holds")
    }
}

/// Wall clock, monotonic clock, randomness, and what runs by them: sleeps and tasks.
///
/// Safety never rests on it: time decides when to flush, never what is committed.
#[derive(Clone)]
pub struct Clock(Arc<dyn ClockSource>);

/// A future on the heap, as sources take and give them.
pub type BoxFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where time, chance and tasks come from: the machine, or a simulator.
pub trait ClockSource: Send + Sync {
    /// Now, by the wall clock. May jump, also backwards.
    fn wall(&self) -> TimestampMicros;

    /// Time since some fixed moment. Never goes back.
    fn monotonic(&self) -> Duration;

    /// Fills `bytes` with what nobody can guess.
    fn random(&self, bytes: &mut [u8]);

    /// Completes after `duration` of monotonic time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static>;

    /// Runs `task` beside its caller, to its end.
    fn spawn(&self, task: BoxFuture<'static>);

    /// Runs `work`, which goes on by threads of its own rather than by being polled. The machine
    /// just polls it; a simulator has to wait for it, since it does not own those threads.
    fn outside<'a>(&self, work: BoxFuture<'a>) -> BoxFuture<'a> {
        work
    }
}

impl Clock {
    /// The machine's clocks and randomness, and tokio's tasks.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        let origin = Instant::now();
        Self::of(Arc::new(System { origin }))
    }

    /// The clock of `source`.
    #[must_use]
    pub fn of(source: Arc<dyn ClockSource>) -> Self {
        Self(source)
    }

    /// Now, by the wall clock. May jump, also backwards.
    #[must_use]
    pub fn now(&self) -> TimestampMicros {
        self.0.wall()
    }

    /// Time since some fixed moment. Never goes back; for measuring and for deadlines.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    /// Completes after `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }

    /// The future's output, or `None` when it took longer than `duration`; it is dropped then.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut sleep = self.0.sleep(duration);
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// Runs `future` as a task of its own, which goes on when the returned value is dropped.
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let (sender, receiver) = oneshot::channel();
        self.0.spawn(Box::pin(async move {
            // Nobody waits for the output any more when the receiver is gone.
            let _ = sender.send(future.await);
        }));
        Task(receiver)
    }

    /// The output of `work`, which goes on by threads of its own: see [`ClockSource::outside`].
    ///
    /// # Panics
    /// When the source drops `work` instead of finishing it.
    pub async fn outside<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        let mut output = None;
        self.0.outside(Box::pin(async { output = Some(work.await) })).await;
        output.expect("a source completes only after the work has")
    }

    /// A new time-ordered id (UUID version 7, RFC 9562), in its usual text form.
    #[must_use]
    pub fn new_id(&self) -> String {
        let mut random = [0_u8; 10];
        self.0.random(&mut random);
        let millis = u64::try_from(self.now().0 / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
    }

    /// A number from 0 up to, not including, `bound`; 0 when `bound` is 0.
    #[must_use]
    pub fn random_below(&self, bound: u64) -> u64 {
        let mut random = [0_u8; 8];
        self.0.random(&mut random);
        u64::from_le_bytes(random).checked_rem(bound).unwrap_or(0)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The output of a task, once it has ended.
#[derive(Debug)]
pub struct Task<T>(oneshot::Receiver<T>);

/// A task ended without an output: it panicked, or the process is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task ended without an output; if the process is not ending, it panicked")]
pub struct TaskLost;

impl<T> Future for Task<T> {
    type Output = Result<T, TaskLost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| TaskLost)
    }
}

struct System {
    origin: Instant,
}

impl ClockSource for System {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn wall(&self) -> TimestampMicros {
        let micros = match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m),
        };
        TimestampMicros(micros)
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes)
            .expect("the operating system's random source does not fail once it has started");
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        tokio::spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_before_1970_is_the_day_it_lies_in() {
        assert_eq!(TimestampMicros(-1).day(), -1);
        assert_eq!(TimestampMicros(0).day(), 0);
        assert_eq!(TimestampMicros(MICROS_PER_DAY - 1).day(), 0);
        assert_eq!(TimestampMicros(i64::MAX).day(), 106_751_991);
        assert_eq!(TimestampMicros(i64::MIN).day(), -106_751_992);
    }

    #[test]
    fn ids_are_unique_and_of_version_seven() {
        let clock = Clock::system();
        let (a, b) = (clock.new_id(), clock.new_id());
        assert_ne!(a, b);
        assert_eq!(&a[14..15], "7");
    }

    #[tokio::test]
    async fn a_timeout_ends_what_takes_too_long_and_nothing_else() {
        let clock = Clock::system();
        assert_eq!(clock.timeout(Duration::ZERO, std::future::ready(1)).await, Some(1));
        assert_eq!(clock.timeout(Duration::ZERO, std::future::pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_lost_and_one_that_ends_is_not() {
        let clock = Clock::system();
        assert_eq!(clock.spawn(async { 1 }).await, Ok(1));
        let panics: Task<()> = clock.spawn(async { panic!("a test's panic") });
        assert_eq!(panics.await, Err(TaskLost));
    }
}
