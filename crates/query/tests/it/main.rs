//! SQL on real tables and a real log. One binary for all of them, since it links DataFusion.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests fail, and say what they skip, as tests do"
)]

/// Streams to ask, and a loader small enough to be told when to land what.
mod support;
/// Each event once, landed or not.
mod seam;
/// What reads from files, and what does not.
mod scan;
/// The language: names, errors, what is refused.
mod sql;
/// Answers written down.
mod formats;
/// Logs and tables that misbehave on purpose.
mod faults;
