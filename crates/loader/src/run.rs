//! Opens the tables and starts the stages.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ::decode::{Conflicts, columns};
use arrow_schema::SchemaRef;
use event::{Clock, LogId, StreamName, TimestampMicros, limits};
use eventlog::EventLog;
use metrics::{counter, gauge, histogram};
use table::{Table, TableState};
use tokio::sync::{mpsc, oneshot, watch};

use crate::LoadError;
use crate::commit::{Committed, Committer, Patience};
use crate::consume::consume;
use crate::options::{Control, LoaderOptions, Wish};
use crate::progress::{LoaderState, Progress};
use crate::sequence::sequence;
use crate::worker::{Lines, Worker};

/// Loads one stream's topic into its table and its dead-letter table.
#[derive(Debug)]
pub struct Loader {
    options: LoaderOptions,
    log: Arc<dyn EventLog>,
    main: Arc<dyn Table>,
    dead: Arc<dyn Table>,
    clock: Clock,
    reporter: Reporter,
}

/// What a loader did, once it has ended as asked.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The stream.
    pub stream: StreamName,
    /// How far it came.
    pub progress: Progress,
}

impl Loader {
    /// A loader that has not touched anything yet.
    #[must_use]
    pub fn new(
        options: LoaderOptions,
        log: Arc<dyn EventLog>,
        main: Arc<dyn Table>,
        dead: Arc<dyn Table>,
        clock: Clock,
    ) -> Self {
        let reporter = Reporter {
            stream: options.stream.clone(),
            progress: Arc::new(watch::channel(Progress::default()).0),
        };
        Self { options, log, main, dead, clock, reporter }
    }

    /// How far it is, at any time.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.reporter.progress.subscribe()
    }

    /// Loads until `control` says to end. Passing failures of log and lake are waited out.
    ///
    /// # Errors
    /// [`LoadError`] when a person is needed. What was committed stays committed, the rest stays
    /// in the log, and a later run goes on from there.
    pub async fn run(self, control: &Control) -> Result<Summary, LoadError> {
        let (log_id, state) = self.open().await?;
        let consumer = self.log.consumer(&self.options.topic, &self.options.group)?;
        self.reporter.set_state(LoaderState::Running);
        self.reporter.saw(&state);

        let (heard_sender, heard) = crossbeam_channel::bounded(limits::FETCH_QUEUE_MAX);
        let (orders, orders_receiver) = crossbeam_channel::unbounded();
        let (requests, requests_receiver) = mpsc::channel(1);
        let (answers_sender, answers) = crossbeam_channel::unbounded();
        let (wishes_sender, wishes) = crossbeam_channel::unbounded();
        let lines = Lines { heard, orders, requests, answers, wishes };
        let worker = Worker::new(
            self.options.clone(),
            log_id.clone(),
            self.main.layout(),
            self.clock.clone(),
            self.reporter.clone(),
            lines,
            &state,
        )?;

        let consuming = spawn("consume", move || consume(consumer, &heard_sender, &orders_receiver))?;
        let working = spawn("work", move || worker.run())?;
        let main = Arc::clone(&self.main);
        let sequencing =
            tokio::spawn(sequence(self.committer(log_id), main, requests_receiver, move |answer| {
                // The worker may have ended on an error of its own; then nobody needs the answer.
                let _ = answers_sender.send(answer);
            }));
        let relaying = tokio::spawn(relay(control.subscribe(), wishes_sender));

        let worked = working.await.unwrap_or_else(|_| Err(self.lost("work")));
        relaying.abort();
        let sequenced = sequencing.await.map_err(|_| self.lost("sequence"));
        let consumed = consuming.await.map_err(|_| self.lost("consume"));
        self.reporter.set_state(LoaderState::Stopped);
        worked?;
        sequenced?;
        consumed?;
        let progress = self.reporter.progress.borrow().clone();
        Ok(Summary { stream: self.options.stream, progress })
    }

    /// Both tables, made if need be, and the identity of the log whose positions they hold.
    async fn open(&self) -> Result<(LogId, TableState), LoadError> {
        let described = self.log.describe(&self.options.topic).await?;
        let log_id = described.id;
        self.open_table(&*self.dead, &columns::dead_letter_schema(), &log_id).await?;
        let state =
            self.open_table(&*self.main, &columns::initial_schema(&self.options.decode), &log_id).await?;
        Ok((log_id, state))
    }

    async fn open_table(
        &self,
        table: &dyn Table,
        schema: &SchemaRef,
        log_id: &LogId,
    ) -> Result<TableState, LoadError> {
        let state = match table.load(log_id).await? {
            Some(state) => state,
            None => table.create(schema, log_id).await?,
        };
        if let (true, Some(other)) = (state.positions.is_empty(), state.other_logs.first()) {
            return Err(LoadError::OtherLog {
                table: table.name().to_owned(),
                found: other.to_string(),
                expected: log_id.to_string(),
            });
        }
        Ok(state)
    }

    fn committer(&self, log_id: LogId) -> Committer {
        Committer {
            stream: self.options.stream.clone(),
            topic: self.options.topic.clone(),
            log_id,
            log: Arc::clone(&self.log),
            main: Arc::clone(&self.main),
            dead: Arc::clone(&self.dead),
            start: self.options.start,
            clock: self.clock.clone(),
            patience: Patience::new(self.clock.clone(), self.reporter.clone()),
            fenced_epoch: None,
        }
    }

    fn lost(&self, stage: &'static str) -> LoadError {
        LoadError::StageLost { stream: self.options.stream.to_string(), stage }
    }
}

/// Passes wishes on to a thread that cannot await them.
async fn relay(mut wishes: watch::Receiver<Wish>, sender: crossbeam_channel::Sender<Wish>) {
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

/// Keeps [`Progress`] and the metrics true. Clones report for the same loader.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    stream: StreamName,
    progress: Arc<watch::Sender<Progress>>,
}

impl Reporter {
    pub(crate) fn set_state(&self, state: LoaderState) {
        self.progress.send_if_modified(|progress| {
            let changes = progress.state != state;
            progress.state = state;
            changes
        });
    }

    pub(crate) fn retrying(&self, what: &'static str, error: &LoadError) {
        tracing::warn!(stream = %self.stream, what, %error, "failed; trying again");
        counter!("laker_loader_retries_total", "stream" => self.stream.to_string(), "what" => what)
            .increment(1);
        self.set_state(LoaderState::Retrying(error.to_string()));
    }

    /// Reading works (again).
    pub(crate) fn heard_from_log(&self) {
        self.set_state(LoaderState::Running);
    }

    pub(crate) fn fenced(&self, state: &TableState) {
        self.saw(state);
        counter!("laker_loader_fenced_total", "stream" => self.stream.to_string()).increment(1);
    }

    /// The table as it is, whoever moved it.
    pub(crate) fn saw(&self, state: &TableState) {
        self.progress.send_modify(|progress| {
            progress.landed = state.positions.clone();
            progress.table_version = Some(state.version);
        });
    }

    pub(crate) fn landed(&self, committed: &Committed, now: TimestampMicros) {
        let stream = self.stream.to_string();
        let total = committed.total;
        counter!("laker_loader_rows_total", "stream" => stream.clone()).increment(total.rows);
        counter!("laker_loader_dead_letters_total", "stream" => stream.clone()).increment(total.dead);
        counter!("laker_loader_skipped_total", "stream" => stream.clone()).increment(total.skipped);
        counter!("laker_loader_commits_total", "stream" => stream.clone()).increment(1);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!("laker_loader_table_version", "stream" => stream).set(committed.state.version as f64);
        self.progress.send_modify(|progress| {
            progress.landed = committed.state.positions.clone();
            progress.table_version = Some(committed.state.version);
            progress.committed_at = Some(now);
            progress.rows_total += total.rows;
            progress.dead_total += total.dead;
            progress.skipped_total += total.skipped;
            progress.conflicts_total += committed.conflicts_count;
        });
        tracing::info!(
            stream = %self.stream, version = committed.state.version, rows = total.rows, dead = total.dead,
            skipped = total.skipped, batch = committed.label.id, "committed"
        );
    }

    pub(crate) fn took(&self, stage: &'static str, duration: Duration) {
        histogram!("laker_loader_stage_seconds", "stream" => self.stream.to_string(), "stage" => stage)
            .record(duration);
    }

    pub(crate) fn conflicts(&self, conflicts: &Conflicts) {
        for (field, reason, count) in conflicts.iter() {
            counter!(
                "laker_decode_conflicts_total", "stream" => self.stream.to_string(),
                "field" => field.to_owned(), "reason" => reason.code()
            )
            .increment(count);
        }
    }
}
