//! The entries we write.

use std::collections::HashMap;

use arrow_schema::{DataType, SchemaRef};
use bytes::Bytes;
use chrono::{Days, NaiveDate};
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake_core::kernel::{Action, Add, CommitInfo, MetadataExt as _, StructType, Transaction};
use event::{LeaderEpoch, LogId, Offset, PartitionId, Positions};
use serde_json::{Value, json};
use table::checksum::CHECKSUM_KEY;
use table::{Commit, EncodedFile, StoredFile, TableError, schema};

use crate::checkpoint::CHECKPOINT_INTERVAL;
use crate::log::TableLog;
use crate::place::Place;
use crate::position;
use crate::stats;
use crate::write::Next;

/// Column a table is partitioned by, if it has it.
pub(crate) const EVENT_DATE: &str = "event_date";
/// Key in `commitInfo`: identity of the batch.
pub(crate) const BATCH_ID: &str = "laker.batch_id";
/// Key in `commitInfo`: `true` where the ranges are a gap; else left out.
const GAP: &str = "laker.gap";
/// Key in `commitInfo`: the log whose positions move.
pub(crate) const LOG: &str = "laker.log";
/// Key in `commitInfo`: the ranges that are covered.
pub(crate) const RANGES: &str = "laker.ranges";
/// Operation of version 0.
pub(crate) const CREATE: &str = "CREATE TABLE";
/// Operation that writes down where partitions begin.
pub(crate) const BEGIN: &str = "BEGIN LOG";

/// The bytes of an entry: one action per line.
pub(crate) fn encode(place: &Place, actions: &[Action]) -> Result<Bytes, TableError> {
    let lines: Result<Vec<_>, _> = actions.iter().map(serde_json::to_string).collect();
    lines.map(|lines| Bytes::from(lines.join("\n"))).map_err(|e| place.data_error(e.to_string()))
}

/// Path of a data file under the table's folder.
pub(crate) fn file_path(place: &Place, file: &EncodedFile) -> Result<String, TableError> {
    let name = format!("{}-{}.parquet", file.batch_id, file.index);
    let Some(days) = file.event_date else { return Ok(name) };
    let date = date_text(days).ok_or_else(|| place.data_error(format!("day {days} is no date")))?;
    Ok(format!("{EVENT_DATE}={date}/{name}"))
}

/// `YYYY-MM-DD` of a day counted from 1970-01-01.
fn date_text(days: i32) -> Option<String> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let distance = Days::new(days.unsigned_abs().into());
    let date = if days < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) };
    date.map(|date| date.format("%Y-%m-%d").to_string())
}

/// The day that `text` names, counted from 1970-01-01.
pub(crate) fn days_of(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    i32::try_from(date.signed_duration_since(epoch).num_days()).ok()
}

/// Version 0: protocol 1/2, which every reader knows, and the columns.
pub(crate) fn create(place: &Place, schema: &SchemaRef) -> Result<Vec<Action>, TableError> {
    let columns = delta_schema(place, schema)?;
    let columns = serde_json::to_string(&columns).map_err(|e| place.data_error(e.to_string()))?;
    let partitioned = schema.column_with_name(EVENT_DATE).is_some();
    let partition_columns = if partitioned { vec![EVENT_DATE] } else { vec![] };
    let metadata = json!({
        "id": place.clock.new_id(),
        "name": place.name(),
        "description": null,
        "format": { "provider": "parquet", "options": {} },
        "schemaString": columns,
        "partitionColumns": partition_columns,
        "configuration": {
            "delta.checkpointInterval": CHECKPOINT_INTERVAL.to_string(),
            // Other writers would remove entries by which an unknown outcome is settled.
            "delta.enableExpiredLogCleanup": "false",
        },
        "createdTime": now_ms(place),
    });
    let protocol = json!({ "minReaderVersion": 1, "minWriterVersion": 2 });
    let refused = |e: serde_json::Error| place.data_error(e.to_string());
    let info = info(place, CREATE, HashMap::new(), HashMap::new());
    Ok(vec![
        info.into(),
        Action::Protocol(serde_json::from_value(protocol).map_err(refused)?),
        Action::Metadata(serde_json::from_value(metadata).map_err(refused)?),
    ])
}

/// Where partitions begin.
pub(crate) fn begin(
    known: &TableLog,
    place: &Place,
    log: &LogId,
    starts: &Positions,
) -> Result<Vec<Action>, TableError> {
    let details = HashMap::from([(LOG.to_owned(), json!(log.as_str()))]);
    let mut info = info(place, BEGIN, HashMap::new(), details);
    info.read_version = Some(known.version);
    let mut actions = vec![info.into()];
    for (partition, start) in starts.iter() {
        actions.extend(transactions(place, log, partition, start, None)?);
    }
    Ok(actions)
}

/// Rows and positions; the columns too, if there are new ones.
pub(crate) fn append(known: &TableLog, place: &Place, commit: &Commit) -> Result<Next, TableError> {
    let mut actions = vec![append_info(known, place, commit).into()];
    if !schema::is_superset(&known.schema, &commit.schema) {
        let merged = match schema::merge(&known.schema, &commit.schema) {
            Ok(merged) => merged,
            Err(conflict) => return Ok(Next::Refused(conflict.to_string())),
        };
        let metadata = known.metadata.clone().with_schema(&delta_schema(place, &merged)?);
        actions.push(Action::Metadata(metadata.map_err(|e| place.data_error(e.to_string()))?));
    }
    let partitioned = known.metadata.partition_columns();
    if !partitioned.iter().all(|column| column == EVENT_DATE) {
        return Err(
            place.data_error(format!("it is partitioned by {partitioned:?}, Laker writes by {EVENT_DATE:?}"))
        );
    }
    for file in &commit.files {
        actions.push(add(place, file, &commit.batch_id, !partitioned.is_empty())?.into());
    }
    let before = known.positions(&commit.log);
    for (partition, range) in commit.ranges.iter() {
        let epoch = range.epoch().or(before.epoch(partition));
        actions.extend(transactions(place, &commit.log, partition, range.end(), epoch)?);
    }
    Ok(Next::Write(actions))
}

fn append_info(known: &TableLog, place: &Place, commit: &Commit) -> CommitInfo {
    let ranges =
        commit.ranges.iter().map(|(p, range)| (p.to_string(), json!([range.start().0, range.end().0])));
    let mut details = HashMap::from([
        (BATCH_ID.to_owned(), json!(commit.batch_id)),
        (LOG.to_owned(), json!(commit.log.as_str())),
        (RANGES.to_owned(), Value::Object(ranges.collect())),
        ("laker.row_count".to_owned(), json!(commit.row_count)),
        ("laker.dead_count".to_owned(), json!(commit.dead_count)),
        ("laker.skipped_count".to_owned(), json!(commit.skipped_count)),
    ]);
    if commit.gap {
        details.insert(GAP.to_owned(), json!(true));
    }
    let partition_by = serde_json::to_string(known.metadata.partition_columns()).unwrap_or_default();
    let parameters = HashMap::from([
        ("mode".to_owned(), json!("Append")),
        ("partitionBy".to_owned(), Value::String(partition_by)),
    ]);
    let operation = if commit.gap { "ACCEPT GAP" } else { "WRITE" };
    let mut info = info(place, operation, parameters, details);
    info.read_version = Some(known.version);
    info.is_blind_append = Some(true);
    info
}

fn info(
    place: &Place,
    operation: &str,
    parameters: HashMap<String, Value>,
    details: HashMap<String, Value>,
) -> CommitInfo {
    CommitInfo {
        timestamp: Some(now_ms(place)),
        operation: Some(operation.to_owned()),
        operation_parameters: Some(parameters),
        engine_info: Some(concat!("laker/", env!("CARGO_PKG_VERSION")).to_owned()),
        info: details,
        ..CommitInfo::default()
    }
}

fn add(place: &Place, file: &StoredFile, batch_id: &str, partitioned: bool) -> Result<Add, TableError> {
    let bug = |what: &str| place.data_error(format!("file {} {what}; this is a bug in Laker", file.path));
    if file.event_date.is_some() != partitioned || !file.path.contains(batch_id) {
        return Err(bug("is not of this batch, or not partitioned as the table is"));
    }
    let mut partition_values = HashMap::new();
    if let Some(days) = file.event_date {
        let date = date_text(days).ok_or_else(|| bug("has a day that is no date"))?;
        partition_values.insert(EVENT_DATE.to_owned(), Some(date));
    }
    Ok(Add {
        path: file.path.clone(),
        partition_values,
        size: i64::try_from(file.size_bytes).map_err(|_| bug("is larger than Delta can say"))?,
        modification_time: now_ms(place),
        data_change: true,
        stats: Some(stats::encode(file)),
        tags: file.checksum.map(|checksum| HashMap::from([(CHECKSUM_KEY.to_owned(), Some(checksum.text()))])),
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    })
}

/// Without `lastUpdated`: such transactions never expire.
fn transactions(
    place: &Place,
    log: &LogId,
    partition: PartitionId,
    next: Offset,
    epoch: Option<LeaderEpoch>,
) -> Result<impl Iterator<Item = Action>, TableError> {
    let transactions = position::transactions(log, partition, next, epoch);
    let transactions = transactions.map_err(|reason| place.data_error(reason))?;
    Ok(transactions.into_iter().map(|(id, number)| Transaction::new(id, number).into()))
}

/// The schema in Delta's words.
fn delta_schema(place: &Place, schema: &SchemaRef) -> Result<StructType, TableError> {
    if let Some(zoneless) =
        schema.fields().iter().find(|field| matches!(field.data_type(), DataType::Timestamp(_, None)))
    {
        let name = zoneless.name();
        return Err(place.data_error(format!(
            "column {name:?} is a timestamp without zone, which needs a table feature"
        )));
    }
    schema.as_ref().try_into_kernel().map_err(|e| place.data_error(format!("its schema: {e}")))
}

fn now_ms(place: &Place) -> i64 {
    place.clock.now().0 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_as_dates_and_read_back() {
        for (days, text) in
            [(0, "1970-01-01"), (-1, "1969-12-31"), (20_000, "2024-10-04"), (-719_162, "0001-01-01")]
        {
            assert_eq!(date_text(days).as_deref(), Some(text));
            assert_eq!(days_of(text), Some(days));
        }
        assert_eq!(date_text(i32::MAX), None);
    }
}
