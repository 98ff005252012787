//! How far a loader is: what health, metrics and the live page show.

use event::{Positions, TimestampMicros};

/// State of one stream's loader, as plain data. Totals count since the process started.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// What is in the table, per partition.
    pub landed: Positions,
    /// The table's version as last seen.
    pub table_version: Option<u64>,
    /// When this loader's last commit landed.
    pub committed_at: Option<TimestampMicros>,
    /// Rows landed.
    pub rows_total: u64,
    /// Dead letters landed.
    pub dead_total: u64,
    /// Tombstones skipped.
    pub skipped_total: u64,
    /// Values that went to `_residual` for not fitting.
    pub conflicts_total: u64,
    /// What it is doing.
    pub state: LoaderState,
}

/// What a loader is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LoaderState {
    /// Opening tables, joining the group.
    #[default]
    Starting,
    /// Reading and committing.
    Running,
    /// The log or the lake fails; it tries again until it works.
    Retrying(String),
    /// It cannot go on until a person has decided, for this reason; nothing was skipped.
    Halted(String),
    /// Ended.
    Stopped,
}
