//! The loaders of all streams, steered together.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use event::{Clock, Positions, StreamName};
use eventlog::EventLog;
use loader::{Control, LoadError, Progress, Summary};
use table::Lake;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::parts;
use crate::settings::Settings;

/// Progress of each stream's loader.
pub(crate) type Watched = BTreeMap<StreamName, watch::Receiver<Progress>>;

/// Running loaders, one for each stream.
pub(super) struct Loaders {
    controls: BTreeMap<StreamName, Control>,
    tasks: JoinSet<Result<Summary, LoadError>>,
    watched: Watched,
}

impl Loaders {
    /// None at all.
    pub(super) fn none() -> Self {
        Self { controls: BTreeMap::new(), tasks: JoinSet::new(), watched: Watched::new() }
    }

    pub(super) fn start(settings: &Settings, log: &Arc<dyn EventLog>, lake: &Lake, clock: &Clock) -> Self {
        let mut loaders = Self::none();
        for stream in &settings.streams {
            let tables = parts::tables(lake, stream, clock);
            let loader = parts::loader(stream, &settings.group, log, &tables, clock);
            let control = Control::new();
            loaders.watched.insert(stream.name.clone(), loader.progress());
            loaders.controls.insert(stream.name.clone(), control.clone());
            loaders.tasks.spawn(async move { loader.run(&control).await });
        }
        loaders
    }

    pub(super) fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Asks each to end where its log ends now, or where it stands if the log cannot say.
    pub(super) async fn finish(&self, settings: &Settings, log: &Arc<dyn EventLog>) {
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
