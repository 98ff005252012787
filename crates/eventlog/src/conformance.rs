//! The suite every implementation passes. Each function proves one promise of [`EventLog`] or
//! [`Consumer`](crate::Consumer), on topics of its own, and panics where the promise is broken.

/// What is appended is durable, in order, and read back.
mod appends;
/// What a member of a group is given.
mod consumers;
/// What the promises are proven with.
mod steps;

use std::sync::Arc;

use async_trait::async_trait;

use crate::EventLog;

pub use appends::*;
pub use consumers::*;

/// Partitions of every topic the suite asks for.
pub const PARTITION_COUNT: u32 = 4;

/// A log under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The log.
    fn log(&self) -> Arc<dyn EventLog>;

    /// Makes a topic that nobody else uses, with [`PARTITION_COUNT`] partitions, and returns its name.
    async fn new_topic(&self) -> String;

    /// Closes the log, waits until it is closed, and opens it again: as after a restart.
    async fn reopen(&mut self);

    /// Puts a record without a value into partition 0 of `topic`. Whether this log can have such records.
    async fn put_tombstone(&self, topic: &str) -> bool;
}
