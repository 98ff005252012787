//! Names of streams and tables.

use std::fmt;

/// Name of a stream: its route in the collector, its settings section, its table in SQL.
///
/// 1 to 100 characters of `a-z A-Z 0-9 _ -`, beginning with a letter, without the double
/// underscore that is kept for tables of Laker's own (`logs__dead`). So a name is at once a path
/// segment, an object key and, quoted or not, an SQL identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(String);

const NAME_CHARS_MAX: usize = 100;

impl StreamName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`StreamNameError`] says which rule the name breaks.
    pub fn new(name: &str) -> Result<Self, StreamNameError> {
        let refuse = |rule| Err(StreamNameError { name: name.chars().take(NAME_CHARS_MAX).collect(), rule });
        if name.is_empty() || name.len() > NAME_CHARS_MAX {
            return refuse("must have 1 to 100 characters");
        }
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return refuse("must begin with a letter");
        }
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            return refuse("may only have letters, digits, '_' and '-'");
        }
        if name.contains("__") {
            return refuse("must not have '__', which marks tables of Laker's own");
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that cannot name a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream name {name:?} {rule}")]
pub struct StreamNameError {
    name: String,
    rule: &'static str,
}

/// Name of the table that keeps the dead letters of `table`.
#[must_use]
pub fn dead_letter_table(table: &str) -> String {
    format!("{table}__dead")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_safe_in_a_path_and_in_sql_are_taken() {
        for name in ["logs", "a", "Search-Events_2"] {
            assert_eq!(StreamName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_could_leave_their_folder_or_meet_our_own_are_refused() {
        for name in ["", "..", "a/b", "a b", "1logs", "_x", "logs__dead", "ä", &"x".repeat(101)] {
            StreamName::new(name).unwrap_err();
        }
    }
}
