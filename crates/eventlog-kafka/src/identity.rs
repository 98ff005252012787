//! Whether a topic is still the one that is being read.
//!
//! librdkafka goes on by name: when a topic is deleted and made anew, it reads the new one from the
//! old one's offset (librdkafka 3255), or waits for ever for a leader epoch the new one has not come
//! to. The loader asks for the identity before each commit, so nothing wrong can land; here it is
//! asked when nothing comes any more, so that the waiting ends.

use std::time::Duration;

use event::{LogId, limits};

/// Watches one topic.
#[derive(Debug)]
pub struct TopicWatch {
    id: LogId,
    quiet_since: Duration,
}

impl TopicWatch {
    /// Of a topic that is `id` now.
    #[must_use]
    pub fn new(id: LogId, now: Duration) -> Self {
        Self { id, quiet_since: now }
    }

    /// Something was heard of it.
    pub fn heard(&mut self, now: Duration) {
        self.quiet_since = now;
    }

    /// Whether it has been quiet for so long that its identity is worth a question. Counts anew then.
    pub fn is_due(&mut self, now: Duration) -> bool {
        let is_due = now.saturating_sub(self.quiet_since) >= limits::TOPIC_QUIET_MAX;
        if is_due {
            self.quiet_since = now;
        }
        is_due
    }

    /// What it was when reading began.
    #[must_use]
    pub fn id(&self) -> &LogId {
        &self.id
    }
}
