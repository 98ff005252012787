//! Statistics of a finished file's columns, over its row groups.

use arrow_schema::{DataType, Schema};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use table::{ColumnStats, StatValue};

/// Statistics of the top-level columns that have a comparable type.
pub(super) fn column_stats(metadata: &ParquetMetaData, schema: &Schema) -> Vec<ColumnStats> {
    let fields = schema.fields().iter();
    fields.filter_map(|field| one_column(metadata, field.name(), field.data_type())).collect()
}

fn one_column(metadata: &ParquetMetaData, name: &str, data_type: &DataType) -> Option<ColumnStats> {
    let mut merged: Option<ColumnStats> = None;
    for row_group in metadata.row_groups() {
        let chunk = row_group.columns().iter().find(|chunk| chunk.column_path().parts() == [name])?;
        let part = read(name, data_type, chunk.statistics()?);
        merged = Some(match merged {
            None => part,
            Some(so_far) => merge(so_far, part),
        });
    }
    merged
}

fn read(name: &str, data_type: &DataType, statistics: &Statistics) -> ColumnStats {
    let (min, max) = match (data_type, statistics) {
        (DataType::Int32, Statistics::Int32(s)) => (
            s.min_opt().map(|v| StatValue::Long((*v).into())),
            s.max_opt().map(|v| StatValue::Long((*v).into())),
        ),
        (DataType::Int64, Statistics::Int64(s)) => {
            (s.min_opt().map(|v| StatValue::Long(*v)), s.max_opt().map(|v| StatValue::Long(*v)))
        }
        (DataType::Timestamp(..), Statistics::Int64(s)) => (
            s.min_opt().map(|v| StatValue::TimestampMicros(*v)),
            s.max_opt().map(|v| StatValue::TimestampMicros(*v)),
        ),
        (DataType::Float64, Statistics::Double(s)) => (number(s.min_opt()), number(s.max_opt())),
        (DataType::Boolean, Statistics::Boolean(s)) => {
            (s.min_opt().map(|v| StatValue::Boolean(*v)), s.max_opt().map(|v| StatValue::Boolean(*v)))
        }
        (DataType::Utf8, Statistics::ByteArray(s)) => (
            text(s.min_opt().map(parquet::data_type::ByteArray::data), s.min_is_exact()),
            text(s.max_opt().map(parquet::data_type::ByteArray::data), s.max_is_exact()),
        ),
        _ => (None, None),
    };
    ColumnStats { column: name.to_owned(), min, max, null_count: statistics.null_count_opt() }
}

fn number(bound: Option<&f64>) -> Option<StatValue> {
    bound.filter(|bound| bound.is_finite()).map(|bound| StatValue::Double(*bound))
}

/// A truncated bound is left out: readers differ in how they take one.
fn text(bound: Option<&[u8]>, exact: bool) -> Option<StatValue> {
    let bound = std::str::from_utf8(bound.filter(|_| exact)?).ok()?;
    Some(StatValue::String(bound.to_owned()))
}

fn merge(a: ColumnStats, b: ColumnStats) -> ColumnStats {
    ColumnStats {
        column: a.column,
        min: pick(a.min, b.min, std::cmp::Ordering::Less),
        max: pick(a.max, b.max, std::cmp::Ordering::Greater),
        null_count: a.null_count.zip(b.null_count).map(|(a, b)| a + b),
    }
}

/// The bound of two row groups; none when either has none.
fn pick(a: Option<StatValue>, b: Option<StatValue>, wanted: std::cmp::Ordering) -> Option<StatValue> {
    let (a, b) = (a?, b?);
    let order = match (&a, &b) {
        (StatValue::Long(a), StatValue::Long(b))
        | (StatValue::TimestampMicros(a), StatValue::TimestampMicros(b)) => a.cmp(b),
        (StatValue::Double(a), StatValue::Double(b)) => a.total_cmp(b),
        (StatValue::Boolean(a), StatValue::Boolean(b)) => a.cmp(b),
        (StatValue::String(a), StatValue::String(b)) => a.cmp(b),
        _ => return None,
    };
    Some(if order == wanted { a } else { b })
}
