//! JSON bytes become Arrow columns; schema inference and evolution. Pure: no I/O, no clock.
//!
//! One law holds for every row: **the row merged with its `_residual` is the event** (nulls aside,
//! which count as absent). `docs/decoding.md` says what fits a column, and why.
//!
//! An event is scanned once ([`json`]) into a tape of its values; their keys are resolved to
//! columns by guessing that keys come in the order they came in last time; values go straight
//! into the columns, what does not fit goes to `_residual` as bytes, and what has no column yet
//! leaves evidence ([`Discovered`]) from which the next schema follows.
#![forbid(unsafe_code)]

/// What a stream's settings say about decoding.
pub mod options;
/// Columns a table has from the beginning, and which names others may have.
pub mod columns;
/// The verdict on one payload: an event, or a dead letter and why.
pub mod check;
/// Strict JSON over bytes: checks, and finds where values end.
pub mod json;
/// A scanned event: where each of its values lies.
mod tape;
/// Strings with escapes.
mod text;
/// Numbers that a column holds exactly, and those it does not.
mod number;
/// When an event happened.
mod time;
/// Records into rows and dead letters.
pub mod decoder;
/// One event into its columns, and the rest into the residual.
mod level;
/// Keys to columns.
mod names;
/// Columns as they grow.
mod column;
/// What fits no column, in the event's own shape.
mod residual;
/// What one value without a column shows of the column it could have.
mod study;
/// What was seen of fields without a column, and the columns that follow from it.
pub mod evidence;
/// What did not fit, counted.
pub mod conflicts;
/// Rows of the table of dead letters.
mod dead;
/// Rows of an earlier schema under a later one.
pub mod conform;
/// What a sender broke in a way that has one meaning only.
pub mod repair;
/// Whether a row with its residual is the event it came from.
pub mod law;

pub use check::{DeadReason, EventLimits, check_event};
pub use conflicts::{Conflicts, Reason};
pub use conform::conform;
pub use decoder::{DecodeError, Decoded, Decoder};
pub use evidence::Discovered;
pub use options::{ColumnType, ColumnTypeError, ColumnsError, DecodeOptions};
pub use repair::Repair;
