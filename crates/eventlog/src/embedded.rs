//! The log in a folder, on fjall.
//!
//! A topic is a row of segments, each a keyspace of fjall; an entry is a batch of events under its
//! partition and first offset. One thread writes: it takes all appends that wait, writes them as one
//! atomic batch, syncs once, and only then acknowledges them and shows them to readers. So what a
//! reader has seen is never taken back, and after a kill at any moment the log holds exactly what was
//! acknowledged, plus perhaps whole groups that were about to be.

/// How a batch of events lies on disk.
mod stored_batch;
/// How the folder's identity and a topic lie on disk.
mod stored_topic;
/// A topic as the running log knows it.
mod topic;
/// Everything that touches fjall's database.
mod store;
/// Cuts off what a power failure left half written.
mod journal;
/// The durable state, and the wake-up when it grows.
mod shared;
/// The one thread that writes.
mod writer;
/// Reading stored batches.
mod reader;
/// The only member of its group.
mod consumer;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use bytes::Bytes;
use event::{Clock, Offset, OffsetRange, PartitionId, Positions, limits};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::consumer::EmbeddedConsumer;
use self::reader::{ScanLimit, scan};
use self::shared::Shared;
use self::store::{Opened, Store};
use self::topic::Topic;
use self::writer::{Append, Request, Writer};
use crate::{Ahead, Consumer, EventLog, LogError, Placement, TopicDescription};

/// Longest topic name, as in Kafka.
const TOPIC_CHARS_MAX: usize = 249;

/// How an embedded log is kept.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Where it lives. Made if it is not there.
    pub folder: PathBuf,
    /// Partitions of a topic that is made; one that exists keeps its own.
    pub partition_count: u32,
    /// Bytes of each topic that stay after they have landed, for `laker verify` and re-reading.
    /// The oldest go first, a whole segment at a time.
    pub keep_landed_bytes: u64,
    /// Bytes of a segment: what retention deletes at once.
    pub segment_bytes: u64,
}

impl EmbeddedOptions {
    /// The usual options for a log in `folder`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            partition_count: 4,
            keep_landed_bytes: 1024 * 1024 * 1024,
            segment_bytes: 64 * 1024 * 1024,
        }
    }
}

/// A log in a folder of this machine. Dropping it finishes what was handed over and closes the folder.
pub struct EmbeddedLog {
    options: EmbeddedOptions,
    folder_id: String,
    shared: Arc<Shared>,
    queue_bytes: Arc<Semaphore>,
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedLog {
    /// Opens the folder, or makes it. Blocks on the disk.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process has the folder open; [`LogError::Settings`] when its
    /// rights are wrong or an option can't be; [`LogError::Damaged`] when what is stored contradicts
    /// itself; else what the disk said.
    pub fn open(options: EmbeddedOptions, clock: Clock) -> Result<Self, LogError> {
        check_options(&options)?;
        let place = options.folder.display().to_string();
        let Opened { store, folder_id, topics } = Store::open(&options.folder, &clock)?;
        let shared = Arc::new(Shared::new(place, clock, topics));
        let writer = Writer::new(
            Arc::clone(&shared),
            options.folder.clone(),
            folder_id.clone(),
            options.segment_bytes,
            store,
        );
        let (queue, requests) = mpsc::channel(limits::EMBEDDED_QUEUE_MAX);
        let writer = thread::Builder::new()
            .name("embedded-log".to_owned())
            .spawn(move || writer.run(requests))
            .map_err(|error| shared.unavailable(format!("no thread could be started: {error}")))?;
        let queue_bytes = Arc::new(Semaphore::new(limits::EMBEDDED_QUEUE_BYTES_MAX));
        Ok(Self { options, folder_id, shared, queue_bytes, queue: Some(queue), writer: Some(writer) })
    }

    /// Identity of the folder: no other has it, and it keeps it for ever.
    #[must_use]
    pub fn folder_id(&self) -> &str {
        &self.folder_id
    }

    /// Bytes of stored batches by topic, those that landed and stay included; none while the folder
    /// is being opened again after a failure.
    #[must_use]
    pub fn stored_bytes(&self) -> BTreeMap<String, u64> {
        let state = self.shared.lock();
        let topics = state.topics.iter().flatten();
        topics.map(|(name, topic)| (name.clone(), topic.stored_bytes())).collect()
    }

    /// Makes `topic`, durable when this returns; does nothing when it is there already.
    ///
    /// # Errors
    /// [`LogError::Settings`] when the name can't be one, else what the disk said.
    pub async fn create_topic(&self, topic: &str) -> Result<(), LogError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.is_empty() || topic.len() > TOPIC_CHARS_MAX || !topic.chars().all(allowed) {
            return Err(self.shared.settings(format!(
                "{topic:?} can't name a topic: it needs 1 to {TOPIC_CHARS_MAX} of a-z A-Z 0-9 . _ -"
            )));
        }
        let partition_count = self.options.partition_count;
        let topic = topic.to_owned();
        self.ask(|reply| Request::CreateTopic { topic, partition_count, reply }).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Request,
    ) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(|| self.stopped())?;
        queue.send(request(reply)).await.map_err(|_| self.stopped())?;
        answer.await.map_err(|_| self.stopped())?
    }

    async fn append_queued(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        let bytes: usize = payloads.iter().map(Bytes::len).sum();
        let share = u32::try_from(bytes.min(limits::EMBEDDED_QUEUE_BYTES_MAX));
        let share = share.expect("a limit below 4 GiB bounds it");
        let permit =
            Arc::clone(&self.queue_bytes).acquire_many_owned(share).await.map_err(|_| self.stopped())?;
        let topic = topic.to_owned();
        self.ask(|reply| Request::Append(Append { topic, payloads, reply, _share: permit })).await
    }

    fn stopped(&self) -> LogError {
        self.shared.unavailable("its writer has stopped; see the log for why, then restart".to_owned())
    }
}

const _: () =
    assert!(limits::EMBEDDED_QUEUE_BYTES_MAX < u32::MAX as usize, "a semaphore gives out 32 bits at once");

fn check_options(options: &EmbeddedOptions) -> Result<(), LogError> {
    let refuse =
        |reason: String| Err(LogError::Settings { place: options.folder.display().to_string(), reason });
    if options.partition_count == 0 || options.partition_count > limits::EMBEDDED_PARTITIONS_MAX {
        return refuse(format!("partition count must be 1 to {}", limits::EMBEDDED_PARTITIONS_MAX));
    }
    if options.segment_bytes == 0 {
        return refuse("segment size must be at least one byte".to_owned());
    }
    Ok(())
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        let topic = self.shared.topic(topic)?;
        Ok(TopicDescription { id: topic.id.clone(), partitions: topic.ranges().collect() })
    }

    async fn append(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        if let Some(large) = payloads.iter().find(|payload| payload.len() > limits::EVENT_BYTES_MAX) {
            return Err(self.shared.settings(format!(
                "an event of {} bytes is over the limit of {}; send it in parts",
                large.len(),
                limits::EVENT_BYTES_MAX
            )));
        }
        if payloads.is_empty() {
            return self.shared.topic(topic).map(|_| Vec::new());
        }
        let appended = self.append_queued(topic, payloads);
        match self.shared.clock.timeout(limits::APPEND_DEADLINE, appended).await {
            Some(outcome) => outcome,
            None => Err(self.shared.unavailable(format!(
                "the disk did not take the events within {} seconds",
                limits::APPEND_DEADLINE.as_secs()
            ))),
        }
    }

    async fn read(&self, topic: &str, from: &Positions, bytes_max: usize) -> Result<Ahead, LogError> {
        let topic = self.shared.topic(topic)?;
        let (shared, from) = (Arc::clone(&self.shared), from.clone());
        let read = tokio::task::spawn_blocking(move || read_ahead(&shared, &topic, &from, bytes_max));
        read.await.map_err(|error| self.shared.unavailable(format!("reading ended early: {error}")))?
    }

    fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn Consumer>, LogError> {
        let consumer = EmbeddedConsumer::join(Arc::clone(&self.shared), topic, group)?;
        Ok(Box::new(consumer))
    }

    async fn landed(&self, topic: &str, landed: &Positions) -> Result<(), LogError> {
        let (topic, landed, keep_bytes) = (topic.to_owned(), landed.clone(), self.options.keep_landed_bytes);
        self.ask(|reply| Request::Landed { topic, landed, keep_bytes, reply }).await
    }
}

fn read_ahead(shared: &Shared, topic: &Topic, from: &Positions, bytes_max: usize) -> Result<Ahead, LogError> {
    let mut ahead = Ahead::default();
    let mut bytes_left = bytes_max;
    for (read, (partition, wanted)) in from.iter().enumerate() {
        let unread = unread(topic, partition, wanted)?;
        // An equal share each, so that a cut answer is not one partition's alone.
        let bytes = bytes_left / (from.len() - read);
        let limit = ScanLimit { bytes, records: usize::MAX };
        let (range, records) = scan(shared, topic, partition, unread, limit)?;
        ahead.cut |= range.end() < unread.end();
        bytes_left = bytes_left.saturating_sub(records.payload_bytes());
        ahead.partitions.insert(partition, (range, records));
    }
    Ok(ahead)
}

fn unread(topic: &Topic, partition: PartitionId, wanted: Offset) -> Result<OffsetRange, LogError> {
    let retained = topic.retained(partition);
    if wanted > retained.end() {
        return Err(LogError::OffsetOutOfRange {
            topic: topic.name.clone(),
            partition,
            wanted,
            first: retained.start(),
            next: retained.end(),
        });
    }
    Ok(OffsetRange::new(wanted.max(retained.start()), retained.end()))
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(folder = %self.shared.place, "the event log's writer panicked");
        }
    }
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLog").field("options", &self.options).finish_non_exhaustive()
    }
}
