//! One member of a consumer group, on a plain thread.
//!
//! Rebalances and errors come through librdkafka's main queue, records through one of our own: so a
//! batch of records is taken with one call, and none of them waits behind anything else.

/// Where a partition is read from.
mod begin;
/// What it means when a position is refused.
mod refusal;
/// What no message tells.
mod outlook;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use event::invariants::{Invariant, uphold};
use event::{Clock, LogId, Offset, PartitionId, Positions, limits};
use eventlog::{Consumer as LogConsumer, Fetched, LogError, Polled};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::error::log_error;
use crate::group::{Change, Group};
use crate::identity::TopicWatch;
use crate::intake::Intake;
use crate::native::{FetchQueue, NativeError};
use crate::open_transactions::OpenTransactions;
use crate::options::KafkaOptions;
use crate::partition::partition_id;
use crate::reader::{Readers, is_out_of_range};

/// Messages taken out of librdkafka's queue at once.
const BATCH_MAX: usize = 1_000;
/// Events of the client that are handled at once.
const EVENTS_MAX: usize = 32;

/// A member of a group that reads one topic.
pub struct KafkaConsumer {
    place: String,
    topic: String,
    clock: Clock,
    readers: Arc<Readers>,
    /// Partitions the group has given us and not taken back.
    owned: BTreeSet<PartitionId>,
    intake: Intake,
    ready: VecDeque<Result<Fetched, LogError>>,
    /// Begun, and not heard of since: the stop of an earlier fetch may yet take their queue away.
    unheard: BTreeSet<PartitionId>,
    /// Begun with a leader epoch that has not been compared with the log yet: nothing is taken of them.
    unproven: BTreeSet<PartitionId>,
    /// Whose position librdkafka has refused, and why.
    refused: BTreeMap<PartitionId, NativeError>,
    /// Where partitions were begun anew, and how often there.
    restarts: BTreeMap<PartitionId, (Offset, u32)>,
    watch: TopicWatch,
    open_transactions: OpenTransactions,
    paused: bool,
    /// An error after which librdkafka does nothing any more.
    fatal: Option<LogError>,
    /// Before the client, which must be destroyed last.
    queue: FetchQueue<Group>,
    consumer: Arc<BaseConsumer<Group>>,
}

impl KafkaConsumer {
    /// Joins `group` for reading `topic`, which is `id` now. What it is given comes with the polls.
    ///
    /// # Errors
    /// [`LogError::Settings`] when librdkafka refuses its properties.
    pub fn join(
        options: &KafkaOptions,
        clock: Clock,
        readers: Arc<Readers>,
        topic: &str,
        id: LogId,
        group: &str,
    ) -> Result<Self, LogError> {
        let consumer: BaseConsumer<Group> = options
            .member(group)
            .create_with_context(Group::new(topic))
            .map_err(|error| options.bad_property(&error))?;
        let place = options.place();
        consumer.subscribe(&[topic]).map_err(|error| log_error(&place, topic, &error.into()))?;
        let consumer = Arc::new(consumer);
        Ok(Self {
            place,
            topic: topic.to_owned(),
            watch: TopicWatch::new(id, clock.monotonic()),
            clock,
            readers,
            owned: BTreeSet::new(),
            intake: Intake::default(),
            ready: VecDeque::new(),
            unheard: BTreeSet::new(),
            unproven: BTreeSet::new(),
            refused: BTreeMap::new(),
            restarts: BTreeMap::new(),
            open_transactions: OpenTransactions::default(),
            paused: false,
            fatal: None,
            queue: FetchQueue::new(Arc::clone(&consumer), BATCH_MAX),
            consumer,
        })
    }

    fn group(&self) -> &Group {
        self.consumer.context()
    }

    /// Lets librdkafka hand over rebalances, its log and its errors.
    fn serve(&mut self, wait: Duration) -> Result<(), LogError> {
        let mut wait = wait;
        for _ in 0..EVENTS_MAX {
            // A poll without a wait handles one event, and does not say whether there was one.
            let event = self.consumer.poll(wait);
            wait = Duration::ZERO;
            match event {
                None => {}
                Some(Ok(_)) => uphold(Invariant::NoLoss, false, || {
                    format!("a record of topic {:?} came past the queue that counts them", self.topic)
                }),
                Some(Err(error)) => self.judge(error)?,
            }
        }
        Ok(())
    }

    /// Most errors of connections pass by themselves; librdkafka goes on trying.
    fn judge(&mut self, error: KafkaError) -> Result<(), LogError> {
        use RDKafkaErrorCode::{
            AllBrokersDown, Authentication, GroupAuthorizationFailed, SaslAuthenticationFailed,
            TopicAuthorizationFailed, UnknownTopic, UnknownTopicOrPartition,
        };
        let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let explained = self.group().context().explain(error.into());
        let code = explained.code;
        let told = log_error(&self.place, &self.topic, &explained);
        if is_fatal {
            return Err(self.fatal.insert(told).clone());
        }
        match code {
            AllBrokersDown
            | Authentication
            | GroupAuthorizationFailed
            | SaslAuthenticationFailed
            | TopicAuthorizationFailed
            | UnknownTopic
            | UnknownTopicOrPartition => Err(told),
            _ => {
                tracing::debug!(topic = self.topic, ?code, reason = explained.reason, "Kafka consumer");
                Ok(())
            }
        }
    }

    fn next_change(&mut self) -> Option<Polled> {
        match self.group().next_change()? {
            Change::Assigned(partitions) => {
                self.owned.extend(&partitions);
                Some(Polled::Assigned(partitions))
            }
            Change::Revoked { partitions, lost } => {
                for partition in &partitions {
                    self.owned.remove(partition);
                    self.forget(*partition);
                }
                Some(Polled::Revoked { partitions, lost })
            }
        }
    }

    /// Delivers nothing more of what was fetched of `partition`.
    fn forget(&mut self, partition: PartitionId) {
        self.intake.end(partition);
        self.unheard.remove(&partition);
        self.unproven.remove(&partition);
        self.refused.remove(&partition);
        self.ready.retain(|ready| match ready {
            Ok(fetched) => fetched.partition != partition,
            Err(
                LogError::OffsetOutOfRange { partition: at, .. } | LogError::Truncated { partition: at, .. },
            ) => *at != partition,
            Err(_) => true,
        });
    }

    /// Takes records out of librdkafka, at most one fetch in all, waiting up to `wait` for the first.
    fn fill(&mut self, wait: Duration) {
        self.attach_unheard();
        self.prove();
        let mut troubled = Vec::new();
        let mut wait = wait;
        while self.intake.taken_count() < limits::FETCH_RECORDS_MAX - BATCH_MAX
            && self.intake.taken_bytes() < limits::FETCH_BYTES_MAX
        {
            let batch = self.queue.take(wait);
            if batch.len() == 0 {
                break;
            }
            wait = Duration::ZERO;
            self.watch.heard(self.clock.monotonic());
            for message in batch.iter() {
                let partition = partition_id(message.partition());
                self.unheard.remove(&partition);
                let error = message.error().map(|error| error.code);
                if self.unproven.contains(&partition)
                    && matches!(error, None | Some(RDKafkaErrorCode::PartitionEOF))
                {
                    continue;
                }
                if let Err(error) = self.intake.take(message, &self.clock) {
                    troubled.push((partition, error));
                }
            }
        }
        self.ready.extend(self.intake.finish().into_iter().map(Ok));
        for (partition, error) in troubled {
            if is_out_of_range(error.code) {
                self.refused.insert(partition, error);
            } else {
                let told = self.group().context().explain(error);
                self.ready.push_back(Err(log_error(&self.place, &self.topic, &told)));
            }
        }
        self.look_into_refused();
    }
}

impl LogConsumer for KafkaConsumer {
    fn poll(&mut self, wait: Duration) -> Result<Polled, LogError> {
        let deadline = self.clock.monotonic() + wait;
        let mut slice = Duration::ZERO;
        loop {
            if let Some(fatal) = &self.fatal {
                return Err(fatal.clone());
            }
            self.look_around()?;
            // While paused, records stay in librdkafka's queue, whose size is limited.
            self.serve(if self.paused { slice } else { Duration::ZERO })?;
            if let Some(change) = self.next_change() {
                return Ok(change);
            }
            if !self.paused {
                if self.ready.is_empty() {
                    self.fill(slice);
                }
                if let Some(ready) = self.ready.pop_front() {
                    return ready.map(Polled::Fetched);
                }
            }
            let left = deadline.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return Ok(Polled::Nothing);
            }
            slice = left.min(limits::POLL_WAIT);
        }
    }

    fn start(&mut self, positions: &Positions) -> Result<(), LogError> {
        let owned = positions.of(&self.owned);
        owned.iter().for_each(|(partition, _)| self.forget(partition));
        self.begin(&owned)
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
        let released = self.group().release(&self.consumer, partitions);
        released.map_err(|error| log_error(&self.place, &self.topic, &error.into()))
    }

    fn advise(&mut self, landed: &Positions) {
        let owned = landed.of(&self.owned);
        if owned.is_empty() {
            return;
        }
        let noted = self.list(&owned).and_then(|list| self.consumer.commit(&list, CommitMode::Async));
        if let Err(error) = noted {
            tracing::debug!(topic = self.topic, %error, "the group's offsets were not noted");
        }
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.group().close(&self.consumer);
    }
}

impl fmt::Debug for KafkaConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConsumer")
            .field("place", &self.place)
            .field("topic", &self.topic)
            .field("owned", &self.owned)
            .field("paused", &self.paused)
            .finish_non_exhaustive()
    }
}
