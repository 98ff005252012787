//! An event log in memory whose moods a test decides.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use event::{Clock, LogId, Offset, OffsetRange, PartitionId, Positions, RecordsBuilder, TimestampMicros};
use eventlog::{Ahead, Consumer, EventLog, LogError, Placement, TopicDescription};

/// One topic of any name.
#[derive(Debug)]
pub struct MemoryLog {
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    partitions: Vec<Vec<Stored>>,
    /// Why every call fails now.
    failure: Option<String>,
    /// Records one read brings at most, whatever it asks for.
    read_records_max: Option<usize>,
}

type Stored = (TimestampMicros, Option<Bytes>);

impl MemoryLog {
    /// An empty log.
    pub fn new(partition_count: usize, clock: Clock) -> Self {
        let inner = Inner { partitions: vec![Vec::new(); partition_count], ..Inner::default() };
        Self { clock, inner: Mutex::new(inner) }
    }

    /// Appends one record; `None` is a tombstone.
    pub fn put(&self, partition: usize, payload: Option<&[u8]>) {
        let now = self.clock.now();
        self.put_at(partition, now, payload);
    }

    /// Appends one record that says when it was received.
    pub fn put_at(&self, partition: usize, received_at: TimestampMicros, payload: Option<&[u8]>) {
        self.lock().partitions[partition].push((received_at, payload.map(Bytes::copy_from_slice)));
    }

    /// Lets every call fail from now on, or no longer.
    #[allow(dead_code, reason = "the example never fails")]
    pub fn fail(&self, reason: Option<&str>) {
        self.lock().failure = reason.map(str::to_owned);
    }

    /// Lets every read bring so few records that nobody keeps up.
    #[allow(dead_code, reason = "the example is never slow")]
    pub fn read_at_most(&self, records: usize) {
        self.lock().read_records_max = Some(records);
    }

    /// Partitions and the offsets they end at.
    #[allow(dead_code, reason = "only the example asks")]
    pub fn ends(&self) -> Vec<(u32, u64)> {
        let inner = self.lock();
        inner
            .partitions
            .iter()
            .enumerate()
            .map(|(index, records)| (id(index).0, records.len() as u64))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn healthy(&self) -> Result<MutexGuard<'_, Inner>, LogError> {
        let inner = self.lock();
        match &inner.failure {
            Some(reason) => {
                Err(LogError::Unavailable { place: "in memory".to_owned(), reason: reason.clone() })
            }
            None => Ok(inner),
        }
    }
}

fn id(index: usize) -> PartitionId {
    PartitionId(u32::try_from(index).expect("a test has few partitions"))
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        let inner = self.healthy()?;
        let range = |records: &Vec<Stored>| OffsetRange::new(Offset::ZERO, Offset(records.len() as u64));
        let partitions =
            inner.partitions.iter().enumerate().map(|(index, records)| (id(index), range(records)));
        Ok(TopicDescription { id: LogId::new(format!("memory:{topic}")), partitions: partitions.collect() })
    }

    async fn append(&self, _topic: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        let now = self.clock.now();
        let mut inner = self.healthy()?;
        let mut places = Vec::new();
        for payload in payloads {
            let offset = Offset(inner.partitions[0].len() as u64);
            inner.partitions[0].push((now, Some(payload)));
            places.push(Placement { partition: PartitionId(0), offset });
        }
        Ok(places)
    }

    async fn read(&self, _topic: &str, from: &Positions, bytes_max: usize) -> Result<Ahead, LogError> {
        let inner = self.healthy()?;
        let mut ahead = Ahead { partitions: BTreeMap::new(), cut: false };
        let mut bytes = 0;
        for (partition, start) in from.iter() {
            let records = &inner.partitions[partition.0 as usize];
            let mut builder = RecordsBuilder::new();
            let mut end = start;
            for (received_at, payload) in records.iter().skip(start.0 as usize) {
                if bytes >= bytes_max || inner.read_records_max.is_some_and(|most| builder.len() >= most) {
                    ahead.cut = true;
                    break;
                }
                bytes += payload.as_ref().map_or(0, Bytes::len);
                builder.push(end, *received_at, payload.as_deref());
                end = end.next();
            }
            ahead.partitions.insert(partition, (OffsetRange::new(start, end), builder.finish()));
        }
        Ok(ahead)
    }

    fn consumer(&self, _topic: &str, _group: &str) -> Result<Box<dyn Consumer>, LogError> {
        Err(LogError::Unavailable { place: "in memory".to_owned(), reason: "nobody consumes it".to_owned() })
    }

    async fn landed(&self, _topic: &str, _landed: &Positions) -> Result<(), LogError> {
        Ok(())
    }
}
