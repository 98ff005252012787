//! Which log a position belongs to.

use std::fmt;

/// Identity of one topic of one log: offsets mean something only together with it.
///
/// Text of the form `<kind>:<log>:<topic>`, stable as long as the topic's offsets are:
/// `embedded:<id of the folder>:<topic>`, `kafka:<cluster id>:<topic id>`. A topic deleted and made
/// again under the same name has another identity, so its offsets are never taken for the old ones
/// (Iceberg 12357, librdkafka 3255).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(String);

impl LogId {
    /// Takes an identity's text.
    ///
    /// # Panics
    /// When it is empty or has a `/`, which separates it from a partition where it is stored.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        assert!(!text.is_empty() && !text.contains('/'), "log id {text:?} cannot be stored");
        Self(text)
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
