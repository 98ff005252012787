//! What ends a loader.

use event::{ErrorKind, LogId, Offset, OffsetRange, OffsetRanges, PartitionId, StreamName};
use eventlog::LogError;
use table::TableError;

use crate::gap;
use crate::standing::{Beyond, Standing};

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
    /// Records are gone from the log before they landed.
    #[error(
        "stream {stream} stands still: topic {topic:?} no longer holds what comes next, so retention or a deletion \
         was faster than the loader. Not landed and gone: {}. Nothing was skipped. Bring the records back, or have \
         the loss recorded in the table and go on: laker gap accept {stream} {}",
        listed(.gaps), gap::spelled(.gaps)
    )]
    Expired {
        /// The stream.
        stream: String,
        /// The topic.
        topic: String,
        /// What is gone.
        gaps: OffsetRanges,
    },
    /// The log lost records that have landed.
    #[error(
        "stream {stream} stands still: its table has partition {partition} of topic {topic:?} up to offset {next}, \
         but {reason}. Kafka has lost records after they were read (an unclean leader election, a restored broker) \
         and may have others at their offsets. Nothing was skipped or doubled. Bring the old log back, or load what \
         the log has now into another table (`table` in the stream's settings)"
    )]
    Diverged {
        /// The stream.
        stream: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// The table's position.
        next: Offset,
        /// What contradicts it.
        reason: String,
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
    /// Whether a running loader waits for it to pass. What was allowed at the start and is refused now
    /// (keys that were revoked, a right that was taken) may be allowed again, and a loader that waits
    /// needs nobody to start it then.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Log(LogError::TopicMissing { .. }) | Self::OtherLog { .. } => false,
            other => other.kind() != ErrorKind::Data,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Log(error) => error.kind(),
            Self::Table(error) => error.kind(),
            Self::OtherLog { .. } => ErrorKind::Settings,
            Self::Expired { .. } | Self::Diverged { .. } => ErrorKind::Data,
            Self::Encode { .. } | Self::Schema { .. } | Self::StageLost { .. } => ErrorKind::Data,
        }
    }

    /// Whether the log is not, or not any more, the one the table was filled from. Such a loader waits
    /// for a person while the rest of the process works on.
    #[must_use]
    pub fn is_about_positions(&self) -> bool {
        let missing = matches!(self, Self::Log(LogError::TopicMissing { .. }));
        missing || matches!(self, Self::Expired { .. } | Self::Diverged { .. } | Self::OtherLog { .. })
    }

    /// The same in the words of the stream, where the log told what is wrong with a position.
    pub(crate) fn in_words_of(self, stream: &StreamName, table: &str) -> Self {
        let Self::Log(error) = self else { return self };
        let stream = stream.to_string();
        match error {
            LogError::OffsetOutOfRange { topic, partition, wanted, first, .. } if wanted < first => {
                let gap = (partition, OffsetRange::new(wanted, first));
                Self::Expired { stream, topic, gaps: OffsetRanges::from_iter([gap]) }
            }
            LogError::OffsetOutOfRange { topic, partition, wanted, next, .. } => {
                Self::beyond(stream, topic, Beyond { partition, next: wanted, end: next })
            }
            LogError::Truncated { topic, partition, wanted, reason } => {
                Self::Diverged { stream, topic, partition, next: wanted, reason }
            }
            LogError::TopicRecreated { expected, found, .. } => Self::OtherLog {
                table: table.to_owned(),
                found: expected.to_string(),
                expected: found.to_string(),
            },
            other => Self::Log(other),
        }
    }

    fn beyond(stream: String, topic: String, beyond: Beyond) -> Self {
        let Beyond { partition, next, end } = beyond;
        Self::Diverged { stream, topic, partition, next, reason: format!("the log ends at {end}") }
    }
}

impl Standing {
    /// What keeps a loader of `stream` from going on, the worst of it first.
    ///
    /// # Errors
    /// That, with the ways out.
    pub fn checked(
        self,
        stream: &StreamName,
        topic: &str,
        table: &str,
        log: &LogId,
    ) -> Result<(), LoadError> {
        let (stream, topic) = (stream.to_string(), topic.to_owned());
        if let Some(other) = self.other_log {
            let (found, expected) = (log.to_string(), other.to_string());
            return Err(LoadError::OtherLog { table: table.to_owned(), found, expected });
        }
        if let Some(beyond) = self.beyond.first() {
            return Err(LoadError::beyond(stream, topic, *beyond));
        }
        match self.expired.is_empty() {
            true => Ok(()),
            false => Err(LoadError::Expired { stream, topic, gaps: self.expired }),
        }
    }
}

fn listed(gaps: &OffsetRanges) -> String {
    let listed = gaps.iter().map(|(partition, range)| {
        format!("partition {partition} {range} ({} offsets)", range.offset_count())
    });
    listed.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(first: u64, next: u64) -> LoadError {
        let error = LogError::OffsetOutOfRange {
            topic: "clicks".to_owned(),
            partition: PartitionId(2),
            wanted: Offset(5),
            first: Offset(first),
            next: Offset(next),
        };
        LoadError::Log(error).in_words_of(&StreamName::new("logs").expect("a name"), "logs")
    }

    #[test]
    fn a_position_before_the_log_names_the_command_that_accepts_the_gap() {
        let told = told(9, 20);
        assert!(told.is_about_positions() && told.kind() == ErrorKind::Data);
        let text = told.to_string();
        assert!(text.contains("partition 2 [5, 9) (4 offsets)"), "{text}");
        assert!(text.ends_with("laker gap accept logs 2:5-9"), "{text}");
    }

    #[test]
    fn a_position_behind_the_log_offers_no_gap() {
        let told = told(0, 3);
        assert!(told.is_about_positions() && matches!(told, LoadError::Diverged { .. }));
        let text = told.to_string();
        assert!(text.contains("up to offset 5, but the log ends at 3"), "{text}");
        assert!(!text.contains("gap accept"), "{text}");
    }
}
