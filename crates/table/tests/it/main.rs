//! Tables of plain Parquet, and the lake, on real stores.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests fail, and say what they skip, as tests do"
)]

mod golden;
mod lakes;
mod parquet_table;
mod probe;
