//! The one thread that writes: whatever waits is written together and synced once.
//!
//! While one group is being synced the next one gathers, so a single client waits for one fsync and
//! thousands share one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use event::{Offset, OffsetRange, PartitionId, Positions, limits};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::shared::Shared;
use super::store::{Opened, Store, WriteError};
use super::stored_batch::{BatchHeader, BatchKey, encode};
use super::topic::{Segment, Topic};
use crate::{LogError, Placement};

/// Where an answer goes. Whoever asked may have gone away.
type Reply<T> = oneshot::Sender<Result<T, LogError>>;

/// What the writer is asked to do.
pub enum Request {
    /// Append events to one partition.
    Append(Append),
    /// Make a topic, unless it exists.
    CreateTopic {
        /// Its name.
        topic: String,
        /// How many partitions a new one gets.
        partition_count: u32,
        /// Gets the outcome.
        reply: Reply<()>,
    },
    /// Drop what has landed, as far as the retention allows.
    Landed {
        /// The topic.
        topic: String,
        /// Up to where it has landed.
        landed: Positions,
        /// Bytes that stay nevertheless.
        keep_bytes: u64,
        /// Gets the outcome.
        reply: Reply<()>,
    },
}

/// Events of one request.
pub struct Append {
    /// Their topic.
    pub topic: String,
    /// At least one.
    pub payloads: Vec<Bytes>,
    /// Gets their places, once they are durable.
    pub reply: Reply<Vec<Placement>>,
    /// Its share of the queue's bytes, given back when it is answered.
    pub _share: OwnedSemaphorePermit,
}

/// Owns the folder.
pub struct Writer {
    shared: Arc<Shared>,
    folder: PathBuf,
    folder_id: String,
    segment_bytes: u64,
    /// `None` while the folder is closed after a failure.
    store: Option<Store>,
    /// Why nothing is written any more, after a failed fsync.
    sync_failure: Option<LogError>,
    appends: u64,
}

impl Writer {
    /// The writer of an open folder.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        folder: PathBuf,
        folder_id: String,
        segment_bytes: u64,
        store: Store,
    ) -> Self {
        Self { shared, folder, folder_id, segment_bytes, store: Some(store), sync_failure: None, appends: 0 }
    }

    /// Serves requests until every sender is gone, then closes the folder.
    pub fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(request) = queue.blocking_recv() {
            let mut group = Vec::new();
            if let Some(other) = gather(request, &mut queue, &mut group) {
                self.append(group);
                self.serve(other);
            } else {
                self.append(group);
            }
            self.reopen(&mut queue);
        }
        self.shared.close("it was closed".to_owned());
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Append(append) => self.append(vec![append]),
            Request::CreateTopic { topic, partition_count, reply } => {
                let outcome = self.create_topic(&topic, partition_count);
                let _ = reply.send(self.note(outcome));
            }
            Request::Landed { topic, landed, keep_bytes, reply } => {
                let outcome = self.landed(&topic, &landed, keep_bytes);
                let _ = reply.send(self.note(outcome));
            }
        }
    }

    fn append(&mut self, group: Vec<Append>) {
        if group.is_empty() {
            return;
        }
        let outcome = self.write_group(&group);
        match self.note(outcome) {
            Ok(answers) => {
                for (append, answer) in group.into_iter().zip(answers) {
                    let _ = append.reply.send(answer);
                }
            }
            Err(error) => {
                for append in group {
                    let _ = append.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Writes a group and answers each append of it, in order.
    fn write_group(&mut self, group: &[Append]) -> Result<Vec<Result<Vec<Placement>, LogError>>, WriteError> {
        self.roll_full_segments(group)?;
        let mut plan = Plan::default();
        let answers = group.iter().map(|append| self.plan(&mut plan, append)).collect();
        let batches = plan.batches(&self.shared);
        if batches.is_empty() {
            return Ok(answers);
        }
        self.store()?
            .write(batches.iter().map(|batch| (&batch.segment, batch.key, batch.value.as_slice())))?;
        self.shared.update(|topics| {
            for batch in batches {
                if let Some(topic) = topics.get_mut(&batch.topic) {
                    Arc::make_mut(topic).extend(batch.key.partition, batch.range, batch.value.len() as u64);
                }
            }
        });
        Ok(answers)
    }

    fn plan(&mut self, plan: &mut Plan, append: &Append) -> Result<Vec<Placement>, LogError> {
        let topic = self.shared.topic(&append.topic)?;
        self.appends += 1;
        let partition_count = topic.partitions.len() as u64;
        let turn = self.appends.checked_rem(partition_count).unwrap_or(0);
        let partition =
            PartitionId(u32::try_from(turn).expect("a remainder of the partition count fits as it does"));
        Ok(plan.add(topic, partition, &append.payloads))
    }

    fn roll_full_segments(&mut self, group: &[Append]) -> Result<(), WriteError> {
        for append in group {
            let Ok(topic) = self.shared.topic(&append.topic) else { continue };
            if topic.segments.last().is_some_and(|segment| segment.bytes >= self.segment_bytes) {
                self.roll_segment(&topic)?;
            }
        }
        Ok(())
    }

    fn roll_segment(&mut self, topic: &Topic) -> Result<(), WriteError> {
        let full = topic.segments.last().expect("a topic always has a segment to write to");
        let store = self.store()?;
        let segment = store.new_segment(topic, full.number + 1).map_err(WriteError::NotWritten)?;
        store.seal(full).map_err(WriteError::NotWritten)?;
        self.shared.update(|topics| {
            if let Some(topic) = topics.get_mut(&topic.name) {
                Arc::make_mut(topic).segments.push(segment);
            }
        });
        Ok(())
    }

    fn create_topic(&mut self, name: &str, partition_count: u32) -> Result<(), WriteError> {
        let store = self.store()?;
        if self.shared.topic(name).is_ok() {
            return Ok(());
        }
        let number = {
            let state = self.shared.lock();
            let topics = state.topics.as_ref().map_or(0, BTreeMap::len);
            u32::try_from(topics).expect("topics are numbered with 32 bits")
        };
        let topic = store.create_topic(&self.folder_id, name, number, partition_count)?;
        self.shared.update(|topics| drop(topics.insert(name.to_owned(), Arc::new(topic))));
        Ok(())
    }

    fn landed(&mut self, name: &str, landed: &Positions, keep_bytes: u64) -> Result<(), WriteError> {
        let mut topic = self.shared.topic(name).map_err(WriteError::Refused)?;
        let count = topic.droppable_segments(landed, keep_bytes);
        if count == 0 {
            return Ok(());
        }
        if count == topic.segments.len() {
            self.roll_segment(&topic)?;
            topic = self.shared.topic(name).map_err(WriteError::Refused)?;
        }
        let record = topic.record_without(count);
        // First the offsets, then the files: a crash between leaves files that are dropped at the next start.
        self.store()?.put_topic(name, &record)?;
        drop(topic);
        let mut dropped = Vec::new();
        self.shared.update(|topics| {
            if let Some(topic) = topics.get_mut(name) {
                dropped = Arc::make_mut(topic).drop_segments(count, &record.firsts);
            }
        });
        let store = self.store()?;
        dropped
            .into_iter()
            .try_for_each(|segment| store.drop_segment(segment).map_err(WriteError::NotWritten))
    }

    fn store(&self) -> Result<&Store, WriteError> {
        match (&self.sync_failure, &self.store) {
            (Some(failure), _) => Err(WriteError::Refused(failure.clone())),
            (None, None) => {
                Err(WriteError::Refused(self.shared.unavailable("it is being opened again".to_owned())))
            }
            (None, Some(store)) => Ok(store),
        }
    }

    /// Does what a failure asks for, and leaves what the caller is told.
    fn note<T>(&mut self, outcome: Result<T, WriteError>) -> Result<T, LogError> {
        outcome.map_err(|failure| match failure {
            WriteError::Refused(error) => error,
            WriteError::NotWritten(error) => {
                tracing::warn!(folder = %self.shared.place, %error, "write failed, opening the event log again");
                self.shared.close(error.to_string());
                self.store = None;
                error
            }
            WriteError::NotSynced(error) => {
                tracing::error!(folder = %self.shared.place, %error, "the disk did not sync, no more writes");
                let reason = format!(
                    "the disk failed to sync ({error}), so nothing more is written; check the disk, then restart"
                );
                self.sync_failure.insert(self.shared.unavailable(reason)).clone()
            }
        })
    }

    /// After a failure: opens the folder again, however long it takes, refusing requests meanwhile.
    fn reopen(&mut self, queue: &mut mpsc::Receiver<Request>) {
        while self.store.is_none() {
            match Store::open(&self.folder, &self.shared.clock) {
                Ok(Opened { store, topics, .. }) => {
                    tracing::info!(folder = %self.shared.place, "event log open again");
                    self.store = Some(store);
                    self.shared.reopen(topics);
                }
                Err(error) => {
                    self.shared.close(error.to_string());
                    if self.refuse_waiting(queue, &error) == TryRecvError::Disconnected {
                        return;
                    }
                    thread::park_timeout(limits::RETRY_PAUSE_MIN);
                }
            }
        }
    }

    fn refuse_waiting(&self, queue: &mut mpsc::Receiver<Request>, error: &LogError) -> TryRecvError {
        loop {
            match queue.try_recv() {
                Ok(Request::Append(append)) => drop(append.reply.send(Err(error.clone()))),
                Ok(Request::CreateTopic { reply, .. } | Request::Landed { reply, .. }) => {
                    drop(reply.send(Err(error.clone())));
                }
                Err(why) => return why,
            }
        }
    }
}

/// Takes `request` and what waits behind it into `group`, up to a limit or the first request of
/// another kind, which is returned.
fn gather(request: Request, queue: &mut mpsc::Receiver<Request>, group: &mut Vec<Append>) -> Option<Request> {
    let mut bytes = 0;
    let mut request = request;
    loop {
        match request {
            Request::Append(append) => {
                bytes += append.payloads.iter().map(Bytes::len).sum::<usize>();
                group.push(append);
            }
            other => return Some(other),
        }
        if bytes >= limits::EMBEDDED_GROUP_BYTES_MAX {
            return None;
        }
        request = queue.try_recv().ok()?;
    }
}

/// What a group adds to each partition.
#[derive(Default)]
struct Plan(BTreeMap<(String, PartitionId), Addition>);

struct Addition {
    topic: Arc<Topic>,
    first: Offset,
    payloads: Vec<Bytes>,
}

/// One entry to be stored.
struct Batch {
    topic: String,
    segment: Segment,
    key: BatchKey,
    range: OffsetRange,
    value: Vec<u8>,
}

impl Plan {
    fn add(&mut self, topic: Arc<Topic>, partition: PartitionId, payloads: &[Bytes]) -> Vec<Placement> {
        let first = topic.retained(partition).end();
        let addition = self.0.entry((topic.name.clone(), partition)).or_insert_with(|| Addition {
            topic,
            first,
            payloads: Vec::new(),
        });
        let start = addition.first.0 + addition.payloads.len() as u64;
        addition.payloads.extend_from_slice(payloads);
        (start..).zip(payloads).map(|(offset, _)| Placement { partition, offset: Offset(offset) }).collect()
    }

    fn batches(&self, shared: &Shared) -> Vec<Batch> {
        let received_at = shared.clock.now();
        let mut segment_bytes: BTreeMap<&str, u64> = BTreeMap::new();
        let mut batches = Vec::new();
        for ((name, partition), addition) in &self.0 {
            let segment = addition.topic.segments.last().expect("a topic always has a segment to write to");
            let before = segment_bytes.entry(name).or_insert(segment.bytes);
            let mut first = addition.first;
            for payloads in cut(&addition.payloads) {
                let key = BatchKey { partition: *partition, first };
                let header = BatchHeader { segment_bytes_before: *before, received_at };
                let value = encode(name, key, header, payloads);
                *before += value.len() as u64;
                let range = OffsetRange::new(first, Offset(first.0 + payloads.len() as u64));
                first = range.end();
                batches.push(Batch { topic: name.clone(), segment: segment.clone(), key, range, value });
            }
        }
        batches
    }
}

/// Cuts payloads into stretches of about the size of a batch, so that reading a few events does not
/// mean reading a whole large request.
fn cut(mut payloads: &[Bytes]) -> impl Iterator<Item = &[Bytes]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |payload: &&Bytes| {
            bytes += payload.len();
            bytes <= limits::EMBEDDED_BATCH_BYTES_MAX
        };
        let count = payloads.iter().take_while(fits).count().max(1).min(payloads.len());
        let (stretch, rest) = payloads.split_at(count);
        payloads = rest;
        (!stretch.is_empty()).then_some(stretch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_append_is_cut_and_nothing_of_it_is_lost() {
        let quarter = Bytes::from(vec![b'x'; limits::EMBEDDED_BATCH_BYTES_MAX / 4]);
        let huge = Bytes::from(vec![b'y'; limits::EMBEDDED_BATCH_BYTES_MAX * 2]);
        let mut payloads = vec![quarter; 9];
        payloads.insert(5, huge);
        let counts: Vec<usize> = cut(&payloads).map(<[Bytes]>::len).collect();
        assert_eq!(counts, [4, 1, 1, 4]);
        assert_eq!(cut(&[]).count(), 0);
    }
}
