//! Delta tables on real stores.

mod conformance;
mod lakes;
mod log;
