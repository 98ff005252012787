//! Opens the tables and puts the stages together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::decode::{Conflicts, columns};
use arrow_schema::SchemaRef;
use event::{Clock, ErrorKind, LogId, StreamName, TimestampMicros};
use eventlog::EventLog;
use metrics::{counter, gauge, histogram};
use table::{Table, TableState};
use tokio::sync::watch;

use crate::LoadError;
use crate::commit::{Committed, Committer, Patience};
use crate::consume::Desk;
use crate::drive::drive;
use crate::options::{Control, LoaderOptions};
use crate::progress::{LoaderState, Progress};
use crate::sequence::Sequencer;
use crate::standing::Standing;
use crate::worker::Worker;

/// Loads one stream's topic into its table and its dead-letter table. Clones report as the same one.
#[derive(Debug, Clone)]
pub struct Loader {
    pub(crate) options: LoaderOptions,
    log: Arc<dyn EventLog>,
    main: Arc<dyn Table>,
    dead: Arc<dyn Table>,
    pub(crate) clock: Clock,
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
        let reporter = Reporter::new(options.stream.clone());
        Self { options, log, main, dead, clock, reporter }
    }

    /// How far it is, at any time.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.reporter.progress.subscribe()
    }

    /// What one did that was ended before it began.
    #[must_use]
    pub fn not_begun(self) -> Summary {
        let progress = self.reporter.progress.borrow().clone();
        Summary { stream: self.options.stream, progress }
    }

    /// Loads until `control` says to end. What is wrong at the start is said at once; once it runs,
    /// failures of log and lake are waited out, also those that need a person, such as a lost right.
    ///
    /// # Errors
    /// [`LoadError`] when a person is needed. What was committed stays committed, the rest stays
    /// in the log, and a later run goes on from there.
    pub async fn run(self, control: &Control) -> Result<Summary, LoadError> {
        let (stream, table) = (self.options.stream.clone(), self.main.name().to_owned());
        let reporter = self.reporter.clone();
        let done = self.run_until_ended(control).await.map_err(|error| error.in_words_of(&stream, &table));
        reporter.ended(done.as_ref().err());
        done?;
        let progress = reporter.progress.borrow().clone();
        Ok(Summary { stream, progress })
    }

    async fn run_until_ended(self, control: &Control) -> Result<(), LoadError> {
        let stages = self.open().await?;
        drive(&self, stages, control).await
    }

    /// Opens the tables and joins the group. [`Loader::run`] does so itself; this is for who drives
    /// the stages in another way, as the simulator does.
    ///
    /// # Errors
    /// As [`Loader::run`].
    pub async fn open(&self) -> Result<Stages, LoadError> {
        let (log_id, state) = self.open_tables().await?;
        let consumer = self.log.consumer(&self.options.topic, &self.options.group)?;
        self.reporter.began();
        self.reporter.saw(&state);
        let worker = Worker::new(
            self.options.clone(),
            log_id.clone(),
            self.main.layout(),
            self.clock.clone(),
            self.reporter.clone(),
            &state,
        )?;
        let (committer, table) = (self.committer(log_id), Arc::clone(&self.main));
        let sequencer = Sequencer { committer, table, clock: self.clock.clone() };
        Ok(Stages { desk: Desk::new(consumer), worker, sequencer })
    }

    /// Both tables, made if need be, and the identity of the log whose positions they hold.
    async fn open_tables(&self) -> Result<(LogId, TableState), LoadError> {
        let described = self.log.describe(&self.options.topic).await?;
        let log_id = described.id;
        self.open_table(&*self.dead, &columns::dead_letter_schema(), &log_id).await?;
        let state =
            self.open_table(&*self.main, &columns::initial_schema(&self.options.decode), &log_id).await?;
        self.check_standing(&state, &log_id).await?;
        Ok((log_id, state))
    }

    /// Refuses to begin where any partition could not go on, whoever of the group would have it.
    async fn check_standing(&self, state: &TableState, log_id: &LogId) -> Result<(), LoadError> {
        let topic = &self.options.topic;
        let mut standing = Standing::ask(state, log_id, &*self.log, topic).await?;
        // What looks expired, another loader may have landed between the two looks.
        if !standing.is_sound()
            && let Some(state) = self.main.load(log_id).await?
        {
            standing = Standing::ask(&state, log_id, &*self.log, topic).await?;
        }
        standing.checked(&self.options.stream, topic, self.main.name(), log_id)
    }

    async fn open_table(
        &self,
        table: &dyn Table,
        schema: &SchemaRef,
        log_id: &LogId,
    ) -> Result<TableState, LoadError> {
        // The lake was reached a moment ago: what fails now may pass, and is waited out as later on.
        let patience = self.patience();
        let state = match patience.insist("load", || table.load(log_id)).await? {
            Some(state) => state,
            None => patience.insist("create", || table.create(schema, log_id)).await?,
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
            patience: self.patience(),
            fenced_epoch: None,
        }
    }

    fn patience(&self) -> Patience {
        Patience::new(self.clock.clone(), self.reporter.clone())
    }
}

/// A loader's stages, not yet driven.
#[derive(Debug)]
pub struct Stages {
    /// Hears the log.
    pub desk: Desk,
    /// Owns all state.
    pub worker: Worker,
    /// Hears the table.
    pub sequencer: Sequencer,
}

/// Keeps [`Progress`] and the metrics true. Clones report for the same loader.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    stream: StreamName,
    progress: Arc<watch::Sender<Progress>>,
    /// Whether a refusal that needs a person has been said and has not passed.
    refused: Arc<AtomicBool>,
}

impl Reporter {
    pub(crate) fn new(stream: StreamName) -> Self {
        let progress = Arc::new(watch::channel(Progress::default()).0);
        Self { stream, progress, refused: Arc::new(AtomicBool::new(false)) }
    }

    pub(crate) fn set_state(&self, state: LoaderState) {
        self.progress.send_if_modified(|progress| {
            let changes = progress.state != state;
            progress.state = state;
            changes
        });
    }

    /// It reads: whatever it waited for before is settled.
    fn began(&self) {
        gauge!("laker_loader_halted", "stream" => self.stream.to_string()).set(0.0);
        self.set_state(LoaderState::Running);
    }

    /// It has ended, as asked or for `error`.
    fn ended(&self, error: Option<&LoadError>) {
        let halted = error.filter(|error| error.is_about_positions());
        gauge!("laker_loader_halted", "stream" => self.stream.to_string()).set(f64::from(halted.is_some()));
        self.set_state(halted.map_or(LoaderState::Stopped, |error| LoaderState::Halted(error.to_string())));
    }

    pub(crate) fn retrying(&self, what: &'static str, error: &LoadError) {
        if error.kind() != ErrorKind::Settings {
            tracing::warn!(stream = %self.stream, what, %error, "failed; trying again");
        } else if !self.refused.swap(true, Ordering::Relaxed) {
            tracing::error!(stream = %self.stream, what, %error, "refused; trying again until it is allowed");
        }
        counter!("laker_loader_retries_total", "stream" => self.stream.to_string(), "what" => what)
            .increment(1);
        self.set_state(LoaderState::Retrying(error.to_string()));
    }

    /// What was asked of log or table has worked.
    pub(crate) fn works_again(&self) {
        if self.refused.swap(false, Ordering::Relaxed) {
            tracing::info!(stream = %self.stream, "no longer refused");
        }
        self.set_state(LoaderState::Running);
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
