//! HTTP bodies become events in the log; only what the log took is acknowledged.
//!
//! A request takes this route, one module per stage: `route -> media -> body -> unpack -> split ->
//! verdict -> append -> answer`. It ends at the first stage that refuses it (`refusal`), and nothing of it is
//! acknowledged then. What HTTP clients see is written down in `docs/http.md`.

/// The budget of bytes that all requests share.
mod admission;
/// What goes back to the client.
mod answer;
/// Valid events into the log; the acknowledgement.
mod append;
/// The body's bytes off the wire, within limits of size and time.
mod body;
/// A request's way through the stages, and the collector that all requests share.
mod collector;
/// Headers that say what a body is, and which are taken.
mod media;
/// Streams and limits of a collector.
pub mod options;
/// Where the log put the events of one request, as text a client can keep.
pub mod receipt;
/// The same for events that went to the spool.
pub mod spool_receipt;
/// What a request is refused with: status, code and message.
mod refusal;
/// Paths, methods and CORS; the task each request runs in.
mod route;
/// One body becomes raw events.
mod split;
/// Names of the metrics, in one place.
mod telemetry;
/// Compressed bytes become plain bytes, never more than allowed.
mod unpack;
/// Each raw event is checked and gets its verdict.
mod verdict;

pub use collector::Collector;
pub use options::{CollectorLimits, CollectorOptions, StreamRoute};
pub use receipt::{Receipt, ReceiptError, Span};
pub use spool_receipt::{SpoolReceipt, SpoolReceiptError};
