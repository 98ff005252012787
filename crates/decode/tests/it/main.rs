//! What decoding promises, seen from outside the crate.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

/// A JSON reader of its own, rows as JSON, and the law.
mod oracle;
/// Events into a table, flush by flush.
mod table;
/// Generated events.
mod events;
/// What fits a column and what stays in the residual, each by an example.
mod fits;
/// Which columns follow from a flush.
mod evolution;
/// `_time` and `_id`.
mod identity;
/// Payloads that are no events, and events at the limits.
mod bad_input;
/// The law and its kin, on generated events.
mod law;
/// The same rows as arrow-json gives, where it can.
mod differential;
/// The JSON suite, file by file.
mod suite;
