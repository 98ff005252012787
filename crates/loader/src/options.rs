//! What a loader is told, and how it is steered while it runs.

use std::sync::Arc;
use std::time::Duration;

use ::decode::DecodeOptions;
use event::{Positions, StreamName};
use tokio::sync::watch;

/// Settings of one stream's loader.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// The stream, for log lines and metrics.
    pub stream: StreamName,
    /// The topic to read.
    pub topic: String,
    /// The group that shares the topic's partitions.
    pub group: String,
    /// How bytes become columns.
    pub decode: Arc<DecodeOptions>,
    /// When a batch is cut.
    pub flush: FlushLimits,
    /// Where partitions begin that no table has a position for.
    pub start: StartPolicy,
}

/// When a batch is cut: whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct FlushLimits {
    /// Records in it.
    pub rows_max: u64,
    /// Bytes of events in it, as they were sent (a Parquet file of it is several times smaller).
    pub bytes_max: u64,
    /// Time since its first record arrived here, by the wall's pace, with or without traffic.
    pub age_max: Duration,
}

/// Where to begin when the table has no position yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPolicy {
    /// With the first record the log still has.
    Earliest,
    /// With the next record to be written; only partitions that exist when the table is made.
    Latest,
}

/// What a running loader is asked to do. Clones steer the same loader.
#[derive(Debug, Clone)]
pub struct Control(Arc<watch::Sender<Wish>>);

/// The latest wish; a later one replaces it, except that [`Wish::Stop`] stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Load.
    Run,
    /// End once everything below has landed, by this loader or another.
    FinishAt(Positions),
    /// Land what is buffered and end.
    Stop,
}

impl Control {
    /// A control that lets the loader run.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::channel(Wish::Run).0))
    }

    /// Lands what is buffered and ends, leaving the rest in the log.
    pub fn stop(&self) {
        self.0.send_replace(Wish::Stop);
    }

    /// Ends once everything below `target` has landed, by this loader or another.
    pub fn finish_at(&self, target: Positions) {
        self.0.send_if_modified(|wish| {
            let changes = *wish != Wish::Stop;
            if changes {
                *wish = Wish::FinishAt(target);
            }
            changes
        });
    }

    /// Completes once it was asked to end, in whatever way.
    pub async fn ending(&self) {
        // It fails only when there is no sender left, and this is one.
        let _ = self.subscribe().wait_for(|wish| *wish != Wish::Run).await;
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Wish> {
        self.0.subscribe()
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_not_taken_back_by_a_later_wish() {
        let control = Control::new();
        control.stop();
        control.finish_at(Positions::new());
        assert_eq!(*control.subscribe().borrow(), Wish::Stop);
    }
}
