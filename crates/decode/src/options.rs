//! What a stream's settings say about decoding.

use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{DataType, Field};
use chrono_tz::Tz;
use event::limits;

use crate::check::EventLimits;
use crate::columns;

/// How the events of one stream become rows.
#[derive(Debug, Clone)]
pub struct DecodeOptions {
    /// Top-level field that says when the event happened; without it, `_time` is `_received_at`.
    pub event_time: Option<String>,
    /// Zone of event times that carry none.
    pub time_zone: Tz,
    /// Top-level field with the client's id of the event, which fills `_id`.
    pub event_id: Option<String>,
    /// Columns whose type is fixed by hand, in the order they get in a new table.
    pub columns: Vec<(String, ColumnType)>,
    /// Leaves of all columns together, system columns not counted.
    pub columns_max: usize,
    /// Levels of a column: 1 for a plain one, and one more inside each struct and list.
    pub depth_max: usize,
    /// Bytes of one event; a larger one is a dead letter.
    pub event_bytes_max: usize,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            event_time: Some("timestamp".to_owned()),
            time_zone: Tz::UTC,
            event_id: Some(columns::ID.to_owned()),
            columns: Vec::new(),
            columns_max: 1_000,
            depth_max: 16,
            event_bytes_max: limits::EVENT_BYTES_MAX,
        }
    }
}

impl DecodeOptions {
    /// What an event must keep to, so as not to be a dead letter.
    #[must_use]
    pub fn limits(&self) -> EventLimits {
        EventLimits { bytes_max: self.event_bytes_max, depth_max: limits::EVENT_DEPTH_MAX }
    }

    /// Whether the columns by hand can be columns.
    ///
    /// # Errors
    /// [`ColumnsError`] names the first that cannot, and why.
    pub fn check(&self) -> Result<(), ColumnsError> {
        let mut names = columns::NamesTaken::with_system_columns();
        for (name, _) in &self.columns {
            let refuse = |rule| Err(ColumnsError { name: name.clone(), rule });
            if columns::is_forbidden(name) {
                return refuse(
                    "is empty, too long, or has one of the characters that Delta Lake forbids: space , ; { } ( ) = and control characters",
                );
            }
            if columns::is_system(name) {
                return refuse("is the name of a system column");
            }
            if !names.take(name) {
                return refuse(
                    "is there twice (names that differ only by case are the same to many readers)",
                );
            }
        }
        Ok(())
    }

    /// The type fixed by hand for the top-level field `name`.
    pub(crate) fn by_hand(&self, name: &str) -> Option<&ColumnType> {
        self.columns.iter().find(|(column, _)| column == name).map(|(_, of)| of)
    }
}

/// A column by hand that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {name:?} {rule}; rename or remove it in [streams.NAME.columns]")]
pub struct ColumnsError {
    name: String,
    rule: &'static str,
}

/// Type of a column, as settings write it: `string`, `long`, `double`, `boolean`, `list<TYPE>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    String,
    /// Integers of 64 bits.
    Long,
    /// Floating-point numbers of 64 bits.
    Double,
    /// True and false.
    Boolean,
    /// Arrays whose elements all have one type.
    List(Box<ColumnType>),
}

impl ColumnType {
    /// The Arrow type.
    #[must_use]
    pub fn arrow(&self) -> DataType {
        match self {
            Self::String => DataType::Utf8,
            Self::Long => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::List(element) => list_of(element.arrow()),
        }
    }
}

/// A list as Delta Lake's own conversion to Arrow names its parts, so that schemas compare equal.
pub(crate) fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", element, true)))
}

const NAMES: [&str; 4] = ["string", "long", "double", "boolean"];
/// What other systems call the same.
const ALIASES: [(&str, &str); 10] = [
    ("bigint", "long"),
    ("bool", "boolean"),
    ("decimal", "double"),
    ("float", "double"),
    ("int", "long"),
    ("integer", "long"),
    ("number", "double"),
    ("str", "string"),
    ("text", "string"),
    ("varchar", "string"),
];

impl FromStr for ColumnType {
    type Err = ColumnTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(element) = text.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) {
            return Ok(Self::List(Box::new(element.parse()?)));
        }
        match text {
            "string" => Ok(Self::String),
            "long" => Ok(Self::Long),
            "double" => Ok(Self::Double),
            "boolean" => Ok(Self::Boolean),
            _ => Err(ColumnTypeError { text: text.to_owned(), nearest: nearest(text) }),
        }
    }
}

fn nearest(text: &str) -> &'static str {
    let lower = text.to_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == lower).map(|(_, name)| *name);
    let closest = || NAMES.into_iter().min_by_key(|name| strsim::damerau_levenshtein(name, &lower));
    alias.or_else(closest).unwrap_or(NAMES[0])
}

/// A text that names no column type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no column type {text:?}; did you mean {nearest:?}? The types are string, long, double, boolean and list<TYPE>"
)]
pub struct ColumnTypeError {
    text: String,
    nearest: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_settings_write_them() {
        assert_eq!("long".parse(), Ok(ColumnType::Long));
        assert_eq!("list<double>".parse::<ColumnType>().unwrap().arrow(), list_of(DataType::Float64));
    }

    #[test]
    fn an_unknown_type_names_the_nearest() {
        for (text, nearest) in
            [("strng", "string"), ("Double", "double"), ("int", "long"), ("list<bool>", "boolean")]
        {
            let message = text.parse::<ColumnType>().unwrap_err().to_string();
            assert!(message.contains(&format!("did you mean {nearest:?}")), "{message}");
        }
    }

    #[test]
    fn columns_by_hand_must_be_able_to_be_columns() {
        for name in ["", "a b", "_Time", "event_date", "a=b"] {
            let columns = vec![(name.to_owned(), ColumnType::Long)];
            DecodeOptions { columns, ..DecodeOptions::default() }.check().unwrap_err();
        }
        let twice = ["price", "Price"].map(|name| (name.to_owned(), ColumnType::Double)).to_vec();
        DecodeOptions { columns: twice, ..DecodeOptions::default() }.check().unwrap_err();
    }
}
