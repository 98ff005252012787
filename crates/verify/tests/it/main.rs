//! Every kind of damage, inflicted on real tables of both formats, and found.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

/// A log, a lake, loaders, and a vandal.
mod world;
/// Tables that are sound.
mod sound;
/// Tables that are not.
mod damage;
/// Dead letters that were replayed.
mod replays;
