//! A simulated event log: several partitions, holes in the offsets, lost acknowledgements.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use event::{
    Clock, LogId, Offset, OffsetRange, PartitionId, Positions, Records, RecordsBuilder, TimestampMicros,
};
use eventlog::{Ahead, Consumer, EventLog, LogError, Placement, TopicDescription};

use crate::clock::{WallClock, clock};
use crate::executor::{Executor, ProcessId, WORLD, is_simulated};
use crate::group::{Group, SimConsumer};
use crate::network::{Network, NoAnswer};

const PLACE: &str = "the simulated log";

/// The log itself. Clones are the same one.
#[derive(Clone)]
pub struct LogServer {
    pub(crate) executor: Executor,
    topics: Arc<Mutex<BTreeMap<String, Topic>>>,
    /// How often an append is followed, or led, by offsets that hold nothing, out of 1,000.
    holes: u32,
    clock: Clock,
}

/// One topic.
#[derive(Debug)]
pub struct Topic {
    id: LogId,
    partitions: Vec<Partition>,
    pub(crate) groups: BTreeMap<String, Group>,
}

#[derive(Debug, Default)]
struct Partition {
    entries: Vec<Entry>,
    next: u64,
}

/// One record.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place.
    pub offset: u64,
    /// When the log took it.
    pub received_at: TimestampMicros,
    /// The bytes; none for a tombstone.
    pub payload: Option<Bytes>,
}

impl fmt::Debug for LogServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogServer")
    }
}

impl LogServer {
    /// A log without topics.
    #[must_use]
    pub fn new(executor: &Executor, holes: u32) -> Self {
        let clock = clock(executor, WORLD, &WallClock::default());
        Self { executor: executor.clone(), topics: Arc::default(), holes, clock }
    }

    /// Makes a topic.
    pub fn create_topic(&self, name: &str, partition_count: u32) {
        let id = LogId::new(format!("sim:cluster:{name}"));
        let partitions = (0..partition_count).map(|_| Partition::default()).collect();
        self.topics().insert(name.to_owned(), Topic { id, partitions, groups: BTreeMap::new() });
    }

    /// The log as `process` reaches it over `network`.
    #[must_use]
    pub fn client(&self, process: ProcessId, network: &Network) -> Arc<dyn EventLog> {
        Arc::new(LogClient { server: self.clone(), process, network: network.clone() })
    }

    pub(crate) fn topics(&self) -> MutexGuard<'_, BTreeMap<String, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends each payload, all to one partition or each to any.
    ///
    /// # Errors
    /// [`LogError::TopicMissing`].
    pub fn append(&self, topic: &str, payloads: &[Option<Bytes>]) -> Result<Vec<Placement>, LogError> {
        let received_at = self.clock.now();
        let topics = &mut *self.topics();
        let topic = topics.get_mut(topic).ok_or_else(|| missing(topic))?;
        let count = topic.partitions.len() as u64;
        let (scattered, first) = self.executor.draw(|chance| (chance.is_lucky(300), chance.below(count)));
        let mut placements = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let index = if scattered { self.executor.draw(|chance| chance.below(count)) } else { first };
            let partition = PartitionId(u32::try_from(index).expect("partitions are few"));
            let offset = topic.partitions[partition.0 as usize].push(payload.clone(), received_at);
            placements.push(Placement { partition, offset });
        }
        if !payloads.is_empty() {
            self.leave_hole(&mut topic.partitions);
        }
        Ok(placements)
    }

    /// Appends a record without a value to one partition.
    ///
    /// # Errors
    /// [`LogError::TopicMissing`].
    pub fn append_tombstone(&self, topic: &str, partition: PartitionId) -> Result<(), LogError> {
        let received_at = self.clock.now();
        let topics = &mut *self.topics();
        let found = topics.get_mut(topic).and_then(|topic| topic.partitions.get_mut(partition.0 as usize));
        found.ok_or_else(|| missing(topic))?.push(None, received_at);
        Ok(())
    }

    /// Offsets without a record: markers of transactions, aborted records, what compaction removed.
    fn leave_hole(&self, partitions: &mut [Partition]) {
        let (index, width) = self.executor.draw(|chance| {
            let width = if chance.is_lucky(self.holes) { chance.within(1..6) } else { 0 };
            (chance.below(partitions.len() as u64), width)
        });
        let index = usize::try_from(index).expect("partitions are few");
        partitions[index].next += width;
    }

    /// Records of `partition` within `range`.
    #[must_use]
    pub fn entries(&self, topic: &str, partition: PartitionId, range: OffsetRange) -> Vec<Entry> {
        let topics = self.topics();
        topics.get(topic).map(|topic| topic.entries(partition, range).to_vec()).unwrap_or_default()
    }

    /// Makes a group of a topic without members.
    pub fn create_group(&self, topic: &str, name: &str, eager: bool) {
        if let Some(topic) = self.topics().get_mut(topic) {
            topic.groups.insert(name.to_owned(), Group::new(eager));
        }
    }

    /// Deals the partitions of every group out anew, or throws a member out of each.
    pub fn disturb_groups(&self, expel: bool) {
        let salt = self.executor.draw(|chance| chance.below(1 << 20));
        for group in self.topics().values_mut().flat_map(|topic| topic.groups.values_mut()) {
            if expel { group.expel_one(salt) } else { group.change(salt) }
        }
    }

    /// Where each partition ends.
    #[must_use]
    pub fn ends(&self, topic: &str) -> Positions {
        let topics = self.topics();
        topics
            .get(topic)
            .map(|topic| topic.ranges().map(|(p, range)| (p, range.end())).collect())
            .unwrap_or_default()
    }
}

impl Partition {
    fn push(&mut self, payload: Option<Bytes>, received_at: TimestampMicros) -> Offset {
        let offset = self.next;
        self.entries.push(Entry { offset, received_at, payload });
        self.next += 1;
        Offset(offset)
    }
}

impl Topic {
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (PartitionId, OffsetRange)> + '_ {
        let ends = (0_u32..).zip(&self.partitions);
        ends.map(|(p, partition)| (PartitionId(p), OffsetRange::new(Offset::ZERO, Offset(partition.next))))
    }

    pub(crate) fn end(&self, partition: PartitionId) -> Offset {
        Offset(self.partitions.get(partition.0 as usize).map_or(0, |partition| partition.next))
    }

    fn entries(&self, partition: PartitionId, range: OffsetRange) -> &[Entry] {
        let Some(partition) = self.partitions.get(partition.0 as usize) else { return &[] };
        let first = partition.entries.partition_point(|entry| entry.offset < range.start().0);
        let last = partition.entries.partition_point(|entry| entry.offset < range.end().0);
        &partition.entries[first..last]
    }

    /// The records within `range`, as a reader gets them.
    pub(crate) fn records(&self, partition: PartitionId, range: OffsetRange) -> Records {
        let mut builder = RecordsBuilder::new();
        for entry in self.entries(partition, range) {
            builder.push(Offset(entry.offset), entry.received_at, entry.payload.as_deref());
        }
        builder.finish()
    }
}

pub(crate) fn missing(topic: &str) -> LogError {
    LogError::TopicMissing { topic: topic.to_owned(), place: PLACE.to_owned() }
}

pub(crate) fn unavailable(reason: &str) -> LogError {
    LogError::Unavailable { place: PLACE.to_owned(), reason: reason.to_owned() }
}

fn no_answer(_: NoAnswer) -> LogError {
    unavailable("no answer")
}

/// The log as one process reaches it. Threads that nobody simulates are answered at once.
#[derive(Debug)]
struct LogClient {
    server: LogServer,
    process: ProcessId,
    network: Network,
}

#[async_trait]
impl EventLog for LogClient {
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        let (server, name) = (self.server.clone(), topic.to_owned());
        let read = move || {
            let topics = server.topics();
            let topic = topics.get(&name).ok_or_else(|| missing(&name))?;
            Ok(TopicDescription { id: topic.id.clone(), partitions: topic.ranges().collect() })
        };
        if !is_simulated() {
            return read();
        }
        self.network.ask(self.process, "describe the topic".to_owned(), read).await.map_err(no_answer)?
    }

    async fn append(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        let (server, name) = (self.server.clone(), topic.to_owned());
        let payloads: Vec<Option<Bytes>> = payloads.into_iter().map(Some).collect();
        if !is_simulated() {
            return server.append(&name, &payloads);
        }
        let what = format!("append {} events", payloads.len());
        // A producer sends a batch once: what arrives doubled is dropped by its sequence number.
        let is_taken = Mutex::new(false);
        let append = move || {
            let mut is_taken = is_taken.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::replace(&mut *is_taken, true) {
                return Err(unavailable("taken before"));
            }
            server.append(&name, &payloads)
        };
        self.network.send(self.process, what, append).await.map_err(no_answer)?
    }

    async fn read(&self, topic: &str, from: &Positions, bytes_max: usize) -> Result<Ahead, LogError> {
        let topics = self.server.topics();
        let topic = topics.get(topic).ok_or_else(|| missing(topic))?;
        let mut ahead = Ahead::default();
        let mut bytes = 0;
        for (partition, start) in from.iter() {
            if bytes >= bytes_max {
                ahead.cut = true;
                break;
            }
            if (partition.0 as usize) < topic.partitions.len() && start <= topic.end(partition) {
                let range = OffsetRange::new(start, topic.end(partition));
                let records = topic.records(partition, range);
                bytes += records.payload_bytes();
                ahead.partitions.insert(partition, (range, records));
            }
        }
        Ok(ahead)
    }

    fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn Consumer>, LogError> {
        if is_simulated() && self.network.is_struck(|rates| rates.lost_before) {
            return Err(unavailable("the group did not answer"));
        }
        SimConsumer::join(&self.server, &self.network, self.process, topic, group)
            .map(|consumer| Box::new(consumer) as Box<dyn Consumer>)
    }

    async fn landed(&self, _topic: &str, _landed: &Positions) -> Result<(), LogError> {
        if is_simulated() && self.network.is_struck(|rates| rates.lost_before) {
            return Err(unavailable("what has landed was not noted"));
        }
        Ok(())
    }
}
