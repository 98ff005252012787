//! The loader on a real embedded log and real tables in a folder.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

/// A log, a lake and loaders on them.
mod world;
/// What the table holds after which events and settings.
mod lands;
/// What is left when log, table or process fail at a bad moment.
mod recovers;
/// Positions that no longer fit the log, and partitions that come and go.
mod positions;
/// Logs and tables of every format there has been.
mod golden;
