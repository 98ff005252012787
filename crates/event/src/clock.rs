//! The one door for time, randomness and ids.
//!
//! `clippy.toml` bans the other ways in, so that a simulator can own both.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// Wall clock, monotonic clock and randomness.
///
/// Safety never rests on it: time decides when to flush, never what is committed.
#[derive(Clone)]
pub struct Clock(Arc<dyn Source>);

trait Source: Send + Sync {
    fn wall(&self) -> TimestampMicros;
    fn monotonic(&self) -> Duration;
    fn random(&self, bytes: &mut [u8]);
}

impl Clock {
    /// The machine's clocks and randomness.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        let origin = Instant::now();
        Self(Arc::new(System { origin }))
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
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// The future's output, or `None` when it took longer than `duration`; it is dropped then.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(duration, future).await.ok()
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

struct System {
    origin: Instant,
}

impl Source for System {
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
}
