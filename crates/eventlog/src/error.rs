//! What can go wrong with a log, and what to do then.

use event::{ErrorKind, LogId, Offset, PartitionId};

/// Failure of a log operation. Every message names the place and says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The log cannot be reached or is busy; a later call may succeed.
    #[error("event log {place} is unavailable: {reason}")]
    Unavailable {
        /// Folder or broker list.
        place: String,
        /// What happened.
        reason: String,
    },
    /// The disk or the queue is full; nothing of the call was taken.
    #[error("event log {place} is full: {reason}")]
    Full {
        /// Folder or broker list.
        place: String,
        /// What is full, and what makes room.
        reason: String,
    },
    /// There is no such topic.
    #[error(
        "topic {topic:?} does not exist in {place}; create it, or correct `topic` in the stream's settings"
    )]
    TopicMissing {
        /// Its name.
        topic: String,
        /// Folder or broker list.
        place: String,
    },
    /// The settings cannot work: wrong address, credentials, property, rights.
    #[error("event log {place} cannot be used: {reason}")]
    Settings {
        /// Folder or broker list.
        place: String,
        /// What is wrong and what to change.
        reason: String,
    },
    /// Another process has the folder open, as one at a time may.
    #[error(
        "event log {place} is open in another process; stop that one, or give this one a folder of its own"
    )]
    InUse {
        /// The folder.
        place: String,
    },
    /// A position is not in the log any more, or not yet.
    #[error(
        "partition {partition} of topic {topic:?} has no offset {wanted}: it holds [{first}, {next}); \
         the log was trimmed, truncated or made anew behind the table's back"
    )]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// The position asked for.
        wanted: Offset,
        /// First retained offset.
        first: Offset,
        /// Next offset to be written.
        next: Offset,
    },
    /// The log lost its end after it was read, and has other records there now.
    #[error(
        "partition {partition} of topic {topic:?} was read up to offset {wanted}, but the log has lost records          below it and taken others in their place: {reason}"
    )]
    Truncated {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// The position that was reached.
        wanted: Offset,
        /// How that is known.
        reason: String,
    },
    /// The topic was deleted and made anew under its name: its offsets mean something else now.
    #[error("topic {topic:?} is {found} now, not {expected} any more: it was deleted and made anew")]
    TopicRecreated {
        /// The topic.
        topic: String,
        /// What it was.
        expected: LogId,
        /// What it is.
        found: LogId,
    },
    /// Stored bytes are not what was written.
    #[error("event log {place} is damaged: {reason}")]
    Damaged {
        /// Folder or broker list, and where in it.
        place: String,
        /// What does not match.
        reason: String,
    },
}

impl LogError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable { .. } | Self::Full { .. } => ErrorKind::Unavailable,
            Self::TopicMissing { .. } | Self::Settings { .. } | Self::InUse { .. } => ErrorKind::Settings,
            Self::OffsetOutOfRange { .. }
            | Self::Truncated { .. }
            | Self::TopicRecreated { .. }
            | Self::Damaged { .. } => ErrorKind::Data,
        }
    }
}
