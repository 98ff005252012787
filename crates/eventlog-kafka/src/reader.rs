//! Clients that read without a group: what a topic is, where it ends, and what lies there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::{Clock, LogId, Offset, OffsetRange, PartitionId, Positions, Records, limits};
use eventlog::{Ahead, LogError, TopicDescription};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::Semaphore;

use crate::context::Context;
use crate::error::{is_settings, log_error};
use crate::intake::Intake;
use crate::native::{DescribedTopic, DirectTopic, FetchQueue, NativeError, describe_topic};
use crate::options::KafkaOptions;
use crate::partition::{native_offset, native_partition, partition_id};

/// Messages taken out of librdkafka's queue at once.
const BATCH_MAX: usize = 1_000;
/// Events of the client that are handled at once.
const EVENTS_MAX: usize = 32;
/// How long one question about an error is given, before what is known of it is looked at.
const QUESTION_WAIT: Duration = Duration::from_secs(1);
/// When no broker at all can be reached, more are not waited for.
const ALL_DOWN_WAIT: Duration = Duration::from_secs(3);
/// Where the log went away while it was being read, it is asked again so often.
const ATTEMPTS_MAX: usize = 3;

/// Clients that wait for the next question. Each has its own connections, so they are kept.
pub struct Readers {
    options: KafkaOptions,
    clock: Clock,
    idle: Mutex<Vec<Reader>>,
    permits: Semaphore,
}

impl Readers {
    /// No client yet.
    #[must_use]
    pub fn new(options: KafkaOptions, clock: Clock) -> Self {
        let permits = Semaphore::new(limits::KAFKA_READERS_MAX);
        Self { options, clock, idle: Mutex::new(Vec::new()), permits }
    }

    /// Asks a client `question` on a thread that may block.
    ///
    /// # Errors
    /// What the question ends with.
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&mut Reader) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let _permit = self.permits.acquire().await.map_err(|_| self.unavailable("it is closed"))?;
        let readers = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || readers.ask_blocking(question));
        asked.await.map_err(|error| self.unavailable(&format!("reading ended early: {error}")))?
    }

    /// Asks a client `question`.
    ///
    /// # Errors
    /// What the question ends with.
    ///
    /// # Panics
    /// When a thread panicked while it took a client.
    pub fn ask_blocking<T>(
        &self,
        question: impl FnOnce(&mut Reader) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let idle = self.idle.lock().expect("no thread panics while it takes a reader").pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => Reader::new(&self.options, self.clock.clone())?,
        };
        let answer = question(&mut reader);
        // One that has failed may have a reason that stays with it.
        if !matches!(answer, Err(LogError::Unavailable { .. })) {
            self.idle.lock().expect("no thread panics while it takes a reader").push(reader);
        }
        answer
    }

    fn unavailable(&self, reason: &str) -> LogError {
        LogError::Unavailable { place: self.options.place(), reason: reason.to_owned() }
    }
}

/// One client.
pub struct Reader {
    place: String,
    clock: Clock,
    /// Before the client, which must be destroyed last.
    topics: BTreeMap<String, DirectTopic<Context>>,
    consumer: Arc<BaseConsumer<Context>>,
}

impl Reader {
    fn new(options: &KafkaOptions, clock: Clock) -> Result<Self, LogError> {
        let consumer = options.reader().create_with_context(Context::default());
        let consumer = Arc::new(consumer.map_err(|error| options.bad_property(&error))?);
        Ok(Self { place: options.place(), clock, topics: BTreeMap::new(), consumer })
    }

    /// Waits until a broker answers.
    ///
    /// # Errors
    /// [`LogError::Settings`] when one refuses us, else [`LogError::Unavailable`] with the reason the
    /// connections give, within `limits::CONNECT_DEADLINE`.
    pub fn connect(&self) -> Result<(), LogError> {
        let started = self.clock.monotonic();
        loop {
            let Err(error) = self.consumer.client().fetch_metadata(None, QUESTION_WAIT) else {
                self.consumer.context().forget();
                return Ok(());
            };
            self.serve();
            let (trouble, all_down) = self.consumer.context().trouble();
            let waited = self.clock.monotonic().saturating_sub(started);
            let refused = trouble.as_ref().is_some_and(|trouble| is_settings(trouble.code));
            let given_up =
                (all_down && waited >= ALL_DOWN_WAIT) || waited + QUESTION_WAIT > limits::CONNECT_DEADLINE;
            if refused || given_up {
                return Err(self.connect_error(error.into(), trouble));
            }
        }
    }

    fn connect_error(&self, error: NativeError, trouble: Option<NativeError>) -> LogError {
        let NativeError { code, reason } = trouble.unwrap_or(error);
        let place = self.place.clone();
        if is_settings(code) {
            return LogError::Settings {
                place,
                reason: format!("{reason}; correct the credentials under [kafka]"),
            };
        }
        LogError::Unavailable { place, reason: format!("no broker answers: {reason}") }
    }

    /// Lets librdkafka hand over its log and its troubles.
    fn serve(&self) {
        for _ in 0..EVENTS_MAX {
            // A poll without a wait handles one event, and says nothing of whether there was one.
            let _ = self.consumer.poll(Duration::ZERO);
        }
    }

    /// Identity, partitions and watermarks of `topic`.
    ///
    /// # Errors
    /// [`LogError::TopicMissing`], or what the connection says.
    pub fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        let described = self.topic(topic)?;
        let partitions: Vec<_> = described.partitions.iter().copied().map(partition_id).collect();
        let id = self.log_id(topic, &described, limits::CONNECT_DEADLINE)?;
        Ok(TopicDescription { id, partitions: self.watermarks(topic, &partitions)? })
    }

    /// Identity of `topic`, if a broker says it within `wait`.
    ///
    /// # Errors
    /// As [`Reader::describe`].
    pub fn identity(&self, topic: &str, wait: Duration) -> Result<LogId, LogError> {
        let described = describe_topic(&self.consumer, topic, wait);
        let described = described.map_err(|error| self.failed(topic, error))?;
        self.log_id(topic, &described, wait)
    }

    fn log_id(&self, topic: &str, described: &DescribedTopic, wait: Duration) -> Result<LogId, LogError> {
        let cluster = self.consumer.client().fetch_cluster_id(wait);
        let cluster = cluster.ok_or_else(|| self.unavailable(topic, "the cluster does not say its id"))?;
        // Brokers before 2.8 have no topic ids; a topic made anew under its name is not noticed there.
        let topic_id = if described.id == 0 { topic.to_owned() } else { format!("{:032x}", described.id) };
        Ok(LogId::new(format!("kafka:{}:{topic_id}", cluster.replace('/', "_"))))
    }

    /// What the cluster says about `topic`.
    ///
    /// # Errors
    /// [`LogError::TopicMissing`], or what the connection says.
    pub fn topic(&self, topic: &str) -> Result<DescribedTopic, LogError> {
        let described = describe_topic(&self.consumer, topic, limits::CONNECT_DEADLINE);
        described.map_err(|error| self.failed(topic, error))
    }

    /// First retained and next offset of each partition, asked from the brokers now. The next offset
    /// is that of the last stable record: what lies behind it belongs to open transactions.
    ///
    /// # Errors
    /// What the connection says.
    pub fn watermarks(
        &self,
        topic: &str,
        partitions: &[PartitionId],
    ) -> Result<BTreeMap<PartitionId, OffsetRange>, LogError> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let firsts = self.offsets(topic, partitions, rdkafka::Offset::Beginning)?;
        let nexts = self.offsets(topic, partitions, rdkafka::Offset::End)?;
        let ranges = partitions.iter().zip(firsts).zip(nexts);
        Ok(ranges
            .map(|((partition, first), next)| (*partition, OffsetRange::new(first, next.max(first))))
            .collect())
    }

    fn offsets(
        &self,
        topic: &str,
        partitions: &[PartitionId],
        which: rdkafka::Offset,
    ) -> Result<Vec<Offset>, LogError> {
        let mut wanted = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            // In this question the place of an offset holds a time; the ends' numbers are times of their own.
            wanted
                .add_partition_offset(topic, native_partition(*partition), which)
                .map_err(|error| self.failed(topic, error.into()))?;
        }
        let found = self
            .consumer
            .offsets_for_times(wanted, limits::CONNECT_DEADLINE)
            .map_err(|error| self.failed(topic, error.into()))?;
        let offset_of = |partition: &PartitionId| {
            let element = found.find_partition(topic, native_partition(*partition));
            let element =
                element.ok_or_else(|| self.unavailable(topic, "a partition was not answered for"))?;
            element.error().map_err(|error| self.failed(topic, error.into()))?;
            match element.offset() {
                rdkafka::Offset::Offset(offset) => Ok(Offset(offset.try_into().unwrap_or(0))),
                other => {
                    Err(self.unavailable(topic, &format!("a partition's end was answered with {other:?}")))
                }
            }
        };
        partitions.iter().map(offset_of).collect()
    }

    /// As `EventLog::read`.
    ///
    /// # Errors
    /// As `EventLog::read`.
    pub fn read(&mut self, topic: &str, from: &Positions, bytes_max: usize) -> Result<Ahead, LogError> {
        let mut attempts = 1;
        loop {
            match self.try_read(topic, from, bytes_max) {
                // Retention went on between the question where it begins and the reading; or a broker
                // refused for a moment what it has.
                Err(LogError::OffsetOutOfRange { wanted, next, .. }) if wanted <= next => {
                    if attempts == ATTEMPTS_MAX {
                        return Err(
                            self.unavailable(topic, "its first offsets go away faster than they are read")
                        );
                    }
                    attempts += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Whether any record is to be had in `range` of `partition`.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn has_records(
        &mut self,
        topic: &str,
        partition: PartitionId,
        range: OffsetRange,
    ) -> Result<bool, LogError> {
        // The first few that come tell: they come in order.
        let ahead = self.read(topic, &Positions::from_iter([(partition, range.start())]), 1)?;
        let first = ahead.partitions.get(&partition).and_then(|(_, records)| records.first_offset());
        Ok(first.is_some_and(|first| first < range.end()))
    }

    fn try_read(&mut self, topic: &str, from: &Positions, bytes_max: usize) -> Result<Ahead, LogError> {
        let partitions: Vec<PartitionId> = from.iter().map(|(partition, _)| partition).collect();
        let retained = self.watermarks(topic, &partitions)?;
        let mut unread = BTreeMap::new();
        for (partition, wanted) in from.iter() {
            let held = retained[&partition];
            if wanted > held.end() {
                return Err(out_of_range(topic, partition, wanted, held));
            }
            unread.insert(partition, OffsetRange::new(wanted.max(held.start()), held.end()));
        }
        self.fetch(topic, &unread, bytes_max)
    }

    fn fetch(
        &mut self,
        topic: &str,
        unread: &BTreeMap<PartitionId, OffsetRange>,
        bytes_max: usize,
    ) -> Result<Ahead, LogError> {
        let mut fetch = Fetch::new(unread, bytes_max, self.clock.clone());
        let queue = FetchQueue::new(Arc::clone(&self.consumer), BATCH_MAX);
        self.make_handle(topic)?;
        let handle = &self.topics[topic];
        let mut outcome = fetch.start(handle, &queue);
        if outcome.is_ok() {
            outcome = fetch.run(handle, queue);
        }
        fetch.stop(handle);
        self.serve();
        match outcome {
            Ok(()) => Ok(fetch.finish()),
            Err((Some(partition), error)) if is_out_of_range(error.code) => {
                let held = self.watermarks(topic, &[partition])?[&partition];
                Err(out_of_range(topic, partition, fetch.intake.next_of(partition), held))
            }
            Err((_, error)) => Err(self.failed(topic, error)),
        }
    }

    fn make_handle(&mut self, topic: &str) -> Result<(), LogError> {
        if !self.topics.contains_key(topic) {
            let handle = DirectTopic::new(Arc::clone(&self.consumer), topic);
            let handle = handle.map_err(|error| self.failed(topic, error))?;
            self.topics.insert(topic.to_owned(), handle);
        }
        Ok(())
    }

    fn failed(&self, topic: &str, error: NativeError) -> LogError {
        self.serve();
        log_error(&self.place, topic, &self.consumer.context().explain(error))
    }

    fn unavailable(&self, topic: &str, reason: &str) -> LogError {
        LogError::Unavailable { place: self.place.clone(), reason: format!("topic {topic:?}: {reason}") }
    }
}

/// Whether an error says that a position is not in the log.
#[must_use]
pub fn is_out_of_range(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{AutoOffsetReset, LogTruncation, OffsetOutOfRange};
    matches!(code, AutoOffsetReset | LogTruncation | OffsetOutOfRange)
}

/// The error for a position outside of what is held.
#[must_use]
pub fn out_of_range(topic: &str, partition: PartitionId, wanted: Offset, held: OffsetRange) -> LogError {
    LogError::OffsetOutOfRange {
        topic: topic.to_owned(),
        partition,
        wanted,
        first: held.start(),
        next: held.end(),
    }
}

/// Where an error came up, if at one partition.
type FetchError = (Option<PartitionId>, NativeError);

/// One read in progress.
struct Fetch {
    clock: Clock,
    intake: Intake,
    /// Where each partition that is still read ends.
    ends: BTreeMap<PartitionId, Offset>,
    unread: BTreeMap<PartitionId, OffsetRange>,
    started: Vec<PartitionId>,
    bytes_max: usize,
    cut: bool,
}

impl Fetch {
    fn new(unread: &BTreeMap<PartitionId, OffsetRange>, bytes_max: usize, clock: Clock) -> Self {
        let news = unread.iter().filter(|(_, range)| !range.is_empty());
        let mut intake = Intake::default();
        for (partition, range) in unread {
            intake.start(*partition, range.start(), None);
        }
        Self {
            clock,
            intake,
            ends: news.map(|(partition, range)| (*partition, range.end())).collect(),
            unread: unread.clone(),
            started: Vec::new(),
            bytes_max,
            cut: false,
        }
    }

    fn start(&mut self, topic: &DirectTopic<Context>, queue: &FetchQueue<Context>) -> Result<(), FetchError> {
        if self.bytes_max == 0 {
            self.cut = !self.ends.is_empty();
            self.ends.clear();
        }
        for partition in self.ends.keys() {
            let offset = native_offset(self.unread[partition].start());
            topic
                .start(native_partition(*partition), offset, queue)
                .map_err(|error| (Some(*partition), error))?;
            self.started.push(*partition);
        }
        Ok(())
    }

    fn run(
        &mut self,
        topic: &DirectTopic<Context>,
        mut queue: FetchQueue<Context>,
    ) -> Result<(), FetchError> {
        let share = self.bytes_max.checked_div(self.ends.len()).unwrap_or(0);
        let mut heard = self.clock.monotonic();
        while !self.ends.is_empty() {
            if self.take(&mut queue)? == 0 {
                if self.clock.monotonic().saturating_sub(heard) > limits::CONNECT_DEADLINE {
                    let reason = "nothing came within the time a connection may take".to_owned();
                    return Err((None, NativeError { code: RDKafkaErrorCode::OperationTimedOut, reason }));
                }
                continue;
            }
            heard = self.clock.monotonic();
            self.settle(topic, share);
        }
        Ok(())
    }

    fn take(&mut self, queue: &mut FetchQueue<Context>) -> Result<usize, FetchError> {
        let batch = queue.take(limits::POLL_WAIT);
        for message in batch.iter() {
            let partition = partition_id(message.partition());
            let Some(end) = self.ends.get(&partition) else { continue };
            if message.error().is_none() && message.offset() >= native_offset(*end) {
                // It came after the question. What lies between are transaction markers.
                self.intake.skip_to(partition, *end);
                continue;
            }
            self.intake.take(message, &self.clock).map_err(|error| (Some(partition), error))?;
        }
        Ok(batch.len())
    }

    /// Ends the partitions that have come to their end or have brought their share.
    fn settle(&mut self, topic: &DirectTopic<Context>, share: usize) {
        let (intake, cut) = (&mut self.intake, &mut self.cut);
        self.ends.retain(|partition, end| {
            let is_at_end = intake.next_of(*partition) >= *end;
            let is_full = intake.bytes_of(*partition) >= share;
            *cut |= is_full && !is_at_end;
            if is_at_end || is_full {
                topic.stop(native_partition(*partition));
                return false;
            }
            true
        });
    }

    fn stop(&self, topic: &DirectTopic<Context>) {
        for partition in self.started.iter().filter(|partition| self.ends.contains_key(partition)) {
            topic.stop(native_partition(*partition));
        }
    }

    fn finish(mut self) -> Ahead {
        let mut ahead = Ahead { partitions: BTreeMap::new(), cut: self.cut };
        for fetched in self.intake.finish() {
            ahead.partitions.insert(fetched.partition, (fetched.range, fetched.records));
        }
        for (partition, range) in &self.unread {
            let nothing = || (OffsetRange::new(range.start(), range.start()), Records::default());
            let (read, _) = ahead.partitions.entry(*partition).or_insert_with(nothing);
            // The end notice of a later moment may lie behind the end of the question.
            *read = OffsetRange::new(read.start(), read.end().min(range.end()));
        }
        ahead
    }
}
