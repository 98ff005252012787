//! The log on a real Kafka: the suite every log passes, then what only Kafka has.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test's helpers fail as the test does")]

/// The cluster under test, and topics on it.
mod cluster;
/// The conformance suite.
mod conforms;
/// Several members of one group.
mod groups;
/// Positions with leader epochs, and topics made anew.
mod positions;
/// Offsets without a record: transactions, compaction, retention.
mod gaps;
/// Records of other producers.
mod foreign;
/// A spool in front.
mod spool;
/// What is said when something is wrong.
mod failures;
