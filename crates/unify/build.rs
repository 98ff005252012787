//! Empty: it only makes cargo build the build-dependencies of this crate.

fn main() {}
