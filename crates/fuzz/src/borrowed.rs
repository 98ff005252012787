//! Source files of crates that do not show them, taken in as they are.
//!
//! What they decode stays private where it belongs; here it is compiled a second time. Each file is
//! one that stands on public crates alone.
#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the files belong to other crates, which use all of them"
)]

#[path = "../../eventlog/src/embedded"]
pub(crate) mod embedded {
    pub(crate) mod stored_batch;
    pub(crate) mod stored_topic;
}

#[path = "../../table/src/parquet_table"]
pub(crate) mod parquet_table {
    mod schema_file;

    pub(crate) fn encode_schema(schema: &arrow_schema::Schema) -> Result<Vec<u8>, String> {
        schema_file::encode(schema)
    }

    pub(crate) fn decode_schema(bytes: &[u8]) -> Result<arrow_schema::SchemaRef, String> {
        schema_file::decode(bytes)
    }
}

#[path = "../../live/src"]
pub(crate) mod live {
    pub(crate) mod action;
}

#[path = "../../laker/src"]
pub(crate) mod laker {
    pub(crate) mod settings;
}
