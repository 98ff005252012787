//! Events on this machine's disk while the log is gone, and their way into it.
//!
//! A [`SpooledLog`] is a log ([`Primary`]: Kafka) with an embedded log of its own in front. As long as
//! the log takes events they go there, and the spool is empty. Once it does not, they go to disk,
//! synced before they are acknowledged, and from there into the log in the order they came; later
//! ones follow them through the spool until it has drained, so that nothing overtakes.
//!
//! Each event comes into the log exactly once, whatever dies in between: a [`Forwarder`] puts events
//! and the spool's new position into the log in one step, and a new forwarder shuts every earlier one
//! out before it is told where they had come to. `docs/decisions/0008-spool.md` has the proof.

/// What a spool needs of the log behind it.
mod primary;
/// One topic: which way its events take.
mod lane;
/// The way from the disk into the log.
mod forward;
/// Where to go on, from what disk and log say.
mod resume;
/// Whether the log knows a position of this spool, on disk.
mod mark;
/// Names of the metrics, in one place.
mod telemetry;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use event::{Clock, Offset, OffsetRange, PartitionId, Positions};
use tokio::task::JoinSet;

use self::lane::Lane;
pub use self::lane::{LaneStatus, Route};
pub use self::primary::{Forwarder, NotAppended, Primary};
use crate::embedded::EmbeddedOptions;
use crate::{Ahead, Consumer, EmbeddedLog, EventLog, LogError, Placement, TopicDescription};

/// The one partition of a spool's topic: what keeps the order.
const PARTITION: PartitionId = PartitionId(0);
/// Segments a full spool has: so much of it at a time is given free while it drains.
const SEGMENTS: u64 = 8;
const SEGMENT_BYTES_MIN: u64 = 1024 * 1024;
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where events went that are durable now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Into the log: the place of each, in the order given.
    InLog(Vec<Placement>),
    /// Onto this machine's disk, in the order given. Where the log puts them is not known yet.
    Spooled(SpooledRange),
}

/// A stretch of one topic in one spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledRange {
    /// Identity of the spool.
    pub spool: String,
    /// One offset for each event.
    pub range: OffsetRange,
}

/// How a spool is kept.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// Where it lives. Made if it is not there.
    pub folder: PathBuf,
    /// Bytes of events that may wait in it, over all topics; beyond it nothing more is taken.
    pub bytes_max: u64,
}

impl SpoolOptions {
    fn embedded(&self) -> EmbeddedOptions {
        EmbeddedOptions {
            partition_count: 1,
            keep_landed_bytes: 0,
            segment_bytes: (self.bytes_max / SEGMENTS).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            ..EmbeddedOptions::new(&self.folder)
        }
    }
}

/// A log with a spool in front. Reading, and everything else but [`EventLog::take`], is the log's own.
pub struct SpooledLog {
    primary: Arc<dyn Primary>,
    spool: Arc<Spool>,
    lanes: BTreeMap<String, Arc<Lane>>,
    /// Dropped with the log, which ends them: at any moment, as a crash would.
    _forwarding: JoinSet<()>,
}

/// The disk's side, shared by all topics.
pub(crate) struct Spool {
    pub(crate) log: EmbeddedLog,
    pub(crate) options: SpoolOptions,
    pub(crate) clock: Clock,
}

impl SpooledLog {
    /// Opens the spool and begins to forward what is in it. `topics` are those that take events; what
    /// the spool still has of others is forwarded as well. The log need not answer yet.
    ///
    /// # Errors
    /// As [`EmbeddedLog::open`].
    pub async fn open(
        options: SpoolOptions,
        topics: &[String],
        primary: Arc<dyn Primary>,
        clock: Clock,
    ) -> Result<Self, LogError> {
        telemetry::describe();
        let log = open_folder(&options, &clock).await?;
        for topic in topics {
            log.create_topic(topic).await?;
        }
        let spool = Arc::new(Spool { log, options, clock });
        let mut lanes = BTreeMap::new();
        let mut forwarding = JoinSet::new();
        for topic in spool.log.stored_bytes().into_keys() {
            let held = spool.held(&topic).await?;
            let lane = Arc::new(Lane::new(&topic, held, Arc::clone(&primary), Arc::clone(&spool)));
            forwarding.spawn(forward::run(Arc::clone(&lane)));
            lanes.insert(topic, lane);
        }
        Ok(Self { primary, spool, lanes, _forwarding: forwarding })
    }

    /// Identity of the spool, as receipts name it.
    #[must_use]
    pub fn id(&self) -> &str {
        self.spool.log.folder_id()
    }

    /// How each topic is doing.
    #[must_use]
    pub fn status(&self) -> BTreeMap<String, LaneStatus> {
        self.lanes.iter().map(|(topic, lane)| (topic.clone(), lane.status())).collect()
    }

    /// Whether the spool has room for more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.spool.stored_bytes() < self.spool.options.bytes_max
    }

    /// Whether the events of `spooled` have come from this spool into the log; `None` when they are of
    /// another spool, or have never been in it.
    #[must_use]
    pub fn is_forwarded(&self, topic: &str, spooled: &SpooledRange) -> Option<bool> {
        let lane = self.lanes.get(topic)?;
        let forwarded = lane.forwarded_part(spooled.range)?;
        (spooled.spool == self.id()).then_some(forwarded)
    }

    fn lane(&self, topic: &str) -> Result<&Arc<Lane>, LogError> {
        self.lanes
            .get(topic)
            .ok_or_else(|| LogError::TopicMissing { topic: topic.to_owned(), place: self.spool.place() })
    }
}

#[async_trait]
impl EventLog for SpooledLog {
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.primary.describe(topic).await
    }

    /// Appends to the log itself; refused while anything of the topic is in the spool, which it would
    /// overtake. [`EventLog::take`] is the call that may spool.
    async fn append(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        self.lane(topic)?.append(payloads).await
    }

    async fn take(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Taken, LogError> {
        self.lane(topic)?.take(payloads).await
    }

    async fn read(&self, topic: &str, from: &Positions, bytes_max: usize) -> Result<Ahead, LogError> {
        self.primary.read(topic, from, bytes_max).await
    }

    fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn Consumer>, LogError> {
        self.primary.consumer(topic, group)
    }

    async fn landed(&self, topic: &str, landed: &Positions) -> Result<(), LogError> {
        self.primary.landed(topic, landed).await
    }
}

impl fmt::Debug for SpooledLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpooledLog").field("spool", &self.spool.options).finish_non_exhaustive()
    }
}

impl Spool {
    /// Offsets of `topic` that have not been given free.
    ///
    /// # Errors
    /// As [`EventLog::describe`].
    pub(crate) async fn held(&self, topic: &str) -> Result<OffsetRange, LogError> {
        let partitions = self.log.describe(topic).await?.partitions;
        let nothing = OffsetRange::new(Offset::ZERO, Offset::ZERO);
        Ok(partitions.get(&PARTITION).copied().unwrap_or(nothing))
    }

    pub(crate) fn stored_bytes(&self) -> u64 {
        self.log.stored_bytes().values().sum()
    }

    pub(crate) fn place(&self) -> String {
        format!("spool {}", self.options.folder.display())
    }
}

/// What waits in a spool that no process has open: events by topic, at most. Changes nothing.
///
/// # Errors
/// As [`EmbeddedLog::open`]; [`LogError::InUse`] when a running collector has it open.
pub async fn look(options: &SpoolOptions, clock: &Clock) -> Result<BTreeMap<String, u64>, LogError> {
    if !options.folder.is_dir() {
        return Ok(BTreeMap::new());
    }
    let log = open_folder(options, clock).await?;
    let spool = Spool { log, options: options.clone(), clock: clock.clone() };
    let mut waiting = BTreeMap::new();
    for topic in spool.log.stored_bytes().into_keys() {
        let events = spool.held(&topic).await?.offset_count();
        waiting.insert(topic, events);
    }
    Ok(waiting)
}

async fn open_folder(options: &SpoolOptions, clock: &Clock) -> Result<EmbeddedLog, LogError> {
    let (embedded, clock) = (options.embedded(), clock.clone());
    let opening = tokio::task::spawn_blocking(move || EmbeddedLog::open(embedded, clock));
    let opened = opening.await;
    opened.unwrap_or_else(|error| {
        Err(LogError::Unavailable {
            place: format!("spool {}", options.folder.display()),
            reason: format!("opening ended early: {error}"),
        })
    })
}
