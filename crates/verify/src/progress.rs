//! How far a verification is.

/// Told how far it is; shows it to a person, or does nothing.
pub trait Watch: Send + Sync {
    /// `done` of `total` of a stage are done.
    fn at(&self, stage: Stage, done: u64, total: u64);
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Commits are read.
    History,
    /// Bytes of files are read.
    Files,
    /// Offsets of the log are read.
    Log,
}

/// Watches nothing.
impl Watch for () {
    fn at(&self, _: Stage, _: u64, _: u64) {}
}
