//! Tables of plain Parquet, and the lake, on real stores.

mod lakes;
mod parquet_table;
mod probe;
