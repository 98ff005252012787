//! RFC 4180: CRLF, a header line, quotes where they are needed.

use arrow::error::ArrowError;
use arrow::json::writer::EncoderOptions;
use arrow::util::display::FormatOptions;
use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;

use super::Writer;
use super::cell::Cells;

pub(super) struct CsvWriter {
    schema: SchemaRef,
}

impl CsvWriter {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: schema.clone() }
    }
}

impl Writer for CsvWriter {
    fn start(&mut self) -> Result<Vec<u8>, ArrowError> {
        let mut line = String::new();
        for (index, field) in self.schema.fields().iter().enumerate() {
            separate(index, &mut line);
            push_value(field.name(), &mut line);
        }
        line.push_str("\r\n");
        Ok(line.into_bytes())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let (display, json) = (FormatOptions::default(), EncoderOptions::default());
        let columns = self.schema.fields().iter().zip(batch.columns());
        let mut columns: Vec<Cells<'_>> = columns
            .map(|(field, column)| Cells::new(field, column.as_ref() as &dyn Array, &display, &json))
            .collect::<Result<_, _>>()?;
        let (mut text, mut cell) = (String::new(), String::new());
        for row in 0..batch.num_rows() {
            for (index, column) in columns.iter_mut().enumerate() {
                separate(index, &mut text);
                cell.clear();
                if column.write(row, &mut cell)? {
                    push_value(&cell, &mut text);
                }
            }
            text.push_str("\r\n");
        }
        Ok(text.into_bytes())
    }
}

fn separate(index: usize, line: &mut String) {
    if index > 0 {
        line.push(',');
    }
}

/// A value that is not null: an empty one is quoted, to tell it from null.
fn push_value(value: &str, line: &mut String) {
    if !value.is_empty() && !value.contains(['"', ',', '\r', '\n']) {
        line.push_str(value);
        return;
    }
    line.push('"');
    line.push_str(&value.replace('"', "\"\""));
    line.push('"');
}
