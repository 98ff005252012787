//! Who owns which partition, what is buffered, and what each event makes of it.
//!
//! A state machine without threads, channels or waiting: [`Worker::handle`] takes one input and
//! leaves outputs. `run` drives it on a plain thread, the simulator as a task of its own; both
//! deliver all outputs of one input, however long that takes, before they give it the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use event::invariants::{Invariant, uphold};
use event::{Clock, LogId, Offset, PartitionId, Positions, limits};
use eventlog::{Fetched, LogError, Polled};
use table::{Layout, TableState};

use crate::LoadError;
use crate::batch::{BatchLabel, OpenBatch};
use crate::commit::{Committed, Fenced, encode_error};
use crate::consume::{Generation, Heard, Order};
use crate::decode::{DecodeStage, schema_error};
use crate::encode::encode;
use crate::options::{LoaderOptions, Wish};
use crate::run::Reporter;
use crate::sequence::{Answer, Request};

/// What the worker is given.
#[derive(Debug)]
pub enum Input {
    /// The log said something.
    Heard(Heard),
    /// The table answered.
    Answer(Answer),
    /// Somebody steers the loader.
    Wish(Wish),
    /// Time passed, and nothing else happened.
    Tick,
}

/// What the worker wants done, in the order it wants it.
#[derive(Debug)]
pub enum Output {
    /// For the consumer.
    Order(Order),
    /// For the sequencer.
    Request(Request),
}

/// Whether there is more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Give it the next input.
    GoOn,
    /// It has ended as asked, with nothing under way.
    Done,
}

/// The worker's state.
#[derive(Debug)]
pub struct Worker {
    options: LoaderOptions,
    log_id: LogId,
    layout: Layout,
    /// For ids, and for measuring; what it decides by is the moment it is given.
    clock: Clock,
    reporter: Reporter,
    outputs: VecDeque<Output>,

    stage: DecodeStage,
    open: OpenBatch,
    /// Partitions the group has given us, and that were not given back.
    owned: BTreeSet<PartitionId>,
    /// Partitions that deliver, and how far each is.
    buffered: BTreeMap<PartitionId, Reading>,
    /// Of the last start that was ordered.
    generation: Generation,
    /// The table's positions as last seen.
    landed: Positions,
    epoch: u64,
    /// Batches handed to the sequencer so far, and answered by it.
    sent: u64,
    settled: u64,
    revoking: Option<Revoking>,
    wish: Wish,
    refresh_at: Option<Duration>,
    /// Questions for positions that the table has not answered.
    positions_asked: u64,
    ask_again_at: Duration,
}

/// How far the reading of a partition is.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// The first offset not yet buffered.
    next: Offset,
    /// Of the start it follows; fetches of an older one are dropped.
    generation: Generation,
}

/// Partitions that must be given back once what is buffered of them has landed.
#[derive(Debug)]
struct Revoking {
    partitions: Vec<PartitionId>,
    until_settled: u64,
    deadline: Duration,
}

impl Worker {
    pub(crate) fn new(
        options: LoaderOptions,
        log_id: LogId,
        layout: Layout,
        clock: Clock,
        reporter: Reporter,
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
            outputs: VecDeque::new(),
            stage,
            open: OpenBatch::default(),
            owned: BTreeSet::new(),
            buffered: BTreeMap::new(),
            generation: 0,
            landed: state.positions.clone(),
            epoch: 1,
            sent: 0,
            settled: 0,
            revoking: None,
            wish: Wish::Run,
            refresh_at: None,
            positions_asked: 0,
            ask_again_at: Duration::ZERO,
        })
    }

    /// Takes one input at the moment `now` of the monotonic clock. What it makes of it is in
    /// [`Worker::next_output`].
    ///
    /// # Errors
    /// What ends the loader: a failure that needs a person.
    pub fn handle(&mut self, input: Input, now: Duration) -> Result<Flow, LoadError> {
        match input {
            Input::Heard(heard) => self.on_heard(heard, now)?,
            Input::Answer(answer) => self.on_answer(answer)?,
            Input::Wish(wish) => self.wish = wish,
            Input::Tick => {}
        }
        self.after_each(now)
    }

    /// The oldest output nobody has taken.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How long nothing has to be done if nothing happens.
    #[must_use]
    pub fn wait(&self, now: Duration) -> Duration {
        match self.open.due_at(&self.options.flush) {
            // An old batch that must wait for the lake is no reason to look again at once.
            Some(due) if self.may_cut_for_age() => due.saturating_sub(now).min(limits::POLL_WAIT),
            _ => limits::POLL_WAIT,
        }
    }

    /// While the lake is behind, an old batch may as well grow to its full size.
    fn may_cut_for_age(&self) -> bool {
        self.in_flight() < limits::BATCHES_IN_FLIGHT_MAX as u64
    }

    fn after_each(&mut self, now: Duration) -> Result<Flow, LoadError> {
        let due = self.open.due_at(&self.options.flush).is_some_and(|due| due <= now);
        if self.open.is_full(&self.options.flush) || (due && self.may_cut_for_age()) {
            self.cut()?;
        }
        self.settle_revocation(now);
        self.ask_for_unread(now);
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
            .all(|(p, wanted)| reached(self.buffered.get(&p).map(|reading| reading.next), wanted));
        if !ours_buffered {
            return Ok(Flow::GoOn);
        }
        self.cut()?;
        self.refresh(now);
        Ok(Flow::GoOn)
    }

    /// Asks now and then how far other loaders of the group are.
    fn refresh(&mut self, now: Duration) {
        if self.in_flight() == 0 && self.refresh_at.is_none_or(|at| at <= now) {
            self.refresh_at = Some(now + limits::RETRY_PAUSE_MIN * 5);
            self.ask(Request::Refresh);
        }
    }

    /// Asks again for partitions that are ours and had no position yet: what told of them was behind.
    fn ask_for_unread(&mut self, now: Duration) {
        if self.positions_asked > 0 || now < self.ask_again_at {
            return;
        }
        let unread = self.owned.iter().filter(|partition| !self.buffered.contains_key(*partition));
        let unread: Vec<PartitionId> = unread.copied().collect();
        if !unread.is_empty() {
            self.ask_again_at = now + limits::RETRY_PAUSE_MIN * 5;
            self.ask_positions(unread);
        }
    }

    fn ask_positions(&mut self, partitions: Vec<PartitionId>) {
        self.positions_asked += 1;
        self.ask(Request::Positions(partitions));
    }

    fn in_flight(&self) -> u64 {
        self.sent - self.settled
    }

    // ---- what the log says -------------------------------------------------------------------

    fn on_heard(&mut self, heard: Heard, now: Duration) -> Result<(), LoadError> {
        match heard {
            Heard::Fetched(fetched, generation) => {
                self.on_fetched(fetched, generation, now);
                Ok(())
            }
            Heard::Polled(Polled::Nothing | Polled::Fetched(_)) => Ok(()),
            Heard::Polled(Polled::Assigned(partitions)) => {
                tracing::info!(stream = %self.options.stream, ?partitions, "partitions assigned");
                self.owned.extend(&partitions);
                self.keep(&partitions);
                self.ask_positions(partitions);
                Ok(())
            }
            Heard::Polled(Polled::Revoked { partitions, lost }) => self.on_revoked(partitions, lost, now),
            Heard::PollFailed(error) => self.on_log_failure(error),
            Heard::OrderFailed(error) => {
                self.on_log_failure(error)?;
                self.start(self.buffered.iter().map(|(p, reading)| (*p, reading.next)).collect());
                Ok(())
            }
        }
    }

    fn on_fetched(&mut self, fetched: Fetched, generation: Generation, now: Duration) {
        let reading = self.buffered.get_mut(&fetched.partition);
        // What was under way when the worker went back, or when the partition was taken away.
        let Some(reading) = reading.filter(|reading| reading.generation == generation) else {
            tracing::debug!(partition = %fetched.partition, range = %fetched.range, "stale fetch dropped");
            return;
        };
        uphold(Invariant::Chain, reading.next == fetched.range.start(), || {
            format!("fetched {} of {}, not from {} on", fetched.range, fetched.partition, reading.next)
        });
        if fetched.range.is_empty() {
            return;
        }
        reading.next = fetched.range.end();
        self.reporter.heard_from_log();
        let decoded = self.stage.decode(fetched);
        self.open.push(decoded, now);
    }

    fn on_log_failure(&mut self, error: LogError) -> Result<(), LoadError> {
        let error = LoadError::Log(error);
        if !error.may_pass() {
            return Err(error);
        }
        self.reporter.retrying("read", &error);
        Ok(())
    }

    fn on_revoked(
        &mut self,
        partitions: Vec<PartitionId>,
        lost: bool,
        now: Duration,
    ) -> Result<(), LoadError> {
        tracing::info!(stream = %self.options.stream, ?partitions, lost, "partitions revoked");
        if lost {
            self.forget(&partitions);
            self.keep(&partitions);
            self.give_back(partitions);
            return Ok(());
        }
        self.cut()?;
        let deadline = now + limits::REVOKE_DRAIN_MAX;
        self.revoking = Some(Revoking { partitions, until_settled: self.sent, deadline });
        Ok(())
    }

    fn settle_revocation(&mut self, now: Duration) {
        match self.revoking.take() {
            None => {}
            Some(revoking) if self.settled >= revoking.until_settled => self.give_back(revoking.partitions),
            Some(revoking) if now >= revoking.deadline => {
                tracing::warn!(
                    stream = %self.options.stream, partitions = ?revoking.partitions,
                    "partitions are given back before their last batch has landed: if it does not, their next owner \
                     reads it again"
                );
                self.forget(&revoking.partitions);
                self.give_back(revoking.partitions);
            }
            waiting => self.revoking = waiting,
        }
    }

    /// Gives none of these back later: what was revoked is over when they are lost, or ours once more.
    fn keep(&mut self, partitions: &[PartitionId]) {
        if let Some(revoking) = &mut self.revoking {
            revoking.partitions.retain(|partition| !partitions.contains(partition));
        }
    }

    fn give_back(&mut self, partitions: Vec<PartitionId>) {
        for partition in &partitions {
            self.owned.remove(partition);
            self.buffered.remove(partition);
        }
        self.order(Order::Release(partitions));
    }

    /// Drops what is buffered of partitions that somebody else will read again; the others keep theirs.
    /// What is under way of them is in time or fenced by the table, and a fence takes all with it.
    fn forget(&mut self, partitions: &[PartitionId]) {
        for partition in partitions {
            self.open.forget(*partition);
        }
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
        self.begin(fenced.state.positions.of(&staying));
        Ok(())
    }

    fn on_positions(&mut self, state: &TableState, positions: Positions) -> Result<(), LoadError> {
        self.positions_asked = self.positions_asked.saturating_sub(1);
        self.landed = state.positions.clone();
        self.reporter.saw(state);
        self.adopt(&state.schema)?;
        self.begin(positions.of(&self.owned));
        Ok(())
    }

    /// Delivers partitions from these positions on, also ones that were begun already: one that was lost and
    /// came back before the first answer about it has two.
    fn begin(&mut self, positions: Positions) {
        positions.iter().for_each(|(partition, _)| self.open.forget(partition));
        self.start(positions);
    }

    fn start(&mut self, positions: Positions) {
        self.generation += 1;
        let generation = self.generation;
        self.buffered
            .extend(positions.iter().map(|(partition, next)| (partition, Reading { next, generation })));
        self.order(Order::Start(positions, generation));
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

    /// Cuts what is open, if anything, and hands it on.
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
        self.ask(Request::Land(Box::new(encoded)));
        Ok(())
    }

    fn ask(&mut self, request: Request) {
        self.outputs.push_back(Output::Request(request));
    }

    fn order(&mut self, order: Order) {
        self.outputs.push_back(Output::Order(order));
    }
}

#[cfg(test)]
mod tests {
    use ::decode::{DecodeOptions, columns};
    use arrow_schema::DataType;
    use event::{OffsetRange, RecordsBuilder, StreamName, TimestampMicros};

    use super::*;
    use crate::batch::Counts;
    use crate::encode::EncodedBatch;
    use crate::options::{FlushLimits, StartPolicy};

    const P0: PartitionId = PartitionId(0);
    const START: Duration = Duration::from_secs(100);

    /// A worker that never cuts by itself, and what it wants done.
    struct Bench {
        worker: Worker,
        now: Duration,
        /// Of the last start the worker ordered.
        generation: Generation,
    }

    impl Bench {
        /// Partition 0 runs from offset 0 on.
        fn new() -> Self {
            let options = LoaderOptions {
                stream: StreamName::new("logs").unwrap(),
                topic: "logs".to_owned(),
                group: "test".to_owned(),
                decode: Arc::new(DecodeOptions::default()),
                flush: FlushLimits {
                    rows_max: 1_000,
                    bytes_max: 1 << 30,
                    age_max: Duration::from_secs(3600),
                },
                start: StartPolicy::Earliest,
            };
            let reporter = Reporter::new(options.stream.clone());
            let (log, layout) = (LogId::new("test:log:logs"), Layout::ByLogPartition);
            let worker = Worker::new(options, log, layout, Clock::system(), reporter, &state(0)).unwrap();
            let mut bench = Self { worker, now: START, generation: 0 };
            bench.give(heard(Polled::Assigned(vec![P0])));
            bench.give(Input::Answer(Answer::Positions(state(0), state(0).positions)));
            bench
        }

        fn give(&mut self, input: Input) -> Vec<Output> {
            self.worker.handle(input, self.now).unwrap();
            let outputs: Vec<_> = std::iter::from_fn(|| self.worker.next_output()).collect();
            for output in &outputs {
                if let Output::Order(Order::Start(_, generation)) = output {
                    self.generation = *generation;
                }
            }
            outputs
        }

        fn fetch(&mut self, start: u64, events: &[&str]) {
            self.fetch_of(self.generation, start, events);
        }

        fn fetch_of(&mut self, generation: Generation, start: u64, events: &[&str]) {
            let mut records = RecordsBuilder::new();
            for (offset, event) in (start..).zip(events) {
                records.push(Offset(offset), TimestampMicros(1), Some(event.as_bytes()));
            }
            let range = OffsetRange::new(Offset(start), Offset(start + events.len() as u64));
            let fetched = Fetched { partition: P0, range, records: records.finish() };
            assert!(self.give(Input::Heard(Heard::Fetched(fetched, generation))).is_empty());
        }

        fn revoke(&mut self) -> Vec<Output> {
            self.give(heard(Polled::Revoked { partitions: vec![P0], lost: false }))
        }
    }

    fn heard(polled: Polled) -> Input {
        Input::Heard(Heard::Polled(polled))
    }

    fn state(next: u64) -> TableState {
        TableState {
            version: 1,
            schema: columns::initial_schema(&DecodeOptions::default()),
            positions: Positions::from_iter([(P0, Offset(next))]),
            other_logs: Vec::new(),
        }
    }

    fn landed(label: BatchLabel, next: u64) -> Input {
        let committed = Committed { label, state: state(next), total: Counts::default(), conflicts_count: 0 };
        Input::Answer(Answer::Landed(committed))
    }

    fn batch(outputs: Vec<Output>) -> EncodedBatch {
        match outputs.into_iter().next() {
            Some(Output::Request(Request::Land(batch))) => *batch,
            other => panic!("expected a batch, got {other:?}"),
        }
    }

    fn releases(outputs: &[Output]) -> bool {
        outputs.iter().any(|output| matches!(output, Output::Order(Order::Release(_))))
    }

    /// The simulator found the worker turning round without a pause, until the lake had answered.
    #[test]
    fn an_old_batch_that_waits_for_the_lake_costs_no_turns() {
        let mut bench = Bench::new();
        for batch in 0..limits::BATCHES_IN_FLIGHT_MAX as u64 {
            bench.fetch(batch, &["{}"]);
            bench.now += Duration::from_secs(3600);
            assert_eq!(bench.give(Input::Tick).len(), 1, "it is handed on");
        }
        bench.fetch(limits::BATCHES_IN_FLIGHT_MAX as u64, &["{}"]);
        bench.now += Duration::from_secs(3600);
        assert!(bench.give(Input::Tick).is_empty(), "the lake is behind");
        assert_eq!(bench.worker.wait(bench.now), limits::POLL_WAIT);
    }

    #[test]
    fn a_revoked_partition_is_given_back_once_its_batch_has_landed() {
        let mut bench = Bench::new();
        bench.fetch(0, &["{}", "{}"]);
        let outputs = bench.revoke();
        assert!(!releases(&outputs));
        let label = batch(outputs).label;
        assert!(!releases(&bench.give(Input::Tick)), "its batch is under way");
        assert!(releases(&bench.give(landed(label, 2))));
    }

    #[test]
    fn a_revoked_partition_is_given_back_when_its_batch_takes_too_long() {
        let mut bench = Bench::new();
        bench.fetch(0, &["{}", "{}"]);
        bench.revoke();
        bench.now += limits::REVOKE_DRAIN_MAX;
        assert!(releases(&bench.give(Input::Tick)));
    }

    #[test]
    fn a_fetch_from_before_the_worker_went_back_is_dropped() {
        let mut bench = Bench::new();
        let older = bench.generation - 1;
        bench.fetch_of(older, 5, &["{}"]);
        bench.fetch(0, &["{}", "{}"]);
        bench.fetch_of(older, 2, &["{}"]);
        let batch = batch(bench.revoke());
        assert_eq!(batch.ranges.get(P0), Some(OffsetRange::new(Offset(0), Offset(2))));
    }

    /// A broker that was slow to answer: the session timed out before the position was known.
    #[test]
    fn a_partition_that_came_back_before_its_position_was_known_is_read_once() {
        let mut bench = Bench::new();
        let lost = || heard(Polled::Revoked { partitions: vec![P0], lost: true });
        bench.give(lost());
        bench.give(heard(Polled::Assigned(vec![P0])));
        bench.give(lost());
        bench.give(heard(Polled::Assigned(vec![P0])));
        for _ in 0..2 {
            bench.give(Input::Answer(Answer::Positions(state(0), state(0).positions)));
            bench.fetch(0, &["{}", "{}"]);
        }
        let batch = batch(bench.revoke());
        assert_eq!(batch.ranges.get(P0), Some(OffsetRange::new(Offset(0), Offset(2))));
        assert_eq!(batch.total.rows, 2);
    }

    /// The simulator found a loader that stood still: it had taken a fetch of before the start, which began
    /// where it should and ended elsewhere, and no later one continued it.
    #[test]
    fn what_was_fetched_before_a_start_is_not_taken_for_what_follows_it() {
        let mut bench = Bench::new();
        let before = bench.generation;
        bench.give(Input::Answer(Answer::Positions(state(0), state(0).positions)));
        bench.fetch_of(before, 0, &["{}", "{}"]);
        bench.fetch(0, &["{}"]);
        bench.fetch(1, &["{}", "{}"]);
        assert_eq!(batch(bench.revoke()).ranges.get(P0), Some(OffsetRange::new(Offset(0), Offset(3))));
    }

    /// The simulator found a loader that owned partitions and did not read them: it was thrown out of the
    /// group while it drained, and gave them back when it had them again.
    #[test]
    fn a_partition_that_is_lost_while_it_drains_and_comes_back_is_read() {
        let mut bench = Bench::new();
        bench.fetch(0, &["{}"]);
        let under_way = batch(bench.revoke());
        bench.give(heard(Polled::Revoked { partitions: vec![P0], lost: true }));
        bench.give(heard(Polled::Assigned(vec![P0])));
        bench.give(landed(under_way.label, 1));
        bench.give(Input::Answer(Answer::Positions(state(1), state(1).positions)));
        bench.fetch(1, &["{}"]);
        assert_eq!(batch(bench.revoke()).ranges.get(P0), Some(OffsetRange::new(Offset(1), Offset(2))));
    }

    /// The simulator found a loader that waited for ever for a partition the lake had not told of.
    #[test]
    fn a_partition_without_a_position_is_asked_for_again() {
        let mut bench = Bench::new();
        bench.give(heard(Polled::Assigned(vec![PartitionId(1)])));
        let asked = bench.give(Input::Answer(Answer::Positions(state(0), Positions::new())));
        assert!(
            matches!(&asked[..], [Output::Order(_), Output::Request(Request::Positions(of))] if of == &[PartitionId(1)]),
            "{asked:?}"
        );
        assert!(bench.give(Input::Tick).is_empty(), "one question at a time");
    }

    #[test]
    fn a_partition_that_was_lost_before_its_position_was_known_is_not_read() {
        let mut bench = Bench::new();
        bench.give(heard(Polled::Revoked { partitions: vec![P0], lost: true }));
        bench.give(Input::Answer(Answer::Positions(state(0), state(0).positions)));
        bench.fetch(0, &["{}"]);
        assert!(bench.worker.open.is_empty());
    }

    #[test]
    fn an_older_schema_of_the_table_takes_no_column_away() {
        let mut bench = Bench::new();
        bench.fetch(0, &[r#"{"x":1}"#]);
        let label = batch(bench.revoke()).label;
        bench.give(landed(label, 1));
        bench.give(heard(Polled::Assigned(vec![P0])));
        bench.give(Input::Answer(Answer::Positions(state(1), state(1).positions)));
        bench.fetch(1, &[r#"{"x":"text"}"#]);
        let batch = batch(bench.revoke());
        assert_eq!(batch.schema.field_with_name("x").unwrap().data_type(), &DataType::Int64);
        assert_eq!(batch.conflicts_count, 1);
    }
}
