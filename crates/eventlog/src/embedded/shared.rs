//! What writer, readers and consumers share: the durable state, and the wake-up when it grows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use event::Clock;

use super::topic::Topic;
use crate::LogError;

/// State of one open folder. Only the writer changes topics; it does so after the disk has them.
#[derive(Debug)]
pub struct Shared {
    /// The folder, for messages.
    pub place: String,
    /// The one door for time.
    pub clock: Clock,
    state: Mutex<State>,
    grown: Condvar,
}

/// What the lock guards.
#[derive(Debug)]
pub struct State {
    /// Topics by name, or why the folder is closed.
    pub topics: Result<BTreeMap<String, Arc<Topic>>, String>,
    /// Topic and group of each living consumer.
    pub members: BTreeSet<(String, String)>,
}

impl Shared {
    /// The state of a folder with these topics.
    #[must_use]
    pub fn new(place: String, clock: Clock, topics: BTreeMap<String, Topic>) -> Self {
        let state = State { topics: Ok(shared(topics)), members: BTreeSet::new() };
        Self { place, clock, state: Mutex::new(state), grown: Condvar::new() }
    }

    /// The state, locked. Nothing blocks while holding it.
    ///
    /// # Panics
    /// When a thread panicked while it held the state.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the state")
    }

    /// A topic as it stands now.
    ///
    /// # Errors
    /// [`LogError::TopicMissing`], or [`LogError::Unavailable`] while the folder is closed.
    pub fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        self.topic_in(&self.lock(), name)
    }

    fn topic_in(&self, state: &State, name: &str) -> Result<Arc<Topic>, LogError> {
        match &state.topics {
            Ok(topics) => topics.get(name).cloned().ok_or_else(|| self.topic_missing(name)),
            Err(reason) => Err(self.unavailable(reason.clone())),
        }
    }

    /// Waits up to `wait` until `ready` finds something in the topic.
    ///
    /// # Errors
    /// As [`Shared::topic`].
    ///
    /// # Panics
    /// As [`Shared::lock`].
    pub fn wait_for<T>(
        &self,
        name: &str,
        wait: Duration,
        mut ready: impl FnMut(&Arc<Topic>) -> Option<T>,
    ) -> Result<Option<T>, LogError> {
        let deadline = self.clock.monotonic() + wait;
        let mut state = self.lock();
        loop {
            if let Some(found) = ready(&self.topic_in(&state, name)?) {
                return Ok(Some(found));
            }
            let left = deadline.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return Ok(None);
            }
            let woken = self.grown.wait_timeout(state, left);
            (state, _) = woken.expect("no thread panics while it holds the state");
        }
    }

    /// Changes topics, and wakes whoever waits.
    ///
    /// # Panics
    /// As [`Shared::lock`]; or when the folder is closed, which only the writer does.
    pub fn update(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<Topic>>)) {
        let mut state = self.lock();
        change(state.topics.as_mut().expect("only the writer closes the folder, and it is writing"));
        self.grown.notify_all();
    }

    /// Replaces all topics after the folder was opened again.
    pub fn reopen(&self, topics: BTreeMap<String, Topic>) {
        self.lock().topics = Ok(shared(topics));
        self.grown.notify_all();
    }

    /// Lets go of every handle, so that the folder can be closed.
    pub fn close(&self, reason: String) {
        self.lock().topics = Err(reason);
        self.grown.notify_all();
    }

    /// The error for a topic nobody has created.
    #[must_use]
    pub fn topic_missing(&self, name: &str) -> LogError {
        LogError::TopicMissing { topic: name.to_owned(), place: self.place.clone() }
    }

    /// The error for what may pass.
    #[must_use]
    pub fn unavailable(&self, reason: String) -> LogError {
        LogError::Unavailable { place: self.place.clone(), reason }
    }

    /// The error for what must be set otherwise.
    #[must_use]
    pub fn settings(&self, reason: String) -> LogError {
        LogError::Settings { place: self.place.clone(), reason }
    }
}

fn shared(topics: BTreeMap<String, Topic>) -> BTreeMap<String, Arc<Topic>> {
    topics.into_iter().map(|(name, topic)| (name, Arc::new(topic))).collect()
}
