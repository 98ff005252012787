//! The loaders of all streams, steered together.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use event::{Clock, ErrorKind, Positions, StreamName, limits};
use eventlog::EventLog;
use loader::{Control, LoadError, Loader, Progress, Summary};
use table::Lake;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::parts;
use crate::settings::Settings;

/// Progress of each stream's loader.
pub(crate) type Watched = BTreeMap<StreamName, watch::Receiver<Progress>>;

/// What a loader waits for where it could end as well.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// A log that does not answer yet.
    pub(super) for_the_log: bool,
    /// A person who sees to its positions: it is tried again now and then, while the process works on.
    pub(super) for_a_person: bool,
}

/// Running loaders, one for each stream.
pub(super) struct Loaders {
    controls: BTreeMap<StreamName, Control>,
    tasks: JoinSet<Result<Summary, LoadError>>,
    watched: Watched,
    /// Ends the waiting of those whose log has not answered yet.
    ending: CancellationToken,
}

impl Loaders {
    /// None at all.
    pub(super) fn none() -> Self {
        Self {
            controls: BTreeMap::new(),
            tasks: JoinSet::new(),
            watched: Watched::new(),
            ending: CancellationToken::new(),
        }
    }

    /// Starts one for each stream.
    pub(super) fn start(
        settings: &Settings,
        log: &Arc<dyn EventLog>,
        lake: &Lake,
        waiting: Waiting,
        clock: &Clock,
    ) -> Self {
        let mut loaders = Self::none();
        for stream in &settings.streams {
            let tables = parts::tables(lake, stream, clock);
            let loader = parts::loader(stream, &settings.group, log, &tables, clock);
            let control = Control::new();
            loaders.watched.insert(stream.name.clone(), loader.progress());
            loaders.controls.insert(stream.name.clone(), control.clone());
            let (log, topic, clock) = (Arc::clone(log), stream.topic.clone(), clock.clone());
            let ending = loaders.ending.clone();
            loaders.tasks.spawn(async move {
                let answers = until_log_answers(log, topic, clock.clone());
                if waiting.for_the_log && ending.run_until_cancelled(answers).await.is_none() {
                    return Ok(loader.not_begun());
                }
                match waiting.for_a_person {
                    true => run_and_wait(&loader, &control, &clock).await,
                    false => loader.run(&control).await,
                }
            });
        }
        loaders
    }

    pub(super) fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Asks each to end where its log ends now, or where it stands if the log cannot say.
    pub(super) async fn finish(&self, settings: &Settings, log: &Arc<dyn EventLog>) {
        self.ending.cancel();
        for stream in &settings.streams {
            let Some(control) = self.controls.get(&stream.name) else { continue };
            match log_end(log, &stream.topic).await {
                Ok(end) => control.finish_at(end),
                Err(error) => {
                    tracing::warn!(stream = %stream.name, %error, "the log does not say where it ends; landing what was read");
                    control.stop();
                }
            }
        }
    }

    /// Asks each to land what it has read, and to end.
    pub(super) fn stop(&self) {
        self.ending.cancel();
        self.controls.values().for_each(Control::stop);
    }

    /// Waits until one ends on its own, which only a failure makes it do; for ever if there is none.
    ///
    /// # Errors
    /// Why it ended.
    pub(super) async fn one_ended(&mut self) -> Result<()> {
        match self.tasks.join_next().await {
            Some(ended) => told(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended.
    ///
    /// # Errors
    /// Why one failed; the others have ended all the same.
    pub(super) async fn all_ended(&mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            result = result.and(told(ended));
        }
        result
    }
}

/// Runs a loader, and again after each halt, until it is asked to end or fails in another way. A table of
/// another log found at the very start is a wrong setting more often than a topic made anew, so that ends it.
async fn run_and_wait(loader: &Loader, control: &Control, clock: &Clock) -> Result<Summary, LoadError> {
    let mut has_run = false;
    loop {
        let error = match loader.clone().run(control).await {
            Err(error) if error.is_about_positions() && (has_run || error.kind() == ErrorKind::Data) => error,
            done => return done,
        };
        tracing::error!(%error, "a loader waits for a person");
        has_run = true;
        if clock.timeout(limits::HALTED_LOOK_PAUSE, control.ending()).await.is_some() {
            return Err(error);
        }
    }
}

/// Waits as long as the log cannot be asked; what else is wrong, the loader says.
async fn until_log_answers(log: Arc<dyn EventLog>, topic: String, clock: Clock) {
    let mut pause = limits::RETRY_PAUSE_MIN;
    while let Err(error) = log.describe(&topic).await
        && error.kind() == ErrorKind::Unavailable
    {
        tracing::warn!(topic, %error, "the loader waits for the log");
        clock.sleep(pause).await;
        pause = (pause * 2).min(limits::RETRY_PAUSE_MAX);
    }
}

async fn log_end(log: &Arc<dyn EventLog>, topic: &str) -> Result<Positions, eventlog::LogError> {
    let described = log.describe(topic).await?;
    Ok(described.partitions.iter().map(|(partition, retained)| (*partition, retained.end())).collect())
}

fn told(ended: Result<Result<Summary, LoadError>, JoinError>) -> Result<()> {
    let Summary { stream, progress } = ended.context("a loader's task failed")??;
    tracing::info!(
        %stream, rows = progress.rows_total, dead = progress.dead_total, skipped = progress.skipped_total,
        version = progress.table_version, "loader ended"
    );
    Ok(())
}
