//! The simulator against the suites of what it stands in for, against itself, and seeds that once failed.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod conforms;
mod deterministic;
mod seeds;
