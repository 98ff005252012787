//! Stage 1, which never waits for the lake: polls the log.
//!
//! When the worker is behind, fetching pauses but polling goes on, so that the group never takes
//! a busy loader for a dead one (databricks/iceberg-kafka-connect 231).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use event::{PartitionId, Positions};
use eventlog::{Consumer, Fetched, LogError, Polled};

/// Counts the starts that were ordered. A fetch carries the number of the start it follows: what was
/// read before a start and is still on its way may begin at the very offset that is expected after it.
pub type Generation = u64;

/// What the worker hears from the log.
#[derive(Debug)]
pub enum Heard {
    /// The group's doings; records come as [`Heard::Fetched`].
    Polled(Polled),
    /// Records, and the start they follow.
    Fetched(Fetched, Generation),
    /// A poll failed; it will be tried again.
    PollFailed(LogError),
    /// An order failed: what it asked for has not begun.
    OrderFailed(LogError),
}

/// What the worker asks of the consumer.
#[derive(Debug)]
pub enum Order {
    /// Deliver these partitions from these positions on, as this generation.
    Start(Positions, Generation),
    /// The revoked partitions are settled.
    Release(Vec<PartitionId>),
    /// The table is this far.
    Advise(Positions),
}

/// A consumer, and what it brought that the worker has not taken yet.
///
/// A turn is: [`Desk::obey`] every order there is, hand over with [`Desk::next_heard`] what the
/// worker has room for, then [`Desk::poll`].
#[derive(Debug)]
pub struct Desk {
    consumer: Box<dyn Consumer>,
    /// The last start of each partition.
    generations: BTreeMap<PartitionId, Generation>,
    waiting: VecDeque<Heard>,
    paused: bool,
}

/// How to go on after a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// With the next turn.
    GoOn,
    /// With the next order, or after a pause: the log failed.
    Rest,
}

impl Desk {
    /// A desk with nothing on it.
    #[must_use]
    pub fn new(consumer: Box<dyn Consumer>) -> Self {
        Self { consumer, generations: BTreeMap::new(), waiting: VecDeque::new(), paused: false }
    }

    /// Does what the worker asks. A failure is the next thing the worker hears.
    pub fn obey(&mut self, order: Order) {
        let obeyed = match order {
            Order::Start(positions, generation) => self.start(&positions, generation),
            Order::Release(partitions) => self.consumer.release(&partitions),
            Order::Advise(landed) => {
                self.consumer.advise(&landed);
                Ok(())
            }
        };
        if let Err(error) = obeyed {
            self.waiting.push_back(Heard::OrderFailed(error));
        }
    }

    fn start(&mut self, positions: &Positions, generation: Generation) -> Result<(), LogError> {
        self.consumer.start(positions)?;
        self.generations.extend(positions.iter().map(|(partition, _)| (partition, generation)));
        Ok(())
    }

    /// What the worker is to hear next.
    pub fn next_heard(&mut self) -> Option<Heard> {
        self.waiting.pop_front()
    }

    /// Takes back what the worker had no room for.
    pub fn put_back(&mut self, heard: Heard) {
        self.waiting.push_front(heard);
    }

    /// Polls the log, fetching only if the worker has taken everything.
    pub fn poll(&mut self, wait: Duration) -> Pace {
        match self.balance().and_then(|()| self.consumer.poll(wait)) {
            Ok(Polled::Nothing) => Pace::GoOn,
            Ok(Polled::Fetched(fetched)) => {
                let generation = self.generations.get(&fetched.partition).copied().unwrap_or_default();
                self.waiting.push_back(Heard::Fetched(fetched, generation));
                Pace::GoOn
            }
            Ok(polled) => {
                self.waiting.push_back(Heard::Polled(polled));
                Pace::GoOn
            }
            Err(error) => {
                self.waiting.push_back(Heard::PollFailed(error));
                Pace::Rest
            }
        }
    }

    fn balance(&mut self) -> Result<(), LogError> {
        let behind = !self.waiting.is_empty();
        if behind != self.paused {
            if behind {
                self.consumer.pause()?
            } else {
                self.consumer.resume()?
            }
            self.paused = behind;
        }
        Ok(())
    }
}
