//! Generated events.
