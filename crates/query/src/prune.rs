//! Files that cannot hold a row a filter lets through.
//!
//! Bounds are one-sided truths: no value is outside them, and none need be on them. They rule
//! files out, and are never the answer to `min` or `max`.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, UInt64Array};
use arrow_schema::{DataType, Schema, SchemaRef, TimeUnit};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, ScalarValue, Statistics};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use table::{ColumnStats, DataFile, StatValue};

use crate::scan::EVENT_DATE;

/// Those of `files` that may hold a row for which `predicate` is true.
pub(crate) fn kept<'a>(
    files: &'a [DataFile],
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    schema: &SchemaRef,
) -> Vec<&'a DataFile> {
    let Some(predicate) = predicate else { return files.iter().collect() };
    let Some(pruning) =
        PruningPredicateBuilder::new().with_file_schema(schema.clone()).build(predicate.clone())
    else {
        return files.iter().collect();
    };
    match pruning.prune(&Bounds { files, schema }) {
        Ok(keep) => files.iter().zip(keep).filter_map(|(file, keep)| keep.then_some(file)).collect(),
        Err(error) => {
            tracing::warn!(%error, "file statistics could not be used, all files are read");
            files.iter().collect()
        }
    }
}

/// What is known of one file, over all columns of `schema`.
pub(crate) fn file_statistics(file: &DataFile, schema: &Schema) -> Statistics {
    let inexact = |value: Option<ScalarValue>| value.map_or(Precision::Absent, Precision::Inexact);
    let columns = schema.fields().iter().map(|field| ColumnStatistics {
        min_value: inexact(bound(file, field.name(), field.data_type(), Side::Min)),
        max_value: inexact(bound(file, field.name(), field.data_type(), Side::Max)),
        ..ColumnStatistics::new_unknown()
    });
    let rows = file.row_count.and_then(|rows| usize::try_from(rows).ok());
    Statistics {
        num_rows: rows.map_or(Precision::Absent, Precision::Exact),
        total_byte_size: Precision::Absent,
        column_statistics: columns.collect(),
    }
}

/// The statistics of files, a column at a time.
struct Bounds<'a> {
    files: &'a [DataFile],
    schema: &'a Schema,
}

#[derive(Clone, Copy)]
enum Side {
    Min,
    Max,
}

impl Bounds<'_> {
    fn values(&self, column: &Column, side: Side) -> Option<ArrayRef> {
        let data_type = self.schema.field_with_name(&column.name).ok()?.data_type();
        let unknown = ScalarValue::try_from(data_type).ok()?;
        let values = self.files.iter().map(|file| bound(file, &column.name, data_type, side));
        ScalarValue::iter_to_array(values.map(|value| value.unwrap_or_else(|| unknown.clone()))).ok()
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, Side::Min)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, Side::Max)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts =
            self.files.iter().map(|file| stats_of(file, &column.name).and_then(|stats| stats.null_count));
        Some(Arc::new(UInt64Array::from_iter(counts)))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter(self.files.iter().map(|file| file.row_count))))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

fn stats_of<'a>(file: &'a DataFile, column: &str) -> Option<&'a ColumnStats> {
    file.column_stats.iter().find(|stats| stats.column == column)
}

/// A bound of `column` in `file` as a value of the column's type, if it is known and of that type.
fn bound(file: &DataFile, column: &str, data_type: &DataType, side: Side) -> Option<ScalarValue> {
    if column == EVENT_DATE
        && let Some(day) = file.event_date
    {
        return Some(ScalarValue::Date32(Some(day)));
    }
    let stats = stats_of(file, column)?;
    let value = match side {
        Side::Min => stats.min.as_ref()?,
        Side::Max => stats.max.as_ref()?,
    };
    scalar(value, data_type, side)
}

fn scalar(value: &StatValue, data_type: &DataType, side: Side) -> Option<ScalarValue> {
    Some(match (value, data_type) {
        (StatValue::Long(value), DataType::Int64) => ScalarValue::Int64(Some(*value)),
        (StatValue::Long(value), DataType::Int32) => ScalarValue::Int32(Some(i32::try_from(*value).ok()?)),
        (StatValue::Double(value), DataType::Float64) => ScalarValue::Float64(Some(zero_of(*value, side))),
        (StatValue::Boolean(value), DataType::Boolean) => ScalarValue::Boolean(Some(*value)),
        (StatValue::String(value), DataType::Utf8) => ScalarValue::Utf8(Some(value.clone())),
        (StatValue::TimestampMicros(value), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            ScalarValue::TimestampMicrosecond(Some(*value), zone.clone())
        }
        _ => return None,
    })
}

/// Filters order -0.0 before 0.0, and whoever wrote the bounds need not: take the outer one.
fn zero_of(value: f64, side: Side) -> f64 {
    match side {
        Side::Min if value == 0.0 => -0.0,
        Side::Max if value == 0.0 => 0.0,
        _ => value,
    }
}
