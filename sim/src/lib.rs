//! The real collector and loader over a simulated log, store and clock, under one seed.
//!
//! Nothing here is a model of Laker: its router, its worker, its sequencer, its committer and its two
//! tables run as they do in earnest. What is simulated is the world around them, and the auditor
//! recounts from what was sent. What it can show and what not is in `docs/simulation.md`.

/// One run: everything of a seed.
pub mod run;
/// What a run is made of, drawn by its seed.
pub mod scenario;
/// Recounts whether every promise is kept.
pub mod auditor;
/// Rows as a reader finds them.
pub mod rows;
/// Events that say which they are, and poison.
pub mod events;
/// Clients, collectors, and a producer of somebody else's.
pub mod traffic;
/// Loader processes and their supervisor.
pub mod loaders;
/// A simulated object store.
pub mod store;
/// A simulated event log.
pub mod log;
/// A simulated group of consumers.
pub mod group;
/// Requests and answers that are late, lost or doubled.
pub mod network;
/// Time, chance and tasks of one simulated process.
pub mod clock;
/// One thread that runs every task, in an order drawn by the seed.
pub mod executor;
/// All chance of a run.
pub mod chance;

pub use run::{Report, run};
pub use scenario::TableKind;
