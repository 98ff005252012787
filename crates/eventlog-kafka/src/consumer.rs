//! One member of a consumer group, on a plain thread.
//!
//! Rebalances and errors come through librdkafka's main queue, records through one of our own: so a
//! batch of records is taken with one call, and none of them waits behind anything else.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use event::invariants::{Invariant, uphold};
use event::{Clock, Offset, PartitionId, Positions, limits};
use eventlog::{Consumer as LogConsumer, Fetched, LogError, Polled};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::error::log_error;
use crate::group::{Change, Group};
use crate::intake::Intake;
use crate::native::{FetchQueue, NativeError};
use crate::options::KafkaOptions;
use crate::partition::{native_offset, native_partition};
use crate::reader::{Readers, is_out_of_range, out_of_range};

/// Messages taken out of librdkafka's queue at once.
const BATCH_MAX: usize = 1_000;
/// Time a jump within a running partition may take.
const SEEK_WAIT: Duration = Duration::from_secs(5);

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
    paused: bool,
    /// An error after which librdkafka does nothing any more.
    fatal: Option<LogError>,
    /// Before the client, which must be destroyed last.
    queue: FetchQueue<Group>,
    consumer: Arc<BaseConsumer<Group>>,
}

impl KafkaConsumer {
    /// Joins `group`. What it is given comes with the polls.
    ///
    /// # Errors
    /// [`LogError::Settings`] when librdkafka refuses its properties.
    pub fn join(
        options: &KafkaOptions,
        clock: Clock,
        readers: Arc<Readers>,
        topic: &str,
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
            clock,
            readers,
            owned: BTreeSet::new(),
            intake: Intake::default(),
            ready: VecDeque::new(),
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
        while let Some(event) = self.consumer.poll(wait) {
            wait = Duration::ZERO;
            match event {
                Ok(_) => uphold(Invariant::NoLoss, false, || {
                    format!("a record of topic {:?} came past the queue that counts them", self.topic)
                }),
                Err(error) => self.judge(error)?,
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
        self.ready.retain(|ready| !matches!(ready, Ok(fetched) if fetched.partition == partition));
    }

    /// Takes records out of librdkafka, at most one fetch in all, waiting up to `wait` for the first.
    fn fill(&mut self, wait: Duration) {
        let mut troubled = Vec::new();
        let mut wait = wait;
        while self.intake.taken_count() < limits::FETCH_RECORDS_MAX - BATCH_MAX
            && self.intake.taken_bytes() < limits::FETCH_BYTES_MAX
        {
            let batch = if wait.is_zero() { self.queue.take() } else { self.queue.wait(wait) };
            if batch.len() == 0 {
                break;
            }
            wait = Duration::ZERO;
            for message in batch.iter() {
                if let Err(error) = self.intake.take(message, &self.clock) {
                    troubled.push((crate::partition::partition_id(message.partition()), error));
                }
            }
        }
        self.ready.extend(self.intake.finish().into_iter().map(Ok));
        for (partition, error) in troubled {
            let told = self.partition_failed(partition, error);
            self.ready.push_back(Err(told));
        }
    }

    fn partition_failed(&mut self, partition: PartitionId, error: NativeError) -> LogError {
        let wanted = self.intake.next_of(partition);
        if !is_out_of_range(error.code) {
            return log_error(&self.place, &self.topic, &self.group().context().explain(error));
        }
        let topic = self.topic.clone();
        let held = self.readers.ask_blocking(|reader| reader.watermarks(&topic, &[partition]));
        match held.map(|held| held[&partition]) {
            Ok(held) if held.start() <= wanted && wanted <= held.end() => {
                // It is there: the check itself has failed, on a change of leaders for instance.
                let restarted = self.begin(&[(partition, wanted)]);
                restarted.err().unwrap_or_else(|| log_error(&self.place, &self.topic, &error))
            }
            Ok(held) => out_of_range(&self.topic, partition, wanted, held),
            Err(error) => error,
        }
    }

    /// Has librdkafka fetch the partitions from these offsets on, whether it fetches them already or not.
    fn begin(&mut self, positions: &[(PartitionId, Offset)]) -> Result<(), LogError> {
        let (jumping, new): (Vec<_>, Vec<_>) =
            positions.iter().copied().partition(|(partition, _)| self.group().is_fetched(*partition));
        for (partition, from) in positions {
            self.forget(*partition);
            self.queue
                .attach(&self.topic, native_partition(*partition))
                .map_err(|error| log_error(&self.place, &self.topic, &error))?;
            self.intake.start(*partition, *from);
        }
        let begun = self.assign(&new).and_then(|()| self.jump(&jumping));
        begun.map_err(|error| log_error(&self.place, &self.topic, &error.into()))
    }

    fn assign(&self, positions: &[(PartitionId, Offset)]) -> Result<(), KafkaError> {
        if positions.is_empty() {
            return Ok(());
        }
        self.consumer.incremental_assign(&self.list(positions)?)?;
        self.group().note_fetched(positions.iter().map(|(partition, _)| *partition));
        Ok(())
    }

    fn jump(&self, positions: &[(PartitionId, Offset)]) -> Result<(), KafkaError> {
        if positions.is_empty() {
            return Ok(());
        }
        // Raises the partitions' versions before it returns: what was fetched before is thrown away.
        let jumped = self.consumer.seek_partitions(self.list(positions)?, SEEK_WAIT)?;
        let mut stuck = Vec::new();
        for (partition, from) in positions {
            let element = jumped.find_partition(&self.topic, native_partition(*partition));
            if element.is_none_or(|element| element.error().is_err()) {
                stuck.push((*partition, *from));
            }
        }
        if stuck.is_empty() {
            return Ok(());
        }
        // One that is not being fetched at the moment can't jump, but it can be begun anew.
        let list = self.list(&stuck)?;
        self.consumer.incremental_unassign(&list)?;
        self.consumer.incremental_assign(&list)
    }

    fn list(&self, positions: &[(PartitionId, Offset)]) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, from) in positions {
            let from = rdkafka::Offset::Offset(native_offset(*from));
            list.add_partition_offset(&self.topic, native_partition(*partition), from)?;
        }
        Ok(list)
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
        let owned: Vec<_> =
            positions.iter().filter(|(partition, _)| self.owned.contains(partition)).collect();
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
        let owned: Vec<_> = landed.iter().filter(|(partition, _)| self.owned.contains(partition)).collect();
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
