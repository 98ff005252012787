//! Names and types of the columns a table has from the beginning, and which names others may have.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use event::limits::COLUMN_NAME_BYTES_MAX;

use crate::DecodeOptions;

/// Partition of the log the event came from.
pub const PARTITION: &str = "_partition";
/// Offset of the event in that partition.
pub const OFFSET: &str = "_offset";
/// When the log took it.
pub const RECEIVED_AT: &str = "_received_at";
/// When it happened, as far as it says so; else when the log took it.
pub const TIME: &str = "_time";
/// The client's id of the event.
pub const ID: &str = "_id";
/// What fits no column: a JSON object with the event's own shape.
pub const RESIDUAL: &str = "_residual";
/// UTC day of `_time` (dead letters: of `_received_at`). Tables are partitioned by it.
pub const EVENT_DATE: &str = "event_date";
/// Code of the reason of a dead letter.
pub const REASON: &str = "reason";
/// The reason in words, with the place in the bytes.
pub const DETAIL: &str = "detail";
/// The bytes of a dead letter.
pub const RAW: &str = "raw";

/// When a dead letter became this row; null for rows of the log. A table has it from its first
/// replay on.
pub const REPLAYED_AT: &str = "_replayed_at";

/// Names of the system columns in their order, without the one that only replays bring.
pub const SYSTEM: [&str; 7] = [PARTITION, OFFSET, RECEIVED_AT, TIME, ID, RESIDUAL, EVENT_DATE];

/// Microseconds in UTC, the type of `_received_at` and `_time`.
#[must_use]
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Columns of a table that has no events yet: the system columns, then those fixed by hand.
/// `options` should have passed [`DecodeOptions::check`]; names it refuses are left out.
#[must_use]
pub fn initial_schema(options: &DecodeOptions) -> SchemaRef {
    let mut fields: Vec<_> = SYSTEM.into_iter().map(system_field).collect();
    let mut names = NamesTaken::with_system_columns();
    for (name, of) in &options.columns {
        if !is_forbidden(name) && names.take(name) {
            fields.push(Field::new(name, of.arrow(), true));
        }
    }
    Arc::new(Schema::new(fields))
}

/// `schema` with the column that replayed rows have.
#[must_use]
pub fn with_replayed_at(schema: &SchemaRef) -> SchemaRef {
    if schema.column_with_name(REPLAYED_AT).is_some() {
        return Arc::clone(schema);
    }
    let replayed_at = Arc::new(system_field(REPLAYED_AT));
    let fields: Vec<_> = schema.fields().iter().cloned().chain([replayed_at]).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Columns of a table of dead letters, `event_date` last.
#[must_use]
pub fn dead_letter_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        system_field(PARTITION),
        system_field(OFFSET),
        system_field(RECEIVED_AT),
        Field::new(REASON, DataType::Utf8, false),
        Field::new(DETAIL, DataType::Utf8, false),
        Field::new(RAW, DataType::Binary, false),
        system_field(EVENT_DATE),
    ]))
}

pub(crate) fn system_field(name: &str) -> Field {
    let (of, nullable) = match name {
        PARTITION => (DataType::Int32, false),
        OFFSET => (DataType::Int64, false),
        RECEIVED_AT | TIME => (timestamp_type(), false),
        REPLAYED_AT => (timestamp_type(), true),
        EVENT_DATE => (DataType::Date32, false),
        _ => (DataType::Utf8, true),
    };
    Field::new(name, of, nullable)
}

/// Whether `name`, in any case, is a system column's.
#[must_use]
pub fn is_system(name: &str) -> bool {
    let folded = fold(name);
    folded == REPLAYED_AT || SYSTEM.iter().any(|system| *system == folded)
}

/// Whether no column of any level may have this name: Delta Lake forbids `space , ; { } ( ) =`,
/// tab and newline; we also the other control characters, the empty name and very long ones.
#[must_use]
pub fn is_forbidden(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || matches!(c, ' ' | ',' | ';' | '{' | '}' | '(' | ')' | '=');
    name.is_empty() || name.len() > COLUMN_NAME_BYTES_MAX || name.contains(forbidden)
}

/// The name as readers see it that ignore case. Two names that such a reader could take for one
/// have equal folds: like Java's `equalsIgnoreCase`, characters are compared in upper and lower case.
#[must_use]
pub fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.chars().map(single_upper).flat_map(char::to_lowercase).collect()
}

/// The upper-case character, where it is one character.
fn single_upper(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(single), None) => single,
        _ => character,
    }
}

/// Names of one level that are taken, in any case.
#[derive(Debug, Default)]
pub(crate) struct NamesTaken(HashSet<String>);

impl NamesTaken {
    pub(crate) fn with_system_columns() -> Self {
        Self(SYSTEM.into_iter().chain([REPLAYED_AT]).map(fold).collect())
    }

    /// Takes `name`; whether it was free.
    pub(crate) fn take(&mut self, name: &str) -> bool {
        self.0.insert(fold(name))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(&fold(name))
    }
}

/// Leaves of one type: what `columns_max` counts.
pub(crate) fn leaf_count(of: &DataType) -> usize {
    match of {
        DataType::Struct(fields) => fields.iter().map(|field| leaf_count(field.data_type())).sum(),
        DataType::List(element) => leaf_count(element.data_type()),
        _ => 1,
    }
}

/// Leaves of all columns of `schema` that are no system columns.
pub(crate) fn schema_leaf_count(schema: &Schema) -> usize {
    let of_events = schema.fields().iter().filter(|field| !is_system(field.name()));
    of_events.map(|field| leaf_count(field.data_type())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ColumnType;

    #[test]
    fn a_new_table_has_system_columns_then_those_by_hand() {
        let columns = vec![("price".to_owned(), ColumnType::Double)];
        let schema = initial_schema(&DecodeOptions { columns, ..DecodeOptions::default() });
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(
            names,
            ["_partition", "_offset", "_received_at", "_time", "_id", "_residual", "event_date", "price"]
        );
        let nullable: Vec<_> = schema.fields().iter().map(|field| field.is_nullable()).collect();
        assert_eq!(nullable, [false, false, false, false, true, true, false, true]);
    }

    #[test]
    fn names_that_some_reader_takes_for_one_have_one_fold() {
        for (a, b) in [("Price", "pRICE"), ("Ä", "ä"), ("ς", "Σ"), ("ſ", "S"), ("\u{212a}", "k")] {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("ß"), fold("ss"));
    }

    #[test]
    fn system_names_are_system_names_in_any_case() {
        assert!(is_system("_Time") && is_system("EVENT_DATE") && is_system("_Replayed_At"));
        assert!(!is_system("time"));
    }
}
