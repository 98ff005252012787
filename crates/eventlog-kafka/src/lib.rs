//! The event log on Kafka; the only crate that sees rdkafka.

/// How to reach a cluster: defaults of ours, properties of the user's.
mod options;
/// Appending: all events of a request, then all verdicts.
mod sender;
/// From a spool into a topic, in transactions that carry the spool's position.
mod forwarder;
/// One member of a consumer group.
mod consumer;
/// What the group's coordinator decides.
mod group;
/// Messages as they come, sorted into one stretch per partition.
mod intake;
/// A log that lost its end: what librdkafka says of it.
mod truncation;
/// Transactions that stay open: what they hold back, and for how long.
mod open_transactions;
/// Whether a topic is still the one that is being read.
mod identity;
/// Clients that read without a group.
mod reader;
/// What librdkafka tells us on the side.
mod context;
/// What an error of librdkafka means.
mod error;
/// Numbers of ours as librdkafka wants them.
mod partition;
/// The calls of librdkafka that rust-rdkafka does not offer.
mod native;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use event::{Clock, LogId, Positions, limits};
use eventlog::spool::{Forwarder, NotAppended, Primary};
use eventlog::{Ahead, Consumer, EventLog, LogError, Placement, TopicDescription};

use crate::consumer::KafkaConsumer;
use crate::forwarder::KafkaForwarder;
pub use crate::options::KafkaOptions;
use crate::reader::Readers;
use crate::sender::Sender;

/// How long the number of a topic's partitions is believed: so soon new ones are used.
const TOPIC_BELIEVED: Duration = Duration::from_secs(30);

/// A log on a Kafka cluster.
pub struct KafkaLog {
    options: KafkaOptions,
    clock: Clock,
    sender: Sender,
    readers: Arc<Readers>,
    topics: Mutex<BTreeMap<String, KnownTopic>>,
}

#[derive(Clone, Copy)]
struct KnownTopic {
    partition_count: u32,
    asked_at: Duration,
}

impl KafkaLog {
    /// Connects to a cluster. Blocks until a broker answers, at most `limits::CONNECT_DEADLINE`.
    ///
    /// # Errors
    /// [`LogError::Settings`] when a property can't be or the credentials are refused,
    /// [`LogError::Unavailable`] when no broker answers, with the reason.
    pub fn connect(options: KafkaOptions, clock: Clock) -> Result<Self, LogError> {
        let log = Self::open(options, clock)?;
        log.readers.ask_blocking(|reader| reader.connect())?;
        Ok(log)
    }

    /// A log on a cluster that need not answer yet: each call finds out.
    ///
    /// # Errors
    /// [`LogError::Settings`] when a property can't be.
    pub fn open(options: KafkaOptions, clock: Clock) -> Result<Self, LogError> {
        options.check()?;
        let readers = Arc::new(Readers::new(options.clone(), clock.clone()));
        let sender = Sender::new(options.clone(), clock.clone())?;
        Ok(Self { options, clock, sender, readers, topics: Mutex::default() })
    }

    /// How many partitions `topic` has.
    async fn partition_count(&self, topic: &str) -> Result<u32, LogError> {
        let now = self.clock.monotonic();
        let known = self.topics.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied();
        if let Some(known) = known
            && now.saturating_sub(known.asked_at) < TOPIC_BELIEVED
        {
            return Ok(known.partition_count);
        }
        let name = topic.to_owned();
        let asked = self.readers.ask(move |reader| reader.topic(&name)).await;
        match (asked, known) {
            (Ok(described), _) => {
                let partition_count = described.partitions.len().try_into().unwrap_or(u32::MAX);
                self.know(topic, Some(KnownTopic { partition_count, asked_at: now }));
                Ok(partition_count)
            }
            // What was true a while ago is better than nothing while brokers can't be asked.
            (Err(LogError::Unavailable { .. }), Some(known)) => Ok(known.partition_count),
            (Err(error), _) => Err(error),
        }
    }

    /// The same, within the patience of an append: nothing is handed over before it is known.
    async fn partition_count_soon(&self, topic: &str) -> Result<u32, LogError> {
        let patience = self.options.append_patience.unwrap_or(limits::APPEND_DEADLINE);
        let asked = self.clock.timeout(patience, self.partition_count(topic)).await;
        asked.unwrap_or_else(|| Err(self.too_late(topic, patience)))
    }

    async fn append_whole(&self, topic: &str, payloads: &[Bytes]) -> Result<Vec<Placement>, NotAppended> {
        if let Some(large) = payloads.iter().find(|payload| payload.len() > limits::EVENT_BYTES_MAX) {
            let reason = format!(
                "an event of {} bytes is over the limit of {}; send it in parts",
                large.len(),
                limits::EVENT_BYTES_MAX
            );
            return Err(NotAppended::nothing(LogError::Settings { place: self.options.place(), reason }));
        }
        let partition_count = self.partition_count_soon(topic).await.map_err(NotAppended::nothing)?;
        if payloads.is_empty() {
            return Ok(Vec::new());
        }
        self.sender.append(topic, partition_count, payloads).await
    }

    fn too_late(&self, topic: &str, after: Duration) -> LogError {
        LogError::Unavailable {
            place: self.options.place(),
            reason: format!("topic {topic:?}: no answer within {} seconds", after.as_secs_f32()),
        }
    }

    fn know(&self, topic: &str, known: Option<KnownTopic>) {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(known) => drop(topics.insert(topic.to_owned(), known)),
            None => drop(topics.remove(topic)),
        }
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        let topic = topic.to_owned();
        self.readers.ask(move |reader| reader.describe(&topic)).await
    }

    async fn identity(&self, topic: &str) -> Result<LogId, LogError> {
        let topic = topic.to_owned();
        self.readers.ask(move |reader| reader.identity(&topic, limits::CONNECT_DEADLINE)).await
    }

    async fn append(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        self.try_append(topic, &payloads).await.map_err(|failure| failure.error)
    }

    async fn read(&self, topic: &str, from: &Positions, bytes_max: usize) -> Result<Ahead, LogError> {
        self.partition_count(topic).await?;
        let (topic, from) = (topic.to_owned(), from.clone());
        self.readers.ask(move |reader| reader.read(&topic, &from, bytes_max)).await
    }

    fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn Consumer>, LogError> {
        let id = self.readers.ask_blocking(|reader| reader.identity(topic, limits::CONNECT_DEADLINE))?;
        let readers = Arc::clone(&self.readers);
        let consumer = KafkaConsumer::join(&self.options, self.clock.clone(), readers, topic, id, group)?;
        Ok(Box::new(consumer))
    }

    async fn landed(&self, _topic: &str, _landed: &Positions) -> Result<(), LogError> {
        Ok(())
    }
}

#[async_trait]
impl Primary for KafkaLog {
    async fn try_append(&self, topic: &str, payloads: &[Bytes]) -> Result<Vec<Placement>, NotAppended> {
        let appended = self.append_whole(topic, payloads);
        let outcome = self.clock.timeout(limits::APPEND_DEADLINE, appended).await;
        let outcome = outcome
            .unwrap_or_else(|| Err(NotAppended::perhaps(self.too_late(topic, limits::APPEND_DEADLINE))));
        if let Err(NotAppended { error: LogError::TopicMissing { .. }, .. }) = &outcome {
            self.know(topic, None);
        }
        outcome
    }

    async fn forwarder(&self, spool: &str, topic: &str) -> Result<Box<dyn Forwarder>, LogError> {
        Ok(Box::new(KafkaForwarder::begin(self.options.clone(), spool, topic).await?))
    }
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the properties: they hold passwords.
        f.debug_struct("KafkaLog").field("brokers", &self.options.brokers).finish_non_exhaustive()
    }
}
