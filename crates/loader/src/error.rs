//! What ends a loader.

use event::ErrorKind;
use eventlog::LogError;
use table::TableError;

/// Why a loader ended. Passing failures are waited out inside; these need a person.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The log said no for good.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The lake or a table said no for good.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The table was filled from another log.
    #[error(
        "table {table:?} has positions of {found}, not of {expected}: the log was exchanged, or the topic made \
         anew. Load into another table (`table` in the stream's settings), or give the old log back"
    )]
    OtherLog {
        /// The table.
        table: String,
        /// The log it was filled from.
        found: String,
        /// The log of the settings.
        expected: String,
    },
    /// A Parquet file could not be written.
    #[error("batch of stream {stream} could not be encoded: {reason}")]
    Encode {
        /// The stream.
        stream: String,
        /// What the encoder said.
        reason: String,
    },
    /// The decoder refuses the table's schema.
    #[error("table schema of stream {stream} cannot be loaded into: {reason}")]
    Schema {
        /// The stream.
        stream: String,
        /// What does not fit.
        reason: String,
    },
    /// A stage ended without saying why: a bug.
    #[error("the loader's {stage} stage of stream {stream} ended unexpectedly; this is a bug in Laker")]
    StageLost {
        /// The stream.
        stream: String,
        /// Which stage.
        stage: &'static str,
    },
}

impl LoadError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Log(error) => error.kind(),
            Self::Table(error) => error.kind(),
            Self::OtherLog { .. } => ErrorKind::Settings,
            Self::Encode { .. } | Self::Schema { .. } | Self::StageLost { .. } => ErrorKind::Data,
        }
    }
}
