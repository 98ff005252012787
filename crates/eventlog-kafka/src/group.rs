//! What the group's coordinator decides, noted in librdkafka's callback and acted on later.
//!
//! The callback never assigns with positions: those come from the table, and reading it may take a
//! while. A new assignment is answered at once with nothing, which ends the rebalance; partitions are
//! added with their offsets when [`super::KafkaConsumer`] is given them. So no partition is ever
//! assigned twice, and none at a position of Kafka's.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use event::PartitionId;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use crate::context::Context;
use crate::partition::{native_partition, partition_id};

/// A change of what this member owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Ours from now on.
    Assigned(Vec<PartitionId>),
    /// To be let go.
    Revoked {
        /// What.
        partitions: Vec<PartitionId>,
        /// Whether somebody else may have it already.
        lost: bool,
    },
}

/// One member's view of its group.
#[derive(Debug)]
pub struct Group {
    topic: String,
    context: Context,
    state: Mutex<GroupState>,
}

#[derive(Debug, Default)]
struct GroupState {
    changes: VecDeque<Change>,
    /// What librdkafka was told to fetch.
    fetched: BTreeSet<PartitionId>,
    /// What librdkafka waits to be told to stop fetching.
    revoked: BTreeSet<PartitionId>,
    /// Those of them that are still worked on; `None` when it waits for nothing.
    unreleased: Option<BTreeSet<PartitionId>>,
    is_closing: bool,
}

impl Group {
    /// A member that owns nothing yet.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), context: Context::default(), state: Mutex::default() }
    }

    /// librdkafka's log and troubles.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    fn state(&self) -> MutexGuard<'_, GroupState> {
        self.state.lock().expect("no thread panics while it holds the group's state")
    }

    /// The oldest change nobody has been told of.
    pub fn next_change(&self) -> Option<Change> {
        self.state().changes.pop_front()
    }

    /// Whether librdkafka fetches `partition`.
    #[must_use]
    pub fn is_fetched(&self, partition: PartitionId) -> bool {
        self.state().fetched.contains(&partition)
    }

    /// Notes that librdkafka fetches `partitions` now.
    pub fn note_fetched(&self, partitions: impl Iterator<Item = PartitionId>) {
        self.state().fetched.extend(partitions);
    }

    /// Notes that `partitions` are not worked on any more, and answers the coordinator when none of
    /// the revoked ones is left.
    ///
    /// # Errors
    /// Why librdkafka refused.
    pub fn release(&self, consumer: &BaseConsumer<Self>, partitions: &[PartitionId]) -> KafkaResult<()> {
        let state = &mut *self.state();
        let Some(unreleased) = &mut state.unreleased else { return Ok(()) };
        unreleased.retain(|partition| !partitions.contains(partition));
        if unreleased.is_empty() {
            state.unreleased = None;
            return self.unassign(state, consumer);
        }
        Ok(())
    }

    /// From now on answers the coordinator at once: nobody will call [`Group::release`].
    pub fn close(&self, consumer: &BaseConsumer<Self>) {
        let state = &mut *self.state();
        state.is_closing = true;
        if state.unreleased.take().is_some() {
            self.answer(state, consumer);
        }
    }

    fn answer(&self, state: &mut GroupState, consumer: &BaseConsumer<Self>) {
        if let Err(error) = self.unassign(state, consumer) {
            tracing::warn!(topic = self.topic, %error, "Kafka did not take back partitions");
        }
    }

    /// Stops fetching what is to be let go, also when that is nothing: the answer itself counts.
    fn unassign(&self, state: &mut GroupState, consumer: &BaseConsumer<Self>) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for partition in std::mem::take(&mut state.revoked) {
            if state.fetched.remove(&partition) {
                list.add_partition(&self.topic, native_partition(partition));
            }
        }
        consumer.incremental_unassign(&list)
    }

    fn partitions_of(&self, list: &TopicPartitionList) -> Vec<PartitionId> {
        let ours = list.elements_for_topic(&self.topic);
        ours.iter().map(|element| partition_id(element.partition())).collect()
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = self.partitions_of(list);
        let state = &mut *self.state();
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            if let Err(error) = consumer.incremental_assign(&TopicPartitionList::new()) {
                tracing::warn!(topic = self.topic, %error, "Kafka did not take the answer to an assignment");
            }
            if !partitions.is_empty() {
                state.changes.push_back(Change::Assigned(partitions));
            }
            return;
        }
        let lost = consumer.assignment_lost();
        state.revoked.extend(&partitions);
        if state.is_closing || partitions.is_empty() {
            self.answer(state, consumer);
            return;
        }
        state.unreleased = Some(partitions.iter().copied().collect());
        state.changes.push_back(Change::Revoked { partitions, lost });
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(topic = self.topic, %error, "the group's offsets were not noted");
        }
    }
}
