//! The workspace's own rules, as tests: what architecture and style promise, the machine checks.

#![allow(
    clippy::unwrap_used,
    reason = "a test's panic is its failure; clippy knows only functions marked as tests"
)]

/// Which crate may see which.
mod boundaries;
/// How files and functions look.
mod sources;
