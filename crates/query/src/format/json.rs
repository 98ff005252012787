//! An array of objects, or an object a line.
//!
//! Every object has every column, null where it has no value: so a reader of the first row knows
//! them all.

use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::cell::bytes_as_text;
use super::{JSON_ROWS_MAX, Writer};

/// NDJSON.
pub(super) struct LineWriter;

impl LineWriter {
    pub(super) fn new(_schema: &SchemaRef) -> Self {
        Self
    }
}

impl Writer for LineWriter {
    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        lines(batch)
    }
}

/// A JSON array, a row a line.
pub(super) struct ArrayWriter {
    is_first: bool,
}

impl ArrayWriter {
    pub(super) fn new(_schema: &SchemaRef) -> Self {
        Self { is_first: true }
    }
}

impl Writer for ArrayWriter {
    fn start(&mut self) -> Result<Vec<u8>, ArrowError> {
        Ok(b"[".to_vec())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let lines = lines(batch)?;
        let mut array = Vec::with_capacity(lines.len() + batch.num_rows());
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            array.extend_from_slice(if self.is_first { b"" } else { b",\n" });
            array.extend_from_slice(line);
            self.is_first = false;
        }
        Ok(array)
    }

    fn end(&mut self) -> Result<Vec<u8>, ArrowError> {
        Ok(b"]\n".to_vec())
    }

    fn rows_max(&self) -> usize {
        JSON_ROWS_MAX
    }
}

/// One object a line; JSON escapes line feeds, so that every one of them ends an object.
fn lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer: LineDelimitedWriter<Vec<u8>> = builder.build::<_, LineDelimited>(Vec::new());
    writer.write(&bytes_as_text(batch)?)?;
    writer.finish()?;
    Ok(writer.into_inner())
}
