//! The vocabulary of Laker: what every other crate speaks, and nothing that does I/O.
//!
//! An event enters as bytes, becomes a [`Records`] entry at an [`Offset`] of a [`PartitionId`],
//! and travels to the table together with the [`OffsetRanges`] it belongs to.

/// Positions in the log, and the interval arithmetic that refuses gaps and overlaps.
pub mod offsets;
/// Which log a position belongs to.
pub mod log_id;
/// Payloads with their offsets, in one contiguous buffer.
pub mod records;
/// Names of streams and tables.
pub mod stream;
/// Every limit of the system, and how they relate.
pub mod limits;
/// The laws, by name.
pub mod invariants;
/// The one door for time, randomness, ids and tasks.
pub mod clock;
/// What the person or program that meets an error should do.
pub mod error_kind;

pub use clock::{Clock, ClockSource, TimestampMicros};
pub use error_kind::ErrorKind;
pub use log_id::LogId;
pub use offsets::{LeaderEpoch, Offset, OffsetRange, OffsetRanges, PartitionId, Positions};
pub use records::{Record, Records, RecordsBuilder};
pub use stream::StreamName;
