//! The laws, by name. A broken one is a bug in Laker: it stops the work and names itself.

use std::fmt;

/// The invariants of exactly-once delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// Every record below `next(p)` is a row, a dead letter or a counted skip.
    NoLoss,
    /// No `(log, partition, offset)` is in table and dead letters more than once.
    NoDuplicate,
    /// Committed ranges of a partition are contiguous.
    Chain,
    /// A reader sees whole commits only.
    PrefixVisibility,
    /// The start position comes from the table.
    Authority,
    /// A file that a commit names exists, and is never deleted while an outcome is unknown.
    FileSafety,
    /// Memory and disk stay under their limits.
    Bounds,
    /// When faults stop, lag returns to about zero without a person.
    Liveness,
    /// An acknowledgement follows durability.
    AcknowledgedIsDurable,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NoLoss => "I1 no loss",
            Self::NoDuplicate => "I2 no duplicate",
            Self::Chain => "I3 chain",
            Self::PrefixVisibility => "I4 prefix visibility",
            Self::Authority => "I5 authority",
            Self::FileSafety => "I6 file safety",
            Self::Bounds => "I7 bounds",
            Self::Liveness => "I8 liveness",
            Self::AcknowledgedIsDurable => "I9 acknowledged is durable",
        };
        f.write_str(text)
    }
}

/// Panics, naming the law, unless `holds`.
///
/// # Panics
/// When `holds` is false. Going on would write what cannot be taken back.
pub fn uphold(invariant: Invariant, holds: bool, context: impl FnOnce() -> String) {
    assert!(holds, "invariant broken: {invariant}: {}", context());
}
