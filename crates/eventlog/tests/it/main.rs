//! The embedded log against the suite every log passes, and against what only it must bear:
//! being killed, a second process, retention.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod conforms;
mod crash;
mod folder;
mod full_disk;
mod retention;
mod spool;
mod spool_conforms;
