//! Drives the stages: two plain threads, and tasks.
//!
//! ```text
//! thread "consume"  <- orders -  thread "work"  - requests ->  task "sequence"
//!                   -  heard ->                 <- answers  -
//! ```
//! A full queue holds its sender up, so a slow lake slows the worker, and the worker the consumer,
//! which then pauses fetching and goes on polling.

use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, select};
use event::{Clock, StreamName, limits};
use tokio::sync::{mpsc, oneshot, watch};

use crate::LoadError;
use crate::consume::{Desk, Heard, Order, Pace};
use crate::options::{Control, Wish};
use crate::run::{Loader, Stages};
use crate::sequence::{Answer, Request};
use crate::worker::{Flow, Input, Output, Worker};

/// Runs the stages of `loader` until `control` says to end, or one of them fails for good.
pub(crate) async fn drive(loader: &Loader, stages: Stages, control: &Control) -> Result<(), LoadError> {
    let Stages { desk, worker, sequencer } = stages;
    let (heard_sender, heard) = crossbeam_channel::bounded(limits::FETCH_QUEUE_MAX);
    let (orders, orders_receiver) = crossbeam_channel::unbounded();
    let (requests, requests_receiver) = mpsc::channel(1);
    let (answers_sender, answers) = crossbeam_channel::unbounded();
    let (wishes_sender, wishes) = crossbeam_channel::unbounded();
    let stream = loader.options.stream.clone();
    let lines = Lines { stream: stream.clone(), heard, orders, requests, answers, wishes };

    let clock = loader.clock.clone();
    let consuming = spawn("consume", move || consume(desk, &heard_sender, &orders_receiver))?;
    let working = spawn("work", move || work(worker, &lines, &clock))?;
    let sequencing = loader.clock.spawn(sequencer.serve(requests_receiver, move |answer| {
        // The worker may have ended on an error of its own; then nobody needs the answer.
        let _ = answers_sender.send(answer);
    }));
    let relaying = tokio::spawn(relay(control.subscribe(), wishes_sender));

    let worked = working.await.unwrap_or_else(|_| Err(lost(&stream, "work")));
    relaying.abort();
    let sequenced = sequencing.await.map_err(|_| lost(&stream, "sequence"));
    let consumed = consuming.await.map_err(|_| lost(&stream, "consume"));
    worked.and(sequenced).and(consumed)
}

fn lost(stream: &StreamName, stage: &'static str) -> LoadError {
    LoadError::StageLost { stream: stream.to_string(), stage }
}

/// Passes wishes on to a thread that cannot await them.
async fn relay(mut wishes: watch::Receiver<Wish>, sender: Sender<Wish>) {
    loop {
        let wish = wishes.borrow_and_update().clone();
        if sender.send(wish).is_err() || wishes.changed().await.is_err() {
            return;
        }
    }
}

/// Runs `work` on a named plain thread; the receiver ends without a value when it panics.
fn spawn<T: Send + 'static>(
    stage: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, LoadError> {
    let (done, result) = oneshot::channel();
    let run = move || {
        // Nobody waits any more when the loader's own future was dropped.
        let _ = done.send(work());
    };
    thread::Builder::new().name(format!("load-{stage}")).spawn(run).map_err(|error| {
        eventlog::LogError::Unavailable {
            place: "this machine".to_owned(),
            reason: format!("no thread: {error}"),
        }
    })?;
    Ok(result)
}

// ---- the worker's thread ---------------------------------------------------------------------

/// How the worker's thread speaks with the others.
struct Lines {
    stream: StreamName,
    heard: Receiver<Heard>,
    orders: Sender<Order>,
    requests: mpsc::Sender<Request>,
    answers: Receiver<Answer>,
    wishes: Receiver<Wish>,
}

fn work(mut worker: Worker, lines: &Lines, clock: &Clock) -> Result<(), LoadError> {
    loop {
        let input = lines.next(&worker, clock)?;
        let flow = worker.handle(input, clock.monotonic())?;
        while let Some(output) = worker.next_output() {
            lines.deliver(output)?;
        }
        if flow == Flow::Done {
            return Ok(());
        }
    }
}

impl Lines {
    fn next(&self, worker: &Worker, clock: &Clock) -> Result<Input, LoadError> {
        select! {
            recv(self.answers) -> answer => match answer {
                Ok(answer) => Ok(Input::Answer(answer)),
                Err(_) => Err(lost(&self.stream, "sequence")),
            },
            recv(self.wishes) -> wish => Ok(Input::Wish(wish.unwrap_or(Wish::Stop))),
            recv(self.heard) -> heard => match heard {
                Ok(heard) => Ok(Input::Heard(heard)),
                Err(_) => Err(lost(&self.stream, "consume")),
            },
            default(worker.wait(clock.monotonic())) => Ok(Input::Tick),
        }
    }

    fn deliver(&self, output: Output) -> Result<(), LoadError> {
        match output {
            // The consumer's thread ends only after it hung up, which the next input reports.
            Output::Order(order) => {
                let _ = self.orders.send(order);
                Ok(())
            }
            Output::Request(request) => {
                self.requests.blocking_send(request).map_err(|_| lost(&self.stream, "sequence"))
            }
        }
    }
}

// ---- the consumer's thread -------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connected {
    Yes,
    No,
}

/// Polls until the worker hangs up.
fn consume(mut desk: Desk, heard: &Sender<Heard>, orders: &Receiver<Order>) {
    while consume_once(&mut desk, heard, orders) == Connected::Yes {}
}

fn consume_once(desk: &mut Desk, heard: &Sender<Heard>, orders: &Receiver<Order>) -> Connected {
    if obey_all(desk, orders) == Connected::No || hand_over(desk, heard) == Connected::No {
        return Connected::No;
    }
    match desk.poll(limits::POLL_WAIT) {
        Pace::GoOn => Connected::Yes,
        Pace::Rest => rest(desk, orders),
    }
}

fn obey_all(desk: &mut Desk, orders: &Receiver<Order>) -> Connected {
    loop {
        match orders.try_recv() {
            Ok(order) => desk.obey(order),
            Err(TryRecvError::Empty) => return Connected::Yes,
            Err(TryRecvError::Disconnected) => return Connected::No,
        }
    }
}

fn hand_over(desk: &mut Desk, heard: &Sender<Heard>) -> Connected {
    while let Some(next) = desk.next_heard() {
        match heard.try_send(next) {
            Ok(()) => {}
            Err(TrySendError::Full(next)) => {
                desk.put_back(next);
                return Connected::Yes;
            }
            Err(TrySendError::Disconnected(_)) => return Connected::No,
        }
    }
    Connected::Yes
}

/// Waits a little after a failure, without missing an order.
fn rest(desk: &mut Desk, orders: &Receiver<Order>) -> Connected {
    match orders.recv_timeout(limits::RETRY_PAUSE_MIN) {
        Ok(order) => {
            desk.obey(order);
            Connected::Yes
        }
        Err(RecvTimeoutError::Timeout) => Connected::Yes,
        Err(RecvTimeoutError::Disconnected) => Connected::No,
    }
}
