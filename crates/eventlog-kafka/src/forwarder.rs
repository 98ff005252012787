//! From a spool into a topic, in transactions that carry the spool's position.
//!
//! The position is the committed offset of a group that has no members, `laker-spool-ID`, for the
//! topic's partition 0; it is sent with the events in one transaction. The producer's transactional id
//! is the spool's: whoever begins with it next aborts or completes what the one before had open, and
//! that one's requests are refused from then on, however late they arrive (KIP-98, KIP-447).

use std::time::Duration;

use async_trait::async_trait;
use event::{Offset, PartitionId, Records, limits};
use eventlog::LogError;
use eventlog::spool::Forwarder;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;

use crate::context::Context;
use crate::error::log_error;
use crate::native::{NativeError, describe_topic};
use crate::options::KafkaOptions;
use crate::partition::{native_offset, offset, partition_id};
use crate::sender::{EventProducer, Place, Request, SendContext, send};

const WAIT: Duration = limits::SPOOL_FORWARD_DEADLINE;
/// Every topic has this partition: the spool's position is kept as if it were one of it.
const POSITION_PARTITION: i32 = 0;
/// A commit whose answer does not come is asked for again so often.
const COMMIT_ATTEMPTS_MAX: usize = 3;

/// The only living forwarder of one spool and topic.
pub struct KafkaForwarder {
    /// `None` after a failure: then it is of no use.
    session: Option<Session>,
    position: Option<Offset>,
}

/// Its clients. Every call blocks.
struct Session {
    place: String,
    topic: String,
    partitions: Vec<PartitionId>,
    transactions: usize,
    producer: EventProducer,
    group: BaseConsumer<Context>,
}

impl KafkaForwarder {
    /// Shuts out whoever forwarded before, and reads the position.
    ///
    /// # Errors
    /// Why the cluster could not be asked.
    pub async fn begin(options: KafkaOptions, spool: &str, topic: &str) -> Result<Self, LogError> {
        let (spool, topic, place) = (spool.to_owned(), topic.to_owned(), options.place());
        let begun = tokio::task::spawn_blocking(move || {
            let session = Session::begin(&options, &spool, &topic)?;
            let position = session.position()?;
            Ok(Self { session: Some(session), position })
        });
        begun.await.unwrap_or_else(|error| Err(ended_early(place, &error)))
    }
}

#[async_trait]
impl Forwarder for KafkaForwarder {
    fn position(&self) -> Option<Offset> {
        self.position
    }

    async fn forward(&mut self, records: &Records, next: Offset) -> Result<(), LogError> {
        let Some(mut session) = self.session.take() else {
            let reason = "this forwarder has failed before".to_owned();
            return Err(LogError::Unavailable { place: "kafka".to_owned(), reason });
        };
        let (records, place) = (records.clone(), session.place.clone());
        let forwarded = tokio::task::spawn_blocking(move || {
            session.forward(&records, next)?;
            Ok(session)
        });
        self.session = Some(forwarded.await.unwrap_or_else(|error| Err(ended_early(place, &error)))?);
        self.position = Some(next);
        Ok(())
    }
}

impl Drop for KafkaForwarder {
    /// Closing connections blocks, and whoever drops this may be a task.
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        let closing = std::thread::Builder::new().name("spool-close".to_owned());
        if let Err(error) = closing.spawn(move || drop(session)) {
            tracing::debug!(%error, "no thread to close a forwarder's connections on");
        }
    }
}

fn ended_early(place: String, error: &tokio::task::JoinError) -> LogError {
    LogError::Unavailable { place, reason: format!("forwarding ended early: {error}") }
}

impl Session {
    fn begin(options: &KafkaOptions, spool: &str, topic: &str) -> Result<Self, LogError> {
        let name = format!("laker-spool-{spool}");
        let bad = |error: KafkaError| options.bad_property(&error);
        let group = options.forwarders_group(&name).create_with_context(Context::default()).map_err(bad)?;
        let producer = options.forwarder(&format!("{name}-{topic}"));
        let producer: EventProducer = producer.create_with_context(SendContext::default()).map_err(bad)?;
        let mut session = Self {
            place: options.place(),
            topic: topic.to_owned(),
            partitions: Vec::new(),
            transactions: 0,
            producer,
            group,
        };
        let described = describe_topic(&session.group, topic, WAIT).map_err(|error| session.failed(error))?;
        session.partitions = described.partitions.into_iter().map(partition_id).collect();
        session.producer.init_transactions(WAIT).map_err(|error| session.failed(error.into()))?;
        Ok(session)
    }

    /// What is committed. Nothing is under way any more: the producer has seen to that.
    fn position(&self) -> Result<Option<Offset>, LogError> {
        let asked = self.group.committed_offsets(self.position_list(0)?, WAIT);
        let found = asked.map_err(|error| self.failed(error.into()))?;
        let element = found.find_partition(&self.topic, POSITION_PARTITION);
        let element = element.ok_or_else(|| self.unknown("the group's position was not answered"))?;
        element.error().map_err(|error| self.failed(error.into()))?;
        match element.offset() {
            rdkafka::Offset::Offset(committed) => Ok(offset(committed)),
            rdkafka::Offset::Invalid => Ok(None),
            other => Err(self.unknown(&format!("the group's position was answered with {other:?}"))),
        }
    }

    fn forward(&mut self, records: &Records, next: Offset) -> Result<(), LogError> {
        self.producer.begin_transaction().map_err(|error| self.failed(error.into()))?;
        self.send(records)?;
        let group = self.group.group_metadata();
        let group = group.ok_or_else(|| self.unknown("the client of the group has no group"))?;
        let position = self.position_list(native_offset(next))?;
        self.producer
            .send_offsets_to_transaction(&position, &group, WAIT)
            .map_err(|error| self.failed(error.into()))?;
        self.commit()
    }

    /// All of a transaction go to one partition, which keeps their order; the next one takes the next.
    fn send(&mut self, records: &Records) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        let turn = self.transactions.checked_rem(self.partitions.len()).unwrap_or(0);
        let partition = self.partitions.get(turn).copied();
        let partition = partition.ok_or_else(|| self.unknown("the topic has no partition"))?;
        self.transactions += 1;
        let (request, verdicts) = Request::new(records.len());
        for (index, record) in records.iter().enumerate() {
            let timestamp_millis = record.received_at.0.div_euclid(1_000);
            let place = Place { topic: &self.topic, partition, timestamp_millis };
            let payload = record.payload.unwrap_or_default();
            if let Err(error) = send(&self.producer, &place, payload, &request, index) {
                request.settle_rest(records.len() - index, &error);
                break;
            }
        }
        verdicts.blocking_recv().map_err(|_| self.unknown("the producer has ended"))?;
        request.outcome().map(drop).map_err(|failure| self.failed(failure.error))
    }

    /// Asked again, librdkafka goes on with the same commit.
    fn commit(&self) -> Result<(), LogError> {
        let mut attempts = 1;
        loop {
            match self.producer.commit_transaction(WAIT / 2) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && attempts < COMMIT_ATTEMPTS_MAX =>
                {
                    attempts += 1;
                }
                Err(error) => return Err(self.failed(error.into())),
            }
        }
    }

    fn position_list(&self, position: i64) -> Result<TopicPartitionList, LogError> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, POSITION_PARTITION, rdkafka::Offset::Offset(position))
            .map_err(|error| self.failed(error.into()))?;
        Ok(list)
    }

    fn failed(&self, error: NativeError) -> LogError {
        // The group's client says nothing by itself: what it heard is handed over by a poll.
        let _ = self.group.poll(Duration::ZERO);
        let error = self.group.context().explain(self.producer.context().explain(error));
        if error.code == RDKafkaErrorCode::TransactionalIdAuthorizationFailed {
            return LogError::Settings {
                place: self.place.clone(),
                reason: format!(
                    "topic {:?}: {}; allow this user to write transactional ids, and to read groups, that begin with \"laker-spool-\"",
                    self.topic, error.reason
                ),
            };
        }
        log_error(&self.place, &self.topic, &error)
    }

    fn unknown(&self, reason: &str) -> LogError {
        LogError::Unavailable {
            place: self.place.clone(),
            reason: format!("topic {:?}: {reason}", self.topic),
        }
    }
}
