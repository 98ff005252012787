//! Fuzz targets: one function per decoder of bytes that come from outside, each with a law to hold.
//!
//! `cargo xtask fuzz` runs them under libFuzzer, guided by the coverage of our own crates, from the
//! corpus beside this file; `cargo test -p fuzz` runs the corpus alone. A target panics when a law is
//! broken, and for no other reason.

/// Source files of crates that do not show them, taken in as they are.
mod borrowed;
/// One JSON event: verdict, rows, residual.
pub mod event_bytes;
/// HTTP bodies, plain and compressed.
pub mod body;
/// Headers and paths of requests.
pub mod headers;
/// The text of a receipt.
pub mod receipt;
/// Settings: file, environment, flags.
pub mod settings;
/// Entries of the embedded log.
pub mod stored;
/// What the plain-Parquet table reads of a file and of a schema object.
pub mod parquet_table;
/// Entries of a Delta log.
pub mod delta_log;
/// SQL statements.
pub mod sql;
/// The action that the live page counts.
pub mod action;
/// A log in memory, and requests to a collector in front of it.
mod requests;
/// Rows as JSON, and the law that row and residual are the event: the judge of `decode`'s own tests.
#[path = "../../decode/tests/it/oracle.rs"]
#[expect(clippy::unwrap_used, reason = "a judge fails as a test does")]
#[allow(missing_docs, dead_code, reason = "what a test shares has no docs, and more than is used here")]
mod oracle;

/// What is called with each input.
pub type Target = fn(&[u8]);

/// All targets by name. Each has a folder of its name under `corpus`.
pub const TARGETS: [(&str, Target); 12] = [
    ("action", action::run),
    ("body", body::run),
    ("delta_log", delta_log::run),
    ("event", event_bytes::run),
    ("footer", parquet_table::footer),
    ("headers", headers::run),
    ("receipt", receipt::run),
    ("schema_object", parquet_table::schema_object),
    ("settings", settings::run),
    ("sql", sql::run),
    ("stored_batch", stored::batch),
    ("stored_topic", stored::topic),
];
