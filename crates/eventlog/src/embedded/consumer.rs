//! The only member of its group: it owns every partition from the first poll on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event::{Offset, OffsetRange, PartitionId, Positions, limits};

use super::reader::{ScanLimit, scan};
use super::shared::Shared;
use super::topic::Topic;
use crate::{Consumer, Fetched, LogError, Polled};

const FETCH_LIMIT: ScanLimit =
    ScanLimit { bytes: limits::FETCH_BYTES_MAX, records: limits::FETCH_RECORDS_MAX };

/// Reads one topic of the embedded log.
#[derive(Debug)]
pub struct EmbeddedConsumer {
    shared: Arc<Shared>,
    topic: String,
    group: String,
    assigned: bool,
    paused: bool,
    /// Where each started partition goes on.
    next: BTreeMap<PartitionId, Offset>,
    /// The partition delivered last: the others come first, so that none starves.
    last: PartitionId,
}

impl EmbeddedConsumer {
    /// Joins `group`, which must be empty.
    ///
    /// # Errors
    /// [`LogError::TopicMissing`], or [`LogError::Settings`] when the group has its member already.
    pub fn join(shared: Arc<Shared>, topic: &str, group: &str) -> Result<Self, LogError> {
        shared.topic(topic)?;
        let member = (topic.to_owned(), group.to_owned());
        if !shared.lock().members.insert(member) {
            return Err(shared.settings(format!(
                "topic {topic:?} is already read by group {group:?}; the embedded log has one reader per \
                 group: give this one another group, or use Kafka"
            )));
        }
        Ok(Self {
            shared,
            topic: topic.to_owned(),
            group: group.to_owned(),
            assigned: false,
            paused: false,
            next: BTreeMap::new(),
            last: PartitionId(0),
        })
    }

    fn assign(&mut self) -> Result<Polled, LogError> {
        let topic = self.shared.topic(&self.topic)?;
        self.assigned = true;
        Ok(Polled::Assigned(topic.ranges().map(|(partition, _)| partition).collect()))
    }

    fn fetch(&mut self, topic: &Topic, partition: PartitionId) -> Result<Polled, LogError> {
        let retained = topic.retained(partition);
        let from = self.next.get(&partition).copied().unwrap_or(retained.start());
        check_retained(topic, partition, from)?;
        let unread = OffsetRange::new(from, retained.end());
        let (range, records) = scan(&self.shared, topic, partition, unread, FETCH_LIMIT)?;
        self.next.insert(partition, range.end());
        self.last = partition;
        Ok(Polled::Fetched(Fetched { partition, range, records }))
    }
}

/// The partition after `last` that has something new, if any has. A position that is not retained
/// counts too: fetching it says so.
fn with_news(topic: &Topic, next: &BTreeMap<PartitionId, Offset>, last: PartitionId) -> Option<PartitionId> {
    let has_news = |(partition, next): &(&PartitionId, &Offset)| topic.retained(**partition).end() != **next;
    let after = PartitionId(last.0 + 1);
    let found = next.range(after..).find(has_news).or_else(|| next.range(..after).find(has_news));
    found.map(|(partition, _)| *partition)
}

fn check_retained(topic: &Topic, partition: PartitionId, wanted: Offset) -> Result<(), LogError> {
    let retained = topic.retained(partition);
    if retained.start() <= wanted && wanted <= retained.end() {
        return Ok(());
    }
    Err(LogError::OffsetOutOfRange {
        topic: topic.name.clone(),
        partition,
        wanted,
        first: retained.start(),
        next: retained.end(),
    })
}

impl Consumer for EmbeddedConsumer {
    fn poll(&mut self, wait: Duration) -> Result<Polled, LogError> {
        if !self.assigned {
            return self.assign();
        }
        let (paused, next, last) = (self.paused, &self.next, self.last);
        let news = self.shared.wait_for(&self.topic, wait, |topic| {
            let partition = if paused { None } else { with_news(topic, next, last) };
            partition.map(|partition| (Arc::clone(topic), partition))
        })?;
        match news {
            Some((topic, partition)) => self.fetch(&topic, partition),
            None => Ok(Polled::Nothing),
        }
    }

    fn start(&mut self, positions: &Positions) -> Result<(), LogError> {
        let topic = self.shared.topic(&self.topic)?;
        let owned =
            || positions.iter().filter(|(partition, _)| (partition.0 as usize) < topic.partitions.len());
        for (partition, wanted) in owned() {
            check_retained(&topic, partition, wanted)?;
        }
        self.next.extend(owned());
        Ok(())
    }

    fn pause(&mut self) -> Result<(), LogError> {
        self.paused = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), LogError> {
        self.paused = false;
        Ok(())
    }

    fn release(&mut self, partitions: &[PartitionId]) -> Result<(), LogError> {
        self.next.retain(|partition, _| !partitions.contains(partition));
        Ok(())
    }

    fn advise(&mut self, _landed: &Positions) {}
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        let member = (std::mem::take(&mut self.topic), std::mem::take(&mut self.group));
        self.shared.lock().members.remove(&member);
    }
}
