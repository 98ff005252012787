//! Who owns which partition, what is buffered, and what each event makes of it.
//!
//! One plain thread decodes, batches and encodes. It hears the log from the consumer's thread and
//! the table from the sequencer, and never waits for either while it has something to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use crossbeam_channel::{Receiver, Sender, select};
use event::{Clock, LogId, Offset, PartitionId, Positions, limits};
use eventlog::{Fetched, LogError, Polled};
use table::{Layout, TableState};
use tokio::sync::mpsc;

use crate::LoadError;
use crate::batch::{BatchLabel, OpenBatch};
use crate::commit::{Committed, Fenced, encode_error};
use crate::consume::{Heard, Order};
use crate::decode::{DecodeStage, schema_error};
use crate::encode::encode;
use crate::options::{LoaderOptions, Wish};
use crate::run::Reporter;
use crate::sequence::{Answer, Request};

/// How the worker speaks with the other threads.
pub(crate) struct Lines {
    pub(crate) heard: Receiver<Heard>,
    pub(crate) orders: Sender<Order>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) answers: Receiver<Answer>,
    pub(crate) wishes: Receiver<Wish>,
}

/// The worker's state.
pub(crate) struct Worker {
    options: LoaderOptions,
    log_id: LogId,
    layout: Layout,
    clock: Clock,
    reporter: Reporter,
    lines: Lines,

    stage: DecodeStage,
    open: OpenBatch,
    /// Partitions that deliver, each with the first offset not yet buffered.
    buffered: BTreeMap<PartitionId, Offset>,
    /// The table's positions as last seen.
    landed: Positions,
    epoch: u64,
    /// Batches handed to the sequencer so far, and answered by it.
    sent: u64,
    settled: u64,
    revoking: Option<Revoking>,
    wish: Wish,
    refresh_at: Option<Duration>,
}

/// Partitions that must be given back once what is buffered of them has landed.
struct Revoking {
    partitions: Vec<PartitionId>,
    until_settled: u64,
    deadline: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    GoOn,
    Done,
}

impl Worker {
    pub(crate) fn new(
        options: LoaderOptions,
        log_id: LogId,
        layout: Layout,
        clock: Clock,
        reporter: Reporter,
        lines: Lines,
        state: &TableState,
    ) -> Result<Self, LoadError> {
        let stage = DecodeStage::new(Arc::clone(&options.decode), &state.schema)
            .map_err(|error| schema_error(&options.stream, &error))?;
        Ok(Self {
            options,
            log_id,
            layout,
            clock,
            reporter,
            lines,
            stage,
            open: OpenBatch::default(),
            buffered: BTreeMap::new(),
            landed: state.positions.clone(),
            epoch: 1,
            sent: 0,
            settled: 0,
            revoking: None,
            wish: Wish::Run,
            refresh_at: None,
        })
    }

    /// Works until asked to end, or until something fails for good.
    pub(crate) fn run(mut self) -> Result<(), LoadError> {
        while self.turn()? == Flow::GoOn {}
        Ok(())
    }

    fn turn(&mut self) -> Result<Flow, LoadError> {
        // Clones of the receiving ends, so that the arms may borrow the worker mutably.
        let (heard, answers, wishes) =
            (self.lines.heard.clone(), self.lines.answers.clone(), self.lines.wishes.clone());
        select! {
            recv(answers) -> answer => match answer {
                Ok(answer) => self.on_answer(answer)?,
                Err(_) => return Err(self.lost("sequence")),
            },
            recv(wishes) -> wish => match wish {
                Ok(wish) => self.wish = wish,
                Err(_) => self.wish = Wish::Stop,
            },
            recv(heard) -> heard => match heard {
                Ok(heard) => self.on_heard(heard)?,
                Err(_) => return Err(self.lost("consume")),
            },
            default(self.wait()) => {}
        }
        self.after_each()
    }

    /// How long nothing has to be done if nothing happens.
    fn wait(&self) -> Duration {
        let now = self.clock.monotonic();
        let due =
            self.open.due_at(&self.options.flush).map_or(limits::POLL_WAIT, |due| due.saturating_sub(now));
        due.min(limits::POLL_WAIT)
    }

    fn after_each(&mut self) -> Result<Flow, LoadError> {
        let now = self.clock.monotonic();
        let due = self.open.due_at(&self.options.flush).is_some_and(|due| due <= now);
        // While the lake is behind, an old batch may as well grow to its full size.
        if self.open.is_full(&self.options.flush)
            || (due && self.in_flight() < limits::BATCHES_IN_FLIGHT_MAX as u64)
        {
            self.cut()?;
        }
        self.settle_revocation(now)?;
        match self.wish.clone() {
            Wish::Run => Ok(Flow::GoOn),
            Wish::Stop => self.stop(),
            Wish::FinishAt(target) => self.finish_at(&target, now),
        }
    }

    fn stop(&mut self) -> Result<Flow, LoadError> {
        self.cut()?;
        Ok(if self.in_flight() == 0 { Flow::Done } else { Flow::GoOn })
    }

    fn finish_at(&mut self, target: &Positions, now: Duration) -> Result<Flow, LoadError> {
        let reached = |at: Option<Offset>, wanted: Offset| at.is_some_and(|at| at >= wanted);
        if target.iter().all(|(p, wanted)| reached(self.landed.get(p), wanted)) {
            return self.stop();
        }
        let ours_buffered = target
            .iter()
            .filter(|(p, _)| self.buffered.contains_key(p))
            .all(|(p, wanted)| reached(self.buffered.get(&p).copied(), wanted));
        if !ours_buffered {
            return Ok(Flow::GoOn);
        }
        self.cut()?;
        self.refresh(now)?;
        Ok(Flow::GoOn)
    }

    /// Asks now and then how far other loaders of the group are.
    fn refresh(&mut self, now: Duration) -> Result<(), LoadError> {
        if self.in_flight() == 0 && self.refresh_at.is_none_or(|at| at <= now) {
            self.refresh_at = Some(now + limits::RETRY_PAUSE_MIN * 5);
            self.ask(Request::Refresh)?;
        }
        Ok(())
    }

    fn in_flight(&self) -> u64 {
        self.sent - self.settled
    }

    // ---- what the log says -------------------------------------------------------------------

    fn on_heard(&mut self, heard: Heard) -> Result<(), LoadError> {
        match heard {
            Heard::Polled(Polled::Nothing) => Ok(()),
            Heard::Polled(Polled::Fetched(fetched)) => {
                self.on_fetched(fetched);
                Ok(())
            }
            Heard::Polled(Polled::Assigned(partitions)) => {
                tracing::info!(stream = %self.options.stream, ?partitions, "partitions assigned");
                self.ask(Request::Positions(partitions))
            }
            Heard::Polled(Polled::Revoked { partitions, lost }) => self.on_revoked(partitions, lost),
            Heard::PollFailed(error) => self.on_log_failure(error),
            Heard::OrderFailed(error) => {
                self.on_log_failure(error)?;
                let positions = self.buffered.iter().map(|(p, next)| (*p, *next)).collect();
                self.order(Order::Start(positions));
                Ok(())
            }
        }
    }

    fn on_fetched(&mut self, fetched: Fetched) {
        let expected = self.buffered.get(&fetched.partition).copied();
        // What was under way when the worker went back, or when the partition was taken away.
        if expected != Some(fetched.range.start()) {
            tracing::debug!(partition = %fetched.partition, range = %fetched.range, ?expected, "stale fetch dropped");
            return;
        }
        if fetched.range.is_empty() {
            return;
        }
        self.reporter.heard_from_log();
        self.buffered.insert(fetched.partition, fetched.range.end());
        let decoded = self.stage.decode(fetched);
        self.open.push(decoded, self.clock.monotonic());
    }

    fn on_log_failure(&mut self, error: LogError) -> Result<(), LoadError> {
        if !error.kind().is_retryable() {
            return Err(error.into());
        }
        self.reporter.retrying("read", &LoadError::Log(error));
        Ok(())
    }

    fn on_revoked(&mut self, partitions: Vec<PartitionId>, lost: bool) -> Result<(), LoadError> {
        tracing::info!(stream = %self.options.stream, ?partitions, lost, "partitions revoked");
        if lost {
            return self.abandon(partitions);
        }
        self.cut()?;
        let deadline = self.clock.monotonic() + limits::REVOKE_DRAIN_MAX;
        self.revoking = Some(Revoking { partitions, until_settled: self.sent, deadline });
        Ok(())
    }

    fn settle_revocation(&mut self, now: Duration) -> Result<(), LoadError> {
        match self.revoking.take() {
            None => Ok(()),
            Some(revoking) if self.settled >= revoking.until_settled => {
                self.give_back(revoking.partitions);
                Ok(())
            }
            Some(revoking) if now >= revoking.deadline => self.abandon(revoking.partitions),
            waiting => {
                self.revoking = waiting;
                Ok(())
            }
        }
    }

    fn give_back(&mut self, partitions: Vec<PartitionId>) {
        for partition in &partitions {
            self.buffered.remove(partition);
        }
        self.order(Order::Release(partitions));
    }

    /// Gives partitions back whose buffered records somebody else will read again. What is under
    /// way of them is either in time or fenced by the table; the other partitions go back to what
    /// the table has.
    fn abandon(&mut self, partitions: Vec<PartitionId>) -> Result<(), LoadError> {
        self.give_back(partitions);
        self.open = OpenBatch::default();
        self.epoch += 1;
        let staying: Vec<PartitionId> = self.buffered.keys().copied().collect();
        self.buffered.clear();
        if staying.is_empty() { Ok(()) } else { self.ask(Request::Positions(staying)) }
    }

    // ---- what the table says -----------------------------------------------------------------

    fn on_answer(&mut self, answer: Answer) -> Result<(), LoadError> {
        match answer {
            Answer::Landed(committed) => self.on_landed(committed),
            Answer::Fenced(fenced) => self.on_fenced(fenced),
            Answer::Positions(state, positions) => self.on_positions(&state, positions),
            Answer::Refreshed(state) => {
                self.reporter.saw(&state);
                self.landed = state.positions;
                Ok(())
            }
            Answer::Failed(error) => Err(error),
        }
    }

    fn on_landed(&mut self, committed: Committed) -> Result<(), LoadError> {
        self.settled = committed.label.sequence;
        self.landed = committed.state.positions.clone();
        self.reporter.landed(&committed, self.clock.now());
        self.order(Order::Advise(self.landed.clone()));
        self.adopt(&committed.state.schema)
    }

    fn on_fenced(&mut self, fenced: Fenced) -> Result<(), LoadError> {
        self.settled = fenced.label.sequence;
        self.landed = fenced.state.positions.clone();
        if fenced.label.epoch < self.epoch {
            self.reporter.saw(&fenced.state);
            return Ok(());
        }
        tracing::warn!(
            stream = %self.options.stream, reason = fenced.reason,
            "another loader moved the table on; reading again from its positions"
        );
        self.reporter.fenced(&fenced.state);
        self.epoch += 1;
        self.open = OpenBatch::default();
        self.stage = self.stage_for(&fenced.state.schema)?;
        let staying: Vec<PartitionId> = self.buffered.keys().copied().collect();
        let positions: Positions =
            staying.iter().filter_map(|p| fenced.state.positions.get(*p).map(|next| (*p, next))).collect();
        self.begin(positions);
        Ok(())
    }

    fn on_positions(&mut self, state: &TableState, positions: Positions) -> Result<(), LoadError> {
        self.landed = state.positions.clone();
        self.reporter.saw(state);
        self.adopt(&state.schema)?;
        self.begin(positions);
        Ok(())
    }

    fn begin(&mut self, positions: Positions) {
        self.buffered.extend(positions.iter());
        self.order(Order::Start(positions));
    }

    /// Goes on with the table's schema when it has columns of other loaders.
    fn adopt(&mut self, schema: &SchemaRef) -> Result<(), LoadError> {
        let grown = !table::schema::is_superset(self.stage.schema(), schema);
        if grown && table::schema::is_superset(schema, self.stage.schema()) {
            self.stage = self.stage_for(schema)?;
        }
        Ok(())
    }

    fn stage_for(&self, schema: &SchemaRef) -> Result<DecodeStage, LoadError> {
        DecodeStage::new(Arc::clone(&self.options.decode), schema)
            .map_err(|error| schema_error(&self.options.stream, &error))
    }

    // ---- what the worker does ----------------------------------------------------------------

    /// Cuts what is open, if anything, and hands it on. Waits when the table is far behind.
    fn cut(&mut self) -> Result<(), LoadError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let begun = self.clock.monotonic();
        self.sent += 1;
        let label = BatchLabel { id: self.clock.new_id(), sequence: self.sent, epoch: self.epoch };
        let batch = std::mem::take(&mut self.open)
            .cut(label, &mut self.stage)
            .map_err(|error| schema_error(&self.options.stream, &error))?;
        self.reporter.conflicts(&batch.conflicts);
        let encoded = encode(batch, self.layout, &self.log_id)
            .map_err(|error| encode_error(&self.options.stream, &error))?;
        self.reporter.took("encode", self.clock.monotonic().saturating_sub(begun));
        self.ask(Request::Land(Box::new(encoded)))
    }

    fn ask(&self, request: Request) -> Result<(), LoadError> {
        self.lines.requests.blocking_send(request).map_err(|_| self.lost("sequence"))
    }

    /// The consumer's thread ends only after it hung up, which the next turn reports.
    fn order(&self, order: Order) {
        let _ = self.lines.orders.send(order);
    }

    fn lost(&self, stage: &'static str) -> LoadError {
        LoadError::StageLost { stream: self.options.stream.to_string(), stage }
    }
}
