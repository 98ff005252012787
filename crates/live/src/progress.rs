//! What the loader has landed, as it is given to us.

use std::collections::BTreeMap;

use event::{Positions, StreamName, TimestampMicros};

/// Progress of every stream a loader of this process works on.
pub type Progress = BTreeMap<StreamName, StreamProgress>;

/// How far the table of one stream is. Plain data, told by whoever runs the loader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamProgress {
    /// `next(p)` of the table's newest version.
    pub landed: Positions,
    /// That version.
    pub table_version: u64,
    /// When it was committed, if there was a commit.
    pub committed_at: Option<TimestampMicros>,
    /// Dead letters since the loader started.
    pub dead_total: u64,
    /// Values that did not fit their column and went to `_residual`, since the loader started.
    pub conflict_total: u64,
    /// What the loader is doing, for people: `running`, `retrying: …`, `stopped: …`.
    pub state: String,
}
