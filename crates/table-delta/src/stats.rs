//! Statistics of files, as Delta writes them: JSON, bounds by column.
//!
//! Bounds may be wide, never narrow. Strings are cut to their first characters, and a maximum that
//! would have to be cut is left out. Timestamps have milliseconds, so a minimum is rounded down and
//! a maximum up.

use arrow_schema::{DataType, Schema};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Number, Value, json};
use table::{ColumnStats, StatValue, StoredFile};

/// Characters of a string bound; as Spark's.
const STRING_CHARS_MAX: usize = 32;

/// The statistics of `file`.
pub(crate) fn encode(file: &StoredFile) -> String {
    let (mut min, mut max, mut nulls) = (Map::new(), Map::new(), Map::new());
    for column in &file.column_stats {
        let name = || column.column.clone();
        min.extend(column.min.as_ref().and_then(lower).map(|value| (name(), value)));
        max.extend(column.max.as_ref().and_then(upper).map(|value| (name(), value)));
        nulls.extend(column.null_count.map(|count| (name(), json!(count))));
    }
    json!({ "numRecords": file.row_count, "minValues": min, "maxValues": max, "nullCount": nulls })
        .to_string()
}

fn lower(bound: &StatValue) -> Option<Value> {
    match bound {
        StatValue::String(text) => Some(Value::String(text.chars().take(STRING_CHARS_MAX).collect())),
        StatValue::TimestampMicros(micros) => timestamp(micros.div_euclid(1000)),
        other => plain(other),
    }
}

fn upper(bound: &StatValue) -> Option<Value> {
    match bound {
        StatValue::String(text) if text.chars().nth(STRING_CHARS_MAX).is_some() => None,
        StatValue::String(text) => Some(Value::String(text.clone())),
        StatValue::TimestampMicros(micros) => timestamp(-(-i128::from(*micros)).div_euclid(1000) as i64),
        other => plain(other),
    }
}

/// Booleans have no bounds in Delta, and JSON has no infinity.
fn plain(bound: &StatValue) -> Option<Value> {
    match bound {
        StatValue::Long(number) => Some(json!(number)),
        StatValue::Double(number) => Number::from_f64(*number).map(Value::Number),
        _ => None,
    }
}

fn timestamp(millis: i64) -> Option<Value> {
    let time = DateTime::<Utc>::from_timestamp_millis(millis)?;
    Some(Value::String(time.to_rfc3339_opts(SecondsFormat::Millis, true)))
}

/// Rows and bounds in the statistics `text` of a file with columns `schema`.
pub(crate) fn decode(text: &str, schema: &Schema) -> (Option<u64>, Vec<ColumnStats>) {
    let Ok(stats) = serde_json::from_str::<Value>(text) else { return (None, Vec::new()) };
    let columns = schema.fields().iter().filter_map(|field| {
        let of = |key: &str| stats.get(key)?.get(field.name());
        let bound = |key: &str| of(key).and_then(|value| decode_bound(value, field.data_type()));
        let (min, max) = (bound("minValues"), bound("maxValues"));
        let null_count = of("nullCount").and_then(Value::as_u64);
        let known = min.is_some() || max.is_some() || null_count.is_some();
        known.then(|| ColumnStats { column: field.name().clone(), min, max, null_count })
    });
    (stats.get("numRecords").and_then(Value::as_u64), columns.collect())
}

fn decode_bound(value: &Value, of: &DataType) -> Option<StatValue> {
    match of {
        DataType::Int32 | DataType::Int64 => value.as_i64().map(StatValue::Long),
        DataType::Float64 => value.as_f64().map(StatValue::Double),
        DataType::Boolean => value.as_bool().map(StatValue::Boolean),
        DataType::Utf8 => value.as_str().map(|text| StatValue::String(text.to_owned())),
        DataType::Timestamp(_, Some(_)) => {
            let time = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
            Some(StatValue::TimestampMicros(time.timestamp_micros()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::{Field, TimeUnit};
    use event::OffsetRanges;

    use super::*;

    fn stats(column: &str, min: StatValue, max: StatValue) -> ColumnStats {
        ColumnStats { column: column.to_owned(), min: Some(min), max: Some(max), null_count: Some(1) }
    }

    fn file(column_stats: Vec<ColumnStats>) -> StoredFile {
        StoredFile {
            path: "x".to_owned(),
            size_bytes: 1,
            row_count: 7,
            event_date: None,
            ranges: OffsetRanges::new(),
            column_stats,
            checksum: None,
            held: None,
        }
    }

    #[test]
    fn bounds_that_cannot_be_exact_are_wide_never_narrow() {
        let long = "é".repeat(40);
        let encoded = encode(&file(vec![
            stats("text", StatValue::String(long.clone()), StatValue::String(long)),
            stats("time", StatValue::TimestampMicros(1_500), StatValue::TimestampMicros(1_500)),
            stats("before", StatValue::TimestampMicros(-1_500), StatValue::TimestampMicros(-1_500)),
            stats("flag", StatValue::Boolean(false), StatValue::Boolean(true)),
            stats("ratio", StatValue::Double(f64::NEG_INFINITY), StatValue::Double(2.5)),
        ]));
        let expected = json!({
            "numRecords": 7,
            "minValues": {
                "text": "é".repeat(32), "time": "1970-01-01T00:00:00.001Z", "before": "1969-12-31T23:59:59.998Z",
            },
            "maxValues": { "time": "1970-01-01T00:00:00.002Z", "before": "1969-12-31T23:59:59.999Z", "ratio": 2.5 },
            "nullCount": { "text": 1, "time": 1, "before": 1, "flag": 1, "ratio": 1 },
        });
        assert_eq!(serde_json::from_str::<Value>(&encoded).unwrap(), expected);
    }

    #[test]
    fn bounds_are_read_back_by_the_type_of_their_column() {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Schema::new(vec![
            Field::new("count", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
            Field::new("time", utc, true),
            Field::new("without", DataType::Utf8, true),
        ]);
        let columns = vec![
            stats("count", StatValue::Long(i64::MIN), StatValue::Long(i64::MAX)),
            stats("text", StatValue::String("a".to_owned()), StatValue::String("b".to_owned())),
            stats("time", StatValue::TimestampMicros(2_000), StatValue::TimestampMicros(3_000)),
        ];
        assert_eq!(decode(&encode(&file(columns.clone())), &schema), (Some(7), columns));
        assert_eq!(decode("no json", &schema), (None, Vec::new()));
    }
}
