//! What can go wrong with a table, and what to do then.

use event::ErrorKind;

/// Failure of a table operation. Every message names the place and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The lake cannot be reached, or failed in a way that may pass.
    #[error("lake {place} is unavailable: {reason}")]
    Unavailable {
        /// URL of the lake or object.
        place: String,
        /// What happened.
        reason: String,
    },
    /// Wrong URL, bucket, key or rights.
    #[error("lake {place} cannot be used: {reason}")]
    Settings {
        /// URL of the lake or object.
        place: String,
        /// What is wrong and what to change.
        reason: String,
    },
    /// The store lets two writers create one object: exactly once cannot be kept on it.
    #[error("lake {place} does not keep conditional writes: {reason}")]
    NotAtomic {
        /// URL of the lake.
        place: String,
        /// Which probe failed, and how.
        reason: String,
    },
    /// What is stored contradicts itself or the settings.
    #[error("table {table} at {place} is not as expected: {reason}")]
    Data {
        /// Name of the table.
        table: String,
        /// URL of the table.
        place: String,
        /// What does not fit, and what to do.
        reason: String,
    },
}

impl TableError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable { .. } => ErrorKind::Unavailable,
            Self::Settings { .. } | Self::NotAtomic { .. } => ErrorKind::Settings,
            Self::Data { .. } => ErrorKind::Data,
        }
    }
}
