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

/// Kind of the chains that [`LogId::replays`] names; no log is of it.
const REPLAYS: &str = "replay:";

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

    /// The chain of replays of this log's dead letters: its positions count the replays that landed
    /// of each partition, so that two of them cannot land the same dead letter.
    #[must_use]
    pub fn replays(&self) -> Self {
        Self(format!("{REPLAYS}{}", self.0))
    }

    /// Whether it is a chain of replays, and so no log that is read.
    #[must_use]
    pub fn is_replays(&self) -> bool {
        self.0.starts_with(REPLAYS)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replays_of_a_log_are_told_from_the_log() {
        let log = LogId::new("kafka:cluster:topic");
        assert!(!log.is_replays() && log.replays().is_replays());
        assert_eq!(log.replays().as_str(), "replay:kafka:cluster:topic");
    }
}
