//! Tables made of plain Parquet files, by their documented names and footers (`docs/tables.md`).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::Commit;
use crate::rows;

/// Partition and first offset in `p=<p>.json`.
pub(super) fn start(name: &str, bytes: &Bytes) -> Option<(u32, u64)> {
    let partition = name.strip_prefix("p=")?.strip_suffix(".json")?.parse().ok()?;
    let start: Value = serde_json::from_slice(bytes).ok()?;
    Some((partition, start.get("start")?.as_u64()?))
}

/// The commit that the file `p=<p>/<s>.parquet` is.
pub(super) fn commit(folder: &str, name: &str, bytes: &Bytes) -> Result<Commit, String> {
    let file = rows::read(bytes)?;
    let number = |key: &str| file.pairs.get(key).and_then(|text| text.parse::<u64>().ok());
    let footer = (number("laker.partition"), number("laker.start"), number("laker.end"));
    let (Some(partition), Some(start), Some(end)) = footer else { return Err(format!("footer {footer:?}")) };
    if folder != format!("p={partition}") || name != format!("{start:020}.parquet") {
        return Err(format!("I3 chain: {folder}/{name} is named otherwise than its footer {footer:?}"));
    }
    if number("laker.row_count") != Some(file.rows.len() as u64) {
        return Err(format!("I1 no loss: {} rows, the footer says otherwise", file.rows.len()));
    }
    let partition = u32::try_from(partition).map_err(|error| error.to_string())?;
    Ok(Commit { ranges: BTreeMap::from([(partition, (start, end))]), rows: file.rows })
}
