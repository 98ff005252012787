//! Delta tables on real stores.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests fail, and say what they skip, as tests do"
)]

mod conformance;
mod golden;
mod lakes;
mod log;
