//! Cells as text.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, FieldRef, Schema};

/// One column, row by row: nested values as JSON, bytes as text, all else as Arrow shows it.
pub(super) enum Cells<'a> {
    Plain(ArrayFormatter<'a>, &'a dyn Array),
    Nested(NullableEncoder<'a>, &'a dyn Array),
    Bytes(&'a dyn Array),
}

impl<'a> Cells<'a> {
    /// The cells of `column`.
    pub(super) fn new(
        field: &'a FieldRef,
        column: &'a dyn Array,
        display: &'a FormatOptions<'a>,
        json: &'a EncoderOptions,
    ) -> Result<Self, ArrowError> {
        Ok(match column.data_type() {
            nested if nested.is_nested() => Self::Nested(make_encoder(field, column, json)?, column),
            DataType::Binary | DataType::LargeBinary => Self::Bytes(column),
            _ => Self::Plain(ArrayFormatter::try_new(column, display)?, column),
        })
    }

    /// Writes the cell of `row` to `out`; `false` when it is null.
    pub(super) fn write(&mut self, row: usize, out: &mut String) -> Result<bool, ArrowError> {
        match self {
            Self::Plain(_, column) | Self::Nested(_, column) | Self::Bytes(column) if column.is_null(row) => {
                return Ok(false);
            }
            Self::Plain(formatter, _) => formatter.value(row).write(out)?,
            Self::Nested(encoder, _) => {
                let mut json = Vec::new();
                encoder.encode(row, &mut json);
                out.push_str(&String::from_utf8_lossy(&json));
            }
            Self::Bytes(column) => write_bytes(bytes_of(*column, row), out),
        }
        Ok(true)
    }
}

fn bytes_of(column: &dyn Array, row: usize) -> &[u8] {
    match column.data_type() {
        DataType::LargeBinary => column.as_binary::<i64>().value(row),
        _ => column.as_binary::<i32>().value(row),
    }
}

/// Bytes as text: UTF-8 as it is, a backslash doubled, what is not UTF-8 as `\xNN`.
fn write_bytes(bytes: &[u8], out: &mut String) {
    for chunk in bytes.utf8_chunks() {
        out.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02X}");
        }
    }
}

/// `batch` with its columns of bytes as text, for JSON, which has no bytes.
pub(super) fn bytes_as_text(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let is_bytes = |data_type: &DataType| matches!(data_type, DataType::Binary | DataType::LargeBinary);
    let schema = batch.schema();
    if !schema.fields().iter().any(|field| is_bytes(field.data_type())) {
        return Ok(batch.clone());
    }
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        if is_bytes(field.data_type()) {
            (Field::new(field.name(), DataType::Utf8, true), text_of(column))
        } else {
            (field.as_ref().clone(), column.clone())
        }
    });
    let (fields, columns): (Vec<_>, Vec<_>) = columns.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn text_of(column: &ArrayRef) -> ArrayRef {
    let texts = (0..column.len()).map(|row| {
        column.is_valid(row).then(|| {
            let mut text = String::new();
            write_bytes(bytes_of(column, row), &mut text);
            text
        })
    });
    Arc::new(StringArray::from_iter(texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_that_loses_nothing() {
        let mut out = String::new();
        write_bytes(b"{\"a\": \"\\n\xff\xc3\xa9\"", &mut out);
        assert_eq!(out, r#"{"a": "\\n\xFFé""#);
    }
}
