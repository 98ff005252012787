//! Rows as a reader finds them in a Parquet file, and whether they are what was sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Value};

use crate::events::{Fate, fate};

/// One row, null values left out.
pub type Row = Map<String, Value>;

/// A place in the log: partition and offset.
pub type Place = (u32, u64);

/// A Parquet file, read without a line of the loader's.
#[derive(Debug)]
pub struct File {
    /// Pairs in its footer.
    pub pairs: BTreeMap<String, String>,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// Reads a Parquet file.
///
/// # Errors
/// Why it cannot be read.
pub fn read(bytes: &Bytes) -> Result<File, String> {
    let options = ArrowReaderOptions::new();
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options)
        .map_err(|error| error.to_string())?;
    let pairs = builder.metadata().file_metadata().key_value_metadata().into_iter().flatten();
    let pairs = pairs.filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?))).collect();
    let mut lines = Vec::new();
    let mut writer = arrow_json::LineDelimitedWriter::new(&mut lines);
    for batch in builder.build().map_err(|error| error.to_string())? {
        let batch = batch.map_err(|error| error.to_string())?;
        writer.write(&batch).map_err(|error| error.to_string())?;
    }
    writer.finish().map_err(|error| error.to_string())?;
    let rows = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let rows = rows
        .map(serde_json::from_slice)
        .collect::<Result<Vec<Row>, serde_json::Error>>()
        .map_err(|e| e.to_string())?;
    Ok(File { pairs, rows })
}

/// Where in the log a row says it comes from.
#[must_use]
pub fn place(row: &Row) -> Option<Place> {
    let partition = u32::try_from(row.get("_partition")?.as_u64()?).ok()?;
    Some((partition, row.get("_offset")?.as_u64()?))
}

/// What is wrong with `row` as the row of an event with `payload`; nothing when it holds it all.
#[must_use]
pub fn difference(row: &Row, payload: Option<&[u8]>) -> Option<String> {
    let Fate::Row(event) = fate(payload) else { return Some("its record is no event".to_owned()) };
    let residual = row.get("_residual").and_then(Value::as_str).unwrap_or("{}");
    let Ok(Value::Object(residual)) = serde_json::from_str(residual) else {
        return Some(format!("its residual is {residual}"));
    };
    let is_kept = |(name, value): &(&String, &Value)| {
        // Times are another column as well, in another form.
        *name == "timestamp" || row.get(*name).or_else(|| residual.get(*name)).is_some_and(|v| same(v, value))
    };
    let lost = event.iter().find(|field| !is_kept(field));
    lost.map(|(name, value)| format!("field {name} is {value} in the log, and not in the row"))
}

/// What is wrong with `row` as the dead letter of `payload`.
#[must_use]
pub fn dead_difference(row: &Row, payload: Option<&[u8]>) -> Option<String> {
    let wanted: String = payload.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
    let raw = row.get("raw").and_then(Value::as_str).unwrap_or_default();
    if raw != wanted {
        return Some(format!("its bytes are {raw}, in the log {wanted}"));
    }
    let reason = row.get("reason").and_then(Value::as_str).unwrap_or_default();
    reason.is_empty().then(|| "it has no reason".to_owned())
}

/// JSON values that mean the same: 1 and 1.0 do.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}
