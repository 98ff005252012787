//! Reading a topic as one of a group: who owns which partition, from where.

use std::fmt;
use std::time::Duration;

use event::{OffsetRange, PartitionId, Positions, Records};

use crate::LogError;

/// One member of a group of readers. Lives on one plain thread; every call may block briefly.
///
/// The order of calls is: [`Polled::Assigned`] -> [`Consumer::start`] with positions from the
/// table -> [`Polled::Fetched`] … -> [`Polled::Revoked`] -> [`Consumer::release`]. No record of a
/// partition is delivered before its `start`, and none after its `Revoked`. The log's own idea of
/// the group's position is never used.
pub trait Consumer: fmt::Debug + Send {
    /// Waits up to `wait` for something to happen.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] when a position given to `start` is no longer, or not yet,
    /// in the log; [`LogError::Truncated`] when the log's records below it are not those that were
    /// read, which a log with leader epochs can tell from the position's; [`LogError::TopicRecreated`]
    /// when the topic is another one by now; else why the log can't be read. After an error that is retryable, polling again
    /// goes on where it was.
    fn poll(&mut self, wait: Duration) -> Result<Polled, LogError>;

    /// Delivers the named partitions from the given positions on. For newly assigned partitions
    /// and, called again, to go back (or forth) in ones that run: records fetched before are not
    /// delivered any more. Partitions not owned are ignored.
    ///
    /// # Errors
    /// Why the log can't be read there.
    fn start(&mut self, positions: &Positions) -> Result<(), LogError>;

    /// Stops fetching all partitions until [`Consumer::resume`]; `poll` must still be called.
    ///
    /// # Errors
    /// Why the log refused.
    fn pause(&mut self) -> Result<(), LogError>;

    /// Fetches again.
    ///
    /// # Errors
    /// Why the log refused.
    fn resume(&mut self) -> Result<(), LogError>;

    /// Says that the revoked partitions are no longer worked on, so that another member may start.
    ///
    /// # Errors
    /// Why the log refused.
    fn release(&mut self, partitions: &[PartitionId]) -> Result<(), LogError>;

    /// Tells the log how far the table is, for lag tools. Advisory: nothing rests on it.
    fn advise(&mut self, landed: &Positions);
}

/// What a poll brought.
#[derive(Debug)]
pub enum Polled {
    /// Nothing within the wait.
    Nothing,
    /// These partitions are ours now; they wait for [`Consumer::start`].
    Assigned(Vec<PartitionId>),
    /// These partitions are not ours any more; they wait for [`Consumer::release`].
    Revoked {
        /// The partitions.
        partitions: Vec<PartitionId>,
        /// Whether they may already be somebody else's (the session timed out).
        lost: bool,
    },
    /// Records of one partition.
    Fetched(Fetched),
}

/// Records of one partition, and the range of offsets they settle.
#[derive(Debug)]
pub struct Fetched {
    /// The partition.
    pub partition: PartitionId,
    /// From the position before to the position after this fetch. It covers offsets that hold no
    /// record for us (transaction markers, aborted or compacted records), so consecutive fetches
    /// of one `start` are contiguous. May hold no record at all. Where the log has leader epochs, it
    /// has that of the last record.
    pub range: OffsetRange,
    /// The records, at most `limits::FETCH_RECORDS_MAX` and about `limits::FETCH_BYTES_MAX`.
    pub records: Records,
}
