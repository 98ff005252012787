//! Loader processes: the real stages, each a task, and a supervisor that starts a new process when
//! one ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use decode::DecodeOptions;
use event::{Clock, ErrorKind, Positions, StreamName, limits};
use eventlog::EventLog;
use loader::{
    Answer, Desk, Flow, Heard, Input, LoadError, Loader, LoaderOptions, Order, Output, Pace, Request,
    Sequencer, Stages, StartPolicy, Wish, Worker,
};
use object_store::path::Path;
use table::{Lake, ParquetTable, Table};
use table_delta::DeltaTable;
use tokio::sync::mpsc;

use crate::auditor::{DEAD, LAKE, STREAM};
use crate::clock::{WallClock, clock};
use crate::executor::{Executor, ProcessId, WORLD};
use crate::log::LogServer;
use crate::network::Network;
use crate::scenario::{Scenario, TableKind};
use crate::store::StoreServer;

/// The group of all loaders.
pub const GROUP: &str = "loaders";

/// What every loader works on.
#[derive(Debug, Clone)]
pub struct Site {
    pub(crate) executor: Executor,
    pub(crate) scenario: Scenario,
    pub(crate) kind: TableKind,
    pub(crate) log: LogServer,
    pub(crate) log_network: Network,
    pub(crate) store: StoreServer,
    pub(crate) store_network: Network,
    /// Set once faults have ended: from then on no loader may end by an error.
    pub(crate) is_calm: Arc<AtomicBool>,
}

/// One machine and the process on it.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(crate) name: String,
    pub(crate) wall: WallClock,
    pub(crate) process: Arc<std::sync::Mutex<Option<Running>>>,
}

/// A process, and how to steer it.
#[derive(Debug, Clone)]
pub struct Running {
    pub(crate) process: ProcessId,
    pub(crate) wishes: mpsc::UnboundedSender<Wish>,
}

impl Machine {
    pub(crate) fn new(name: String) -> Self {
        Self { name, wall: WallClock::default(), process: Arc::default() }
    }

    /// The process that runs here now.
    #[must_use]
    pub fn running(&self) -> Option<Running> {
        self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn set_running(&self, running: Option<Running>) {
        *self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = running;
    }
}

impl Site {
    /// The lake as `process` has it.
    pub(crate) fn lake(&self, process: ProcessId) -> Lake {
        Lake::on(self.store.client(process, &self.store_network), Path::from(LAKE), "sim://lake")
    }

    /// A table as `process` has it.
    pub(crate) fn table(&self, process: ProcessId, name: &str, clock: &Clock) -> Arc<dyn Table> {
        match self.kind {
            TableKind::Parquet => Arc::new(ParquetTable::new(self.lake(process), name, clock.clone())),
            TableKind::Delta => Arc::new(DeltaTable::new(self.lake(process), name, clock.clone())),
        }
    }

    fn loader(&self, process: ProcessId, log: &Arc<dyn EventLog>, clock: &Clock) -> Loader {
        let options = LoaderOptions {
            stream: StreamName::new(STREAM).expect("the name keeps to the rules"),
            topic: STREAM.to_owned(),
            group: GROUP.to_owned(),
            decode: Arc::new(DecodeOptions::default()),
            flush: self.scenario.flush,
            start: StartPolicy::Earliest,
        };
        let (main, dead) = (self.table(process, STREAM, clock), self.table(process, DEAD, clock));
        Loader::new(options, Arc::clone(log), main, dead, clock.clone())
    }

    /// Keeps a loader running on `machine`, for ever.
    pub(crate) async fn supervise(self, machine: Machine) {
        loop {
            let process = self.executor.start_process(&machine.name);
            let (sender, wishes) = mpsc::unbounded_channel();
            machine.set_running(Some(Running { process, wishes: sender }));
            let (site, wall) = (self.clone(), machine.wall.clone());
            self.executor.spawn(process, async move {
                let outcome = site.run_loader(process, &wall, wishes).await;
                site.note_end(process, &outcome);
                site.executor.kill(process, "came to its end");
            });
            self.executor.ended(process).await;
            machine.set_running(None);
            let pause = self.executor.draw(|chance| chance.within(10..4_000));
            self.executor.sleep(Duration::from_millis(pause)).await;
        }
    }

    /// A loader ends by an error only when a person is needed, and no fault of the network is such a
    /// case. A store that answers reads with the past may look damaged, though.
    fn note_end(&self, process: ProcessId, outcome: &Result<(), LoadError>) {
        let Err(error) = outcome else { return };
        self.executor.trace(process, || format!("loader failed: {error}"));
        let needs_a_person = matches!(error.kind(), ErrorKind::Data | ErrorKind::Settings);
        let may_be_stale = self.scenario.store.stale > 0 && !self.is_calm.load(Ordering::Relaxed);
        if needs_a_person && !may_be_stale {
            self.executor.fail(format!("I8 liveness: a loader gave up: {error}"));
        }
    }

    async fn run_loader(
        &self,
        process: ProcessId,
        wall: &WallClock,
        wishes: mpsc::UnboundedReceiver<Wish>,
    ) -> Result<(), LoadError> {
        let clock = clock(&self.executor, process, wall);
        let log = self.log.client(process, &self.log_network);
        let stages = self.loader(process, &log, &clock).open().await?;
        Driver { executor: self.executor.clone(), process, clock }.drive(stages, wishes).await
    }
}

/// Drives the stages of one loader as tasks of its process.
struct Driver {
    executor: Executor,
    process: ProcessId,
    clock: Clock,
}

/// How the worker's task speaks with the others.
struct Lines {
    heard: mpsc::Receiver<Heard>,
    answers: mpsc::UnboundedReceiver<Answer>,
    wishes: mpsc::UnboundedReceiver<Wish>,
    orders: mpsc::UnboundedSender<Order>,
    requests: mpsc::Sender<Request>,
}

impl Driver {
    async fn drive(self, stages: Stages, wishes: mpsc::UnboundedReceiver<Wish>) -> Result<(), LoadError> {
        let Stages { desk, worker, sequencer } = stages;
        let (heard_sender, heard) = mpsc::channel(limits::FETCH_QUEUE_MAX);
        let (orders, orders_receiver) = mpsc::unbounded_channel();
        let (requests, requests_receiver) = mpsc::channel(1);
        let (answers_sender, answers) = mpsc::unbounded_channel();
        let executor = self.executor.clone();
        self.executor
            .spawn(self.process, async move { consume(executor, desk, heard_sender, orders_receiver).await });
        self.executor.spawn(self.process, serve(sequencer, requests_receiver, answers_sender));
        self.work(worker, Lines { heard, answers, wishes, orders, requests }).await
    }

    async fn work(&self, mut worker: Worker, mut lines: Lines) -> Result<(), LoadError> {
        loop {
            let wait = worker.wait(self.clock.monotonic());
            // An idle worker looks up less often than in earnest: it has nothing to see.
            let wait = if wait == limits::POLL_WAIT { wait * 10 } else { wait };
            let Some(input) = self.next(&mut lines, wait).await else { return Ok(()) };
            let flow = worker.handle(input, self.clock.monotonic())?;
            while let Some(output) = worker.next_output() {
                match output {
                    Output::Order(order) => {
                        self.trace_order(&order);
                        let _ = lines.orders.send(order);
                    }
                    Output::Request(request) => {
                        let _ = lines.requests.send(request).await;
                    }
                }
            }
            if flow == Flow::Done {
                return Ok(());
            }
        }
    }

    fn trace_order(&self, order: &Order) {
        if let Order::Start(positions, _) = order {
            self.executor.trace(self.process, || format!("worker: reads from {}", told(positions)));
        }
    }

    /// Whichever comes first; when several are there, any.
    async fn next(&self, lines: &mut Lines, wait: Duration) -> Option<Input> {
        if self.executor.draw(|chance| chance.is_lucky(500)) {
            tokio::select! {
                biased;
                Some(answer) = lines.answers.recv() => Some(Input::Answer(answer)),
                Some(wish) = lines.wishes.recv() => Some(Input::Wish(wish)),
                Some(heard) = lines.heard.recv() => Some(Input::Heard(heard)),
                () = self.executor.sleep(wait) => Some(Input::Tick),
            }
        } else {
            tokio::select! {
                biased;
                Some(heard) = lines.heard.recv() => Some(Input::Heard(heard)),
                Some(wish) = lines.wishes.recv() => Some(Input::Wish(wish)),
                Some(answer) = lines.answers.recv() => Some(Input::Answer(answer)),
                () = self.executor.sleep(wait) => Some(Input::Tick),
            }
        }
    }
}

fn told(positions: &Positions) -> String {
    positions.iter().map(|(p, next)| format!("{p}@{next}")).collect::<Vec<_>>().join(" ")
}

async fn serve(
    sequencer: Sequencer,
    requests: mpsc::Receiver<Request>,
    answers: mpsc::UnboundedSender<Answer>,
) {
    sequencer
        .serve(requests, move |answer| {
            // The worker may have ended.
            let _ = answers.send(answer);
        })
        .await;
}

/// The consumer's thread, as a task: polls until the worker is gone.
async fn consume(
    executor: Executor,
    mut desk: Desk,
    heard: mpsc::Sender<Heard>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    loop {
        while let Ok(order) = orders.try_recv() {
            desk.obey(order);
        }
        let mut handed_over = false;
        while let Some(next) = desk.next_heard() {
            match heard.try_send(next) {
                Ok(()) => handed_over = true,
                Err(mpsc::error::TrySendError::Full(next)) => {
                    desk.put_back(next);
                    break;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
        let pace = desk.poll(Duration::ZERO);
        let wait = match pace {
            Pace::Rest => limits::RETRY_PAUSE_MIN,
            Pace::GoOn if handed_over => Duration::from_millis(1),
            Pace::GoOn => Duration::from_millis(executor.draw(|chance| chance.within(20..300))),
        };
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(order) => desk.obey(order),
                None => return,
            },
            () = executor.sleep(wait) => {}
        }
    }
}

/// A loader that ends by itself once everything that is in the log now has landed.
pub(crate) async fn catch_up(site: Site) -> bool {
    let process = site.executor.start_process("catch-up");
    let (sender, wishes) = mpsc::unbounded_channel();
    let _ = sender.send(Wish::FinishAt(site.log.ends(STREAM)));
    let done = Arc::new(AtomicBool::new(false));
    let (inner, is_done) = (site.clone(), Arc::clone(&done));
    site.executor.spawn(process, async move {
        let _steering = sender;
        let outcome = inner.run_loader(process, &WallClock::default(), wishes).await;
        inner.note_end(process, &outcome);
        is_done.store(outcome.is_ok(), Ordering::Relaxed);
        inner.executor.kill(process, "caught up");
    });
    let executor = site.executor.clone();
    tokio::select! {
        biased;
        () = executor.ended(process) => {}
        () = executor.sleep(Duration::from_secs(900)) => executor.trace(WORLD, || "catch-up hangs".to_owned()),
    }
    done.load(Ordering::Relaxed)
}
