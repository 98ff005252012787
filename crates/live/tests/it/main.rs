//! The live page's server as HTTP clients see it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

/// A real SQL engine over a log, and a lake where nothing has landed.
mod engine;
/// The event stream.
mod events;
/// An event log in memory whose moods a test decides.
mod memory_log;
/// The page and its headers.
mod page;
/// SQL over HTTP, on a real engine.
mod sql;
/// The numbers.
mod stats;
/// What the tests share.
mod support;
