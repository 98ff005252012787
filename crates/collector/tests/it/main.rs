//! The collector from a client's side: HTTP in, a log behind it.
#![allow(clippy::unwrap_used, reason = "clippy allows it in test functions only, not in what they share")]

mod support;

mod bad_input;
mod curl;
mod docs;
mod embedded;
mod encodings;
mod failures;
mod forms;
mod golden;
mod headers;
mod limits;
mod metrics;
mod shutdown;
mod suite;
mod tcp;
