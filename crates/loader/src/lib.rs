//! From the log to the table, exactly once.
//!
//! One file per stage in the order an event takes, one type per state; a stage takes the former
//! state by value, and each state carries the offset ranges it covers:
//!
//! `Fetched -> Decoded -> Batch -> EncodedBatch -> StoredBatch -> Committed`
//!
//! The loader knows neither Delta nor Kafka nor HTTP: it speaks to [`eventlog::EventLog`] and
//! [`table::Table`] in plain data.

/// What a loader is told, and how it is steered while it runs.
pub mod options;
/// How far it is: what health, metrics and the live page show.
pub mod progress;
/// What ends a loader.
pub mod error;
/// Whether the log still has what a table goes on with.
pub mod standing;
/// Accepting that records are gone.
pub mod gap;

/// Stage 1, which never waits for the lake: polls the log.
mod consume;
/// Stage 2: bytes become columns.
mod decode;
/// Stage 3: collects until rows, bytes or age say so, then fixes the schema.
mod batch;
/// Stage 4: columns become Parquet files.
mod encode;
/// Stage 5: files are stored where no reader sees them yet.
mod upload;
/// Stage 6: uploads run side by side, commits follow in the order of the batches.
mod sequence;
/// Stage 7: dead letters first, then rows and positions, each in one commit.
mod commit;

/// Who owns which partition, what is buffered, and what each event makes of it.
mod worker;
/// Opens the tables and puts the stages together.
mod run;
/// Drives the stages: two plain threads, and tasks.
mod drive;

/// Dead letters that are events now.
pub mod replay;

pub use consume::{Desk, Generation, Heard, Order, Pace};
pub use error::LoadError;
pub use options::{Control, FlushLimits, LoaderOptions, StartPolicy, Wish};
pub use progress::Progress;
pub use replay::{DeadLetter, ReplayError, Replayed, Replayer};
pub use run::{Loader, Stages, Summary};
pub use sequence::{Answer, Request, Sequencer};
pub use standing::Standing;
pub use worker::{Flow, Input, Output, Worker};
