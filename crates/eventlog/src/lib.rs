//! The durable event log: where an event is safe from the moment it is acknowledged.
//!
//! One trait, [`EventLog`], with two implementations: the embedded log here, and Kafka in
//! `eventlog-kafka`. Both pass [`conformance`]. A [`SpooledLog`] stands in front of Kafka for a
//! collector, and takes events onto this machine's disk while Kafka is gone.

/// Reading a topic as one of a group: who owns which partition, from where.
pub mod consumer;
/// What can go wrong, and what to do then.
pub mod error;
/// The log in a folder, on fjall.
pub mod embedded;
/// Events on this machine's disk while the log is gone, and their way into it.
pub mod spool;
/// The suite every implementation passes.
pub mod conformance;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use event::{LogId, Offset, OffsetRange, PartitionId, Positions, Records};

pub use consumer::{Consumer, Fetched, Polled};
pub use embedded::EmbeddedLog;
pub use error::LogError;
pub use spool::{SpooledLog, Taken};

/// A durable log of topics, each of one or more partitions.
#[async_trait]
pub trait EventLog: fmt::Debug + Send + Sync + 'static {
    /// Identity, partitions and watermarks of `topic`.
    ///
    /// # Errors
    /// [`LogError::TopicMissing`] when there is no such topic, else why it could not be asked.
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError>;

    /// Identity of `topic` now: the cheap part of [`EventLog::describe`].
    ///
    /// # Errors
    /// As [`EventLog::describe`].
    async fn identity(&self, topic: &str) -> Result<LogId, LogError> {
        Ok(self.describe(topic).await?.id)
    }

    /// Appends `payloads`, and returns only when all of them are durable: on disk and synced
    /// (embedded), or acknowledged by all in-sync replicas (Kafka). The answer has the place of
    /// each payload, in the order given.
    ///
    /// # Errors
    /// When not every payload is known to be durable. Some may be: whoever sends again may double
    /// them, which is why events carry ids.
    ///
    /// # Cancellation
    /// Dropping the future does not take back what was handed over.
    async fn append(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError>;

    /// Makes `payloads` durable as [`EventLog::append`] does, or, where a [`spool`] stands in front
    /// of the log, on this machine's disk, from where they come into the log later.
    ///
    /// # Errors
    /// As [`EventLog::append`].
    async fn take(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Taken, LogError> {
        self.append(topic, payloads).await.map(Taken::InLog)
    }

    /// What is durable from `from` on, each partition up to the end it has at some moment after
    /// the call, at most about `bytes_max` bytes in all. Reads only partitions named in `from`;
    /// a position before the first retained offset reads from there on, and `Ahead::range` shows it.
    /// Everything acknowledged before the call is within it, unless it was cut.
    ///
    /// # Errors
    /// Why it could not be read.
    async fn read(&self, topic: &str, from: &Positions, bytes_max: usize) -> Result<Ahead, LogError>;

    /// Joins `group` for reading `topic`. Blocking calls on its own thread follow.
    ///
    /// # Errors
    /// Why the log could not be joined.
    fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn Consumer>, LogError>;

    /// Allows the log to drop what lies below `landed`, once its retention says so. Kafka keeps
    /// its own retention and ignores this.
    ///
    /// # Errors
    /// Why it could not be noted. Nothing is lost then, only disk space.
    async fn landed(&self, topic: &str, landed: &Positions) -> Result<(), LogError>;
}

/// Where the log put one payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The partition.
    pub partition: PartitionId,
    /// The offset within it.
    pub offset: Offset,
}

/// What a topic is, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Identity of the topic's offsets.
    pub id: LogId,
    /// Retained part of each partition: first retained offset up to the next one to be written.
    pub partitions: BTreeMap<PartitionId, OffsetRange>,
}

/// What [`EventLog::read`] found.
#[derive(Debug, Clone, Default)]
pub struct Ahead {
    /// Per partition the range that was read and the records in it.
    pub partitions: BTreeMap<PartitionId, (OffsetRange, Records)>,
    /// Whether `bytes_max` ended the reading before the log's end.
    pub cut: bool,
}
