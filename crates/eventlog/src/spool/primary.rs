//! What a spool needs of the log behind it.

use async_trait::async_trait;
use bytes::Bytes;
use event::{Offset, Records};

use crate::{EventLog, LogError, Placement};

/// A log a spool can stand in front of.
#[async_trait]
pub trait Primary: EventLog {
    /// As [`EventLog::append`], but gives up soon, and says whether anything may have been taken.
    ///
    /// # Errors
    /// [`NotAppended`] when not every payload is known to be durable.
    async fn try_append(&self, topic: &str, payloads: &[Bytes]) -> Result<Vec<Placement>, NotAppended>;

    /// Shuts every earlier forwarder of this spool and topic out for good, settles what they had
    /// under way, and only then reads the position they had come to.
    ///
    /// # Errors
    /// Why the log could not be asked.
    async fn forwarder(&self, spool: &str, topic: &str) -> Result<Box<dyn Forwarder>, LogError>;
}

/// Puts events of one spool into one topic, each with the position it stands for.
#[async_trait]
pub trait Forwarder: Send {
    /// The position in the spool that the log has for this topic; `None` when it has none.
    fn position(&self) -> Option<Offset>;

    /// Appends `records` in their order, and moves the position to `next`, both or neither. `records`
    /// may be empty: then only the position moves.
    ///
    /// # Errors
    /// When it is not known that both have happened. This forwarder is of no use then; whether they
    /// have, the position of the next one says.
    async fn forward(&mut self, records: &Records, next: Offset) -> Result<(), LogError>;
}

/// Why an append is not acknowledged.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NotAppended {
    /// What happened.
    pub error: LogError,
    /// Whether it is certain that no reader will ever see one of these payloads. Only then they may
    /// be put into the log in another way.
    pub nothing_taken: bool,
}

impl NotAppended {
    /// A failure before anything was handed over.
    #[must_use]
    pub fn nothing(error: LogError) -> Self {
        Self { error, nothing_taken: true }
    }

    /// A failure after which some payloads may be in the log.
    #[must_use]
    pub fn perhaps(error: LogError) -> Self {
        Self { error, nothing_taken: false }
    }
}
