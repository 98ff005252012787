//! The collector from a client's side: HTTP in, a log behind it.

mod support;

mod bad_input;
mod docs;
mod embedded;
mod encodings;
mod failures;
mod forms;
mod headers;
mod limits;
mod metrics;
mod shutdown;
mod tcp;
