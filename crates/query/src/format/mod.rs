//! Answers as a table for the terminal, CSV, JSON, NDJSON or Arrow.
//!
//! In all text formats a timestamp is ISO 8601 (with `Z` where it has a zone, which is always UTC),
//! an integer is written in full, whatever its size, and bytes are text in which whatever is not
//! UTF-8 stands as `\xNN`.

/// Cells as text.
mod cell;
/// RFC 4180.
mod csv;
/// An array of objects, or an object a line.
mod json;
/// For people in front of a terminal.
mod table;
/// The Arrow IPC stream.
mod arrow_stream;

use std::str::FromStr;

use arrow::error::ArrowError;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use event::limits;
use futures::stream::{self, BoxStream, StreamExt};

use crate::answer::{Answer, Rows};
use crate::error::{QueryError, QueryErrorKind};

/// A way to write rows down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns, cut to what a person reads.
    Table,
    /// RFC 4180 with a header line. Null is empty, an empty string is `""`.
    Csv,
    /// One array of objects, at most [`limits::QUERY_ROWS_MAX`] of them.
    Json,
    /// An object a line.
    Ndjson,
    /// The Arrow IPC stream.
    Arrow,
}

impl Format {
    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Table => "text/plain; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The rows of `answer` in this format, as they are computed. An error ends the stream; in JSON
    /// the array is not closed then, so that no reader takes a part for the whole.
    #[must_use]
    pub fn write(self, answer: Answer) -> BoxStream<'static, Result<Bytes, QueryError>> {
        match self {
            Self::Table => chunks(answer, table::TableWriter::new),
            Self::Csv => chunks(answer, csv::CsvWriter::new),
            Self::Json => chunks(answer, json::ArrayWriter::new),
            Self::Ndjson => chunks(answer, json::LineWriter::new),
            Self::Arrow => chunks(answer, arrow_stream::IpcWriter::new),
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "table" => Ok(Self::Table),
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "ndjson" => Ok(Self::Ndjson),
            "arrow" => Ok(Self::Arrow),
            _ => Err(UnknownFormat(name.to_owned())),
        }
    }
}

/// A name that is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format {0:?} is unknown: use table, csv, json, ndjson or arrow")]
pub struct UnknownFormat(String);

/// The format that an `Accept` header asks for; JSON where it asks for none of ours.
#[must_use]
pub fn negotiate(accept: &str) -> Format {
    let ranges = accept.split(',').filter_map(media_range);
    let best = ranges.fold(None, |best: Option<(f32, Format)>, (weight, format)| match best {
        Some((most, _)) if most >= weight => best,
        _ => Some((weight, format)),
    });
    best.map_or(Format::Json, |(_, format)| format)
}

/// Weight and format of one item of an `Accept` header, if it is one of ours and not refused.
fn media_range(item: &str) -> Option<(f32, Format)> {
    let mut parts = item.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" | "application/*" | "*/*" => Format::Json,
        "text/csv" => Format::Csv,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Format::Ndjson,
        "application/vnd.apache.arrow.stream" => Format::Arrow,
        "text/plain" | "text/*" => Format::Table,
        _ => return None,
    };
    let weight =
        parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |weight| weight.parse().ok())?;
    (weight > 0.0).then_some((weight, format))
}

/// Turns batches into bytes, one after the other.
trait Writer: Send + 'static {
    /// What comes before the first row.
    fn start(&mut self) -> Result<Vec<u8>, ArrowError> {
        Ok(Vec::new())
    }

    /// The rows of one batch.
    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError>;

    /// What comes behind the last row.
    fn end(&mut self) -> Result<Vec<u8>, ArrowError> {
        Ok(Vec::new())
    }

    /// Rows that the format may have; more are an error.
    fn rows_max(&self) -> usize {
        usize::MAX
    }

    /// Whether it has seen all it will show, so that the statement can end.
    fn is_full(&self) -> bool {
        false
    }
}

enum Stage {
    Start,
    Rows(usize),
    Done,
}

fn chunks<W: Writer>(
    answer: Answer,
    make: impl FnOnce(&SchemaRef) -> W,
) -> BoxStream<'static, Result<Bytes, QueryError>> {
    let writer = make(&answer.schema);
    let chunks =
        stream::unfold((Stage::Start, writer, answer.rows), |(stage, mut writer, mut rows)| async move {
            let (bytes, next) = match chunk(stage, &mut writer, &mut rows).await {
                Ok(chunk) => chunk?,
                Err(error) => return Some((Err(error), (Stage::Done, writer, rows))),
            };
            Some((Ok(Bytes::from(bytes)), (next, writer, rows)))
        });
    chunks.filter(|chunk| std::future::ready(chunk.as_ref().map_or(true, |bytes| !bytes.is_empty()))).boxed()
}

async fn chunk(
    stage: Stage,
    writer: &mut impl Writer,
    rows: &mut Rows,
) -> Result<Option<(Vec<u8>, Stage)>, QueryError> {
    let count = match stage {
        Stage::Start => return Ok(Some((written(writer.start())?, Stage::Rows(0)))),
        Stage::Rows(count) => count,
        Stage::Done => return Ok(None),
    };
    let next = if writer.is_full() { None } else { rows.next().await.transpose()? };
    let Some(batch) = next else { return Ok(Some((written(writer.end())?, Stage::Done))) };
    let count = count + batch.num_rows();
    if count > writer.rows_max() {
        return Err(too_many_rows(writer.rows_max()));
    }
    Ok(Some((written(writer.batch(&batch))?, Stage::Rows(count))))
}

fn written(bytes: Result<Vec<u8>, ArrowError>) -> Result<Vec<u8>, QueryError> {
    bytes.map_err(|error| {
        QueryError::new(QueryErrorKind::Internal, format!("the answer cannot be written: {error}"))
    })
}

fn too_many_rows(rows_max: usize) -> QueryError {
    let message =
        format!("the answer has more than {rows_max} rows; add a LIMIT, or ask for NDJSON, CSV or Arrow");
    QueryError::new(QueryErrorKind::TooLarge, message)
}

/// Rows that a JSON array may have.
const JSON_ROWS_MAX: usize = limits::QUERY_ROWS_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers_as_clients_send_them() {
        for (accept, want) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Json),
            ("text/csv", Format::Csv),
            ("Text/CSV; charset=utf-8", Format::Csv),
            ("application/x-ndjson", Format::Ndjson),
            ("application/json;q=0.5, application/vnd.apache.arrow.stream", Format::Arrow),
            ("text/csv;q=0, application/x-ndjson;q=0.1", Format::Ndjson),
            ("text/plain", Format::Table),
            ("image/png", Format::Json),
        ] {
            assert_eq!(negotiate(accept), want, "{accept}");
        }
    }
}
