//! What lies between a process and a server: requests and answers that are late, lost or doubled.
//!
//! A request, once sent, is a task of the network, not of its sender: it arrives although its sender
//! was killed, paused, or gave up waiting.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::chance::Chance;
use crate::executor::{Executor, ProcessId, WORLD};

/// How often what goes wrong, in times out of 1,000.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// The request is lost; the sender hears of an error.
    pub lost_before: u32,
    /// The request is done; the sender hears of an error.
    pub lost_after: u32,
    /// The sender hears of an error, and the request is done long after.
    pub late: u32,
    /// The request is done, and done again long after.
    pub doubled: u32,
    /// Request or answer take seconds.
    pub slow: u32,
    /// A read is answered from a state of some seconds ago.
    pub stale: u32,
    /// A conditional create is refused though nothing is there (S3's 409), or though it just worked
    /// (a client's own repetition meets what its first attempt made: 412).
    pub unsure: u32,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Done and answered.
    Fine,
    /// Never done, answered by an error.
    LostBefore,
    /// Done, answered by an error.
    LostAfter,
    /// Answered by an error, done after this long.
    Late(Duration),
    /// Done, answered, and done again after this long.
    Doubled(Duration),
}

/// The way from one process to one kind of server. Clones share the weather.
#[derive(Debug, Clone)]
pub struct Network {
    executor: Executor,
    weather: Arc<Mutex<Weather>>,
}

#[derive(Debug, Default)]
struct Weather {
    rates: Rates,
    down_until: Duration,
}

/// The server did not answer, or not with what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

impl Network {
    /// A network in which things go wrong at `rates`.
    #[must_use]
    pub fn new(executor: &Executor, rates: Rates) -> Self {
        let weather = Weather { rates, down_until: Duration::ZERO };
        Self { executor: executor.clone(), weather: Arc::new(Mutex::new(weather)) }
    }

    /// From now on nothing goes wrong, except what is on its way already.
    pub fn calm(&self) {
        *self.weather() = Weather::default();
    }

    /// The server answers nothing for `duration`.
    pub fn take_down(&self, duration: Duration) {
        let until = self.executor.now() + duration;
        let weather = &mut *self.weather();
        weather.down_until = weather.down_until.max(until);
    }

    /// Whether something that goes wrong `rate` times does so now.
    #[must_use]
    pub fn is_struck(&self, rate: impl FnOnce(&Rates) -> u32) -> bool {
        let rate = rate(&self.weather().rates);
        rate > 0 && self.executor.draw(|chance| chance.is_lucky(rate))
    }

    fn weather(&self) -> std::sync::MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request that changes something. `apply` is what the server does; it may be called
    /// never, once or twice, and later than the answer.
    pub async fn send<T: Send + 'static>(
        &self,
        sender: ProcessId,
        what: String,
        apply: impl Fn() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        let (network, is_down, fate) = (self.clone(), self.is_down(), self.draw_fate());
        self.executor.spawn(WORLD, async move {
            network.pause().await;
            let outcome = network.carry(sender, &what, fate, is_down, &apply);
            network.pause().await;
            // The sender may be gone.
            let _ = answer.send(outcome);
            if let (Fate::Late(after) | Fate::Doubled(after), false) = (fate, is_down) {
                network.executor.sleep(after).await;
                network.executor.trace(sender, || format!("{what}: arrives late"));
                apply();
            }
        });
        answered.await.unwrap_or(Err(NoAnswer))
    }

    fn carry<T>(
        &self,
        sender: ProcessId,
        what: &str,
        fate: Fate,
        is_down: bool,
        apply: &impl Fn() -> T,
    ) -> Result<T, NoAnswer> {
        let trace = |how: &str| self.executor.trace(sender, || format!("{what}{how}"));
        if is_down {
            trace(": server down");
            return Err(NoAnswer);
        }
        match fate {
            Fate::Fine | Fate::Doubled(_) => {
                trace("");
                Ok(apply())
            }
            Fate::LostBefore => {
                trace(": lost on the way");
                Err(NoAnswer)
            }
            Fate::LostAfter => {
                trace(": answer lost");
                apply();
                Err(NoAnswer)
            }
            Fate::Late(_) => {
                trace(": delayed, sender told of an error");
                Err(NoAnswer)
            }
        }
    }

    /// Sends a request that only reads.
    pub async fn ask<T: Send + 'static>(
        &self,
        sender: ProcessId,
        what: String,
        read: impl Fn() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        self.pause().await;
        let is_lost = self.is_down() || self.is_struck(|rates| rates.lost_before);
        self.executor.trace(sender, || format!("{what}{}", if is_lost { ": no answer" } else { "" }));
        let answer = if is_lost { Err(NoAnswer) } else { Ok(read()) };
        self.pause().await;
        answer
    }

    fn is_down(&self) -> bool {
        self.executor.now() < self.weather().down_until
    }

    fn draw_fate(&self) -> Fate {
        let rates = self.weather().rates;
        self.executor.draw(|chance| fate(rates, chance))
    }

    /// The way there or back.
    async fn pause(&self) {
        let slow = self.weather().rates.slow;
        let micros = self.executor.draw(|chance| {
            if chance.is_lucky(slow) {
                chance.within(1_000_000..30_000_000)
            } else {
                chance.within(200..30_000)
            }
        });
        self.executor.sleep(Duration::from_micros(micros)).await;
    }
}

fn fate(rates: Rates, chance: &mut Chance) -> Fate {
    let after = |chance: &mut Chance| Duration::from_millis(chance.within(500..120_000));
    let mut drawn = u32::try_from(chance.below(1_000)).unwrap_or(0);
    let mut is = |rate: u32| {
        let hit = drawn < rate;
        drawn = drawn.saturating_sub(rate);
        hit
    };
    if is(rates.lost_before) {
        Fate::LostBefore
    } else if is(rates.lost_after) {
        Fate::LostAfter
    } else if is(rates.late) {
        Fate::Late(after(chance))
    } else if is(rates.doubled) {
        Fate::Doubled(after(chance))
    } else {
        Fate::Fine
    }
}
