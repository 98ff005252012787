//! What did not fit its column, counted.

use std::collections::BTreeMap;

use event::limits::CONFLICT_KINDS_MAX;

/// Stands for all fields beyond the first thousand kinds of conflict.
pub const OTHER_FIELDS: &str = "(other)";

/// Why a value is in `_residual`, or counted, instead of in a column as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The column has another type.
    WrongType,
    /// A number with a fraction or an exponent, in a `long` column.
    Fraction,
    /// An integer that the column's `long` or `double` cannot hold exactly.
    InexactInteger,
    /// A number that no double is near (`1e400`, `1e-400`).
    NumberOutOfRange,
    /// A string with half a surrogate pair, which is no text.
    LoneSurrogate,
    /// An array with an element that the column's element type does not hold.
    ArrayElements,
    /// An array without a value, in a field that has no column.
    EmptyArray,
    /// An object without a value that could be a column.
    EmptyObject,
    /// The name differs only by case from the name of a column.
    NameCase,
    /// The name is empty, too long, no text, or has a character that Delta Lake forbids.
    NameForbidden,
    /// The name is that of a system column.
    SystemColumn,
    /// The table has as many columns as it may have.
    ColumnsMax,
    /// The field lies deeper than columns may.
    DepthMax,
    /// An `_id` that is no string.
    IdNotAString,
    /// The event time cannot be read; `_time` is `_received_at`. The field keeps its own column.
    EventTimeUnreadable,
    /// A later value with the same key in the same object was taken instead.
    DuplicateKey,
}

impl Reason {
    /// Its name in metrics and reports.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::WrongType => "wrong_type",
            Self::Fraction => "fraction",
            Self::InexactInteger => "inexact_integer",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::LoneSurrogate => "lone_surrogate",
            Self::ArrayElements => "array_elements",
            Self::EmptyArray => "empty_array",
            Self::EmptyObject => "empty_object",
            Self::NameCase => "name_case",
            Self::NameForbidden => "name_forbidden",
            Self::SystemColumn => "system_column",
            Self::ColumnsMax => "columns_max",
            Self::DepthMax => "depth_max",
            Self::IdNotAString => "id_not_a_string",
            Self::EventTimeUnreadable => "event_time_unreadable",
            Self::DuplicateKey => "duplicate_key",
        }
    }
}

/// Counts of values by field path (keys joined with dots) and reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conflicts(BTreeMap<(String, Reason), u64>);

impl Conflicts {
    /// Whether everything fitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many values of `field` did not fit for `reason`.
    #[must_use]
    pub fn get(&self, field: &str, reason: Reason) -> u64 {
        self.0.get(&(field.to_owned(), reason)).copied().unwrap_or(0)
    }

    /// Field, reason and count, in the order of fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Reason, u64)> {
        self.0.iter().map(|((field, reason), count)| (field.as_str(), *reason, *count))
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: Self) {
        for ((field, reason), count) in other.0 {
            self.add(field, reason, count);
        }
    }

    pub(crate) fn add(&mut self, field: String, reason: Reason, count: u64) {
        let key = (field, reason);
        if let Some(counted) = self.0.get_mut(&key) {
            *counted += count;
        } else if self.0.len() < CONFLICT_KINDS_MAX {
            self.0.insert(key, count);
        } else {
            *self.0.entry((OTHER_FIELDS.to_owned(), reason)).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_stay_bounded() {
        let mut conflicts = Conflicts::default();
        for number in 0..3_000 {
            conflicts.add(format!("field{number}"), Reason::ColumnsMax, 1);
        }
        let mut merged = conflicts.clone();
        merged.merge(conflicts);
        assert!(merged.iter().count() <= CONFLICT_KINDS_MAX + 1);
        assert_eq!(merged.iter().map(|(_, _, count)| count).sum::<u64>(), 6_000);
        assert_eq!(merged.get("field0", Reason::ColumnsMax), 2);
        assert_eq!(merged.get(OTHER_FIELDS, Reason::ColumnsMax), 4_000);
    }
}
