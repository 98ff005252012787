//! Proves from table and log that every offset landed exactly once.
//!
//! It believes nobody: it asks the table what it says of its own past ([`table::History`]), reads
//! every file that readers would read, and reads the log again as far back as it goes. Then
//!
//! - the commits of each partition must be one chain, from its first to its next offset (`chain`);
//! - each file must be there and be what was written (`files`);
//! - each place of the log may be there once over rows and dead letters (`seen`);
//! - each commit must have brought as many rows and dead letters as it says (`counts`);
//! - each record of the log must be a row or a dead letter with that content (`contents`).
//!
//! Memory does not grow with the bytes of a table: one bit per offset at worst, next to nothing
//! where rows and dead letters leave no hole, and some hundred bytes per commit and file.

/// What was found.
pub mod report;
/// How far it is.
pub mod progress;
/// Whether the commits are one chain.
mod chain;
/// Whether a file is what was written, and the places of its rows.
mod files;
/// A set of offsets.
mod offsets;
/// All places there are.
mod seen;
/// Whether there are as many as the commits say.
mod counts;
/// Whether contents are what the log has.
mod contents;
/// The very rows that are wrong.
mod search;
/// One step after the other.
mod run;

use std::sync::Arc;

use event::StreamName;
use eventlog::EventLog;
use table::{History, Lake, TableError};

pub use progress::{Stage, Watch};
pub use report::{FilesReport, Kind, LogReport, PartitionReport, Problem, Report};

/// What is to be verified.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The stream, for messages.
    pub stream: StreamName,
    /// The lake both tables are on.
    pub lake: Lake,
    /// The table of rows.
    pub main: Arc<dyn History>,
    /// The table of dead letters.
    pub dead: Arc<dyn History>,
    /// The log and the topic in it, or why there is none to compare with.
    pub log: Result<(Arc<dyn EventLog>, String), String>,
    /// Whether `_id` holds the event's own field of that name (`event_id = "_id"`).
    pub own_id: bool,
}

/// Why nothing could be proven or disproven.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no table.
    #[error("stream {stream} has no table {table} yet; there is nothing to verify before a loader made it")]
    NoTable {
        /// The stream.
        stream: String,
        /// Its table.
        table: String,
    },
    /// The lake cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A task ended by a bug.
    #[error("reading a file failed by a bug: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Subject {
    /// Verifies the table as it is now. A loader may go on meanwhile.
    ///
    /// # Errors
    /// [`VerifyError`] when that cannot be done. What is wrong with the table is no error, but reported.
    pub async fn verify(&self, watch: &dyn Watch) -> Result<Report, VerifyError> {
        run::verify(self, watch).await
    }
}
