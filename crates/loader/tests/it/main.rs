//! The loader on a real embedded log and real tables in a folder.

/// A log, a lake and loaders on them.
mod world;
/// What the table holds after which events and settings.
mod lands;
/// What is left when log, table or process fail at a bad moment.
mod recovers;
