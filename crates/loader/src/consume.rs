//! Stage 1, on a thread that never waits for the lake: polls the log.
//!
//! When the worker is behind, fetching pauses but polling goes on, so that the group never takes
//! a busy loader for a dead one (databricks/iceberg-kafka-connect 231).

use std::collections::VecDeque;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError};
use event::{PartitionId, Positions, limits};
use eventlog::{Consumer, LogError, Polled};

/// What the worker hears from the log.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Something happened.
    Polled(Polled),
    /// A poll failed; it will be tried again.
    PollFailed(LogError),
    /// An order failed: what it asked for has not begun.
    OrderFailed(LogError),
}

/// What the worker asks of the consumer.
#[derive(Debug)]
pub(crate) enum Order {
    /// Deliver these partitions from these positions on.
    Start(Positions),
    /// The revoked partitions are settled.
    Release(Vec<PartitionId>),
    /// The table is this far.
    Advise(Positions),
}

/// Polls until the worker hangs up.
pub(crate) fn consume(mut consumer: Box<dyn Consumer>, heard: &Sender<Heard>, orders: &Receiver<Order>) {
    let mut desk = Desk { waiting: VecDeque::new(), paused: false };
    while desk.turn(consumer.as_mut(), heard, orders) == Connected::Yes {}
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connected {
    Yes,
    No,
}

/// What was polled and not yet taken by the worker.
struct Desk {
    waiting: VecDeque<Heard>,
    paused: bool,
}

impl Desk {
    fn turn(
        &mut self,
        consumer: &mut dyn Consumer,
        heard: &Sender<Heard>,
        orders: &Receiver<Order>,
    ) -> Connected {
        if self.obey_all(consumer, orders) == Connected::No || self.hand_over(heard) == Connected::No {
            return Connected::No;
        }
        let polled = self.balance(consumer).and_then(|()| consumer.poll(limits::POLL_WAIT));
        match polled {
            Ok(Polled::Nothing) => Connected::Yes,
            Ok(polled) => {
                self.waiting.push_back(Heard::Polled(polled));
                Connected::Yes
            }
            Err(error) => {
                self.waiting.push_back(Heard::PollFailed(error));
                self.rest(consumer, orders)
            }
        }
    }

    fn hand_over(&mut self, heard: &Sender<Heard>) -> Connected {
        while let Some(next) = self.waiting.pop_front() {
            match heard.try_send(next) {
                Ok(()) => {}
                Err(TrySendError::Full(next)) => {
                    self.waiting.push_front(next);
                    return Connected::Yes;
                }
                Err(TrySendError::Disconnected(_)) => return Connected::No,
            }
        }
        Connected::Yes
    }

    fn balance(&mut self, consumer: &mut dyn Consumer) -> Result<(), LogError> {
        let behind = !self.waiting.is_empty();
        if behind != self.paused {
            if behind {
                consumer.pause()?
            } else {
                consumer.resume()?
            }
            self.paused = behind;
        }
        Ok(())
    }

    fn obey_all(&mut self, consumer: &mut dyn Consumer, orders: &Receiver<Order>) -> Connected {
        loop {
            match orders.try_recv() {
                Ok(order) => self.obey(consumer, order),
                Err(TryRecvError::Empty) => return Connected::Yes,
                Err(TryRecvError::Disconnected) => return Connected::No,
            }
        }
    }

    fn obey(&mut self, consumer: &mut dyn Consumer, order: Order) {
        let obeyed = match order {
            Order::Start(positions) => consumer.start(&positions),
            Order::Release(partitions) => consumer.release(&partitions),
            Order::Advise(landed) => {
                consumer.advise(&landed);
                Ok(())
            }
        };
        if let Err(error) = obeyed {
            self.waiting.push_back(Heard::OrderFailed(error));
        }
    }

    /// Waits a little after a failure, without missing an order.
    fn rest(&mut self, consumer: &mut dyn Consumer, orders: &Receiver<Order>) -> Connected {
        match orders.recv_timeout(limits::RETRY_PAUSE_MIN) {
            Ok(order) => {
                self.obey(consumer, order);
                Connected::Yes
            }
            Err(RecvTimeoutError::Timeout) => Connected::Yes,
            Err(RecvTimeoutError::Disconnected) => Connected::No,
        }
    }
}
