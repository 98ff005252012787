//! The folder: everything that touches fjall's database, one call per step that can fail.
//!
//! fjall refuses all writes once a write or a background flush has failed. A full disk does that, so
//! the writer then drops its [`Store`] and opens the folder again, which keeps exactly what is whole.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use event::{Clock, LogId, Offset, OffsetRange, PartitionId};
use fjall::config::FilterPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::journal::cut_torn_tail;
use super::stored_batch::{BatchError, BatchKey, StoredBatch};
use super::stored_topic::{FOLDER_KEY, RecordError, TOPIC_PREFIX, TopicRecord, decode_folder, encode_folder};
use super::topic::{Segment, Topic};
use crate::LogError;

const META: &str = "meta";
const SEGMENT_PREFIX: &str = "segment-";
/// Memory of the segment that is written to; a few more wait to be flushed.
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;
/// So many tables of a segment stand beside each other before fjall would merge them. A full segment
/// has about `segment_bytes / MEMTABLE_BYTES`: they are never merged, only deleted.
const TABLES_BESIDE_MAX: u8 = 16;
const JOURNAL_BYTES_MAX: u64 = 128 * 1024 * 1024;
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
const OPEN_FILES_MAX: usize = 128;
const FLUSH_THREADS: usize = 2;
/// At four sealed memtables fjall would wait within a write, without end if its threads have died.
const SEALED_MEMTABLES_MAX: usize = 2;
const STALL_PAUSE: Duration = Duration::from_millis(5);

/// An open folder. Only one in any process can be open.
pub struct Store {
    place: String,
    database: Database,
    meta: Keyspace,
}

/// What was found in a folder.
pub struct Opened {
    /// The folder.
    pub store: Store,
    /// Its identity.
    pub folder_id: String,
    /// Its topics by name.
    pub topics: BTreeMap<String, Topic>,
}

/// Why a group of batches is not durable.
#[derive(Debug)]
pub enum WriteError {
    /// Nothing was tried.
    Refused(LogError),
    /// It was not written whole. Opening the folder again makes it usable.
    NotWritten(LogError),
    /// It was written, but whether it is on disk nobody can know: after a failed fsync the kernel
    /// may forget what it could not write (Rebello et al., USENIX ATC 2020).
    NotSynced(LogError),
}

impl WriteError {
    fn into_error(self) -> LogError {
        match self {
            Self::Refused(error) | Self::NotWritten(error) | Self::NotSynced(error) => error,
        }
    }
}

impl Store {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process has it open, [`LogError::Settings`] when its rights are wrong,
    /// [`LogError::Damaged`] when what is stored there contradicts itself.
    pub fn open(folder: &Path, clock: &Clock) -> Result<Opened, LogError> {
        let place = folder.display().to_string();
        fs::create_dir_all(folder).map_err(|error| opening_failed(&place, &error.into()))?;
        let database = open_database(folder).map_err(|error| opening_failed(&place, &error))?;
        let meta = database
            .keyspace(META, KeyspaceCreateOptions::default)
            .map_err(|error| opening_failed(&place, &error))?;
        let store = Self { place, database, meta };
        let folder_id = store.identity(clock)?;
        let topics = store.load_topics(&folder_id)?;
        Ok(Opened { store, folder_id, topics })
    }

    fn identity(&self, clock: &Clock) -> Result<String, LogError> {
        if let Some(stored) = self.meta.get(FOLDER_KEY).map_err(|error| self.failed(&error))? {
            return decode_folder(&stored).map_err(|error| self.bad_record(error));
        }
        let id = clock.new_id();
        self.put_meta(FOLDER_KEY, &encode_folder(&id)).map_err(WriteError::into_error)?;
        Ok(id)
    }

    fn load_topics(&self, folder_id: &str) -> Result<BTreeMap<String, Topic>, LogError> {
        let mut segments = self.load_keyspaces();
        let mut topics = BTreeMap::new();
        for entry in self.meta.prefix(TOPIC_PREFIX) {
            let (key, value) = entry.into_inner().map_err(|error| self.failed(&error))?;
            let name = String::from_utf8_lossy(&key[TOPIC_PREFIX.len()..]).into_owned();
            let record = TopicRecord::decode(&value).map_err(|error| self.bad_record(error))?;
            let keyspaces = segments.remove(&record.number).unwrap_or_default();
            let topic = self.load_topic(folder_id, name, &record, keyspaces)?;
            topics.insert(topic.name.clone(), topic);
        }
        Ok(topics)
    }

    /// Segment keyspaces by topic number and segment number.
    fn load_keyspaces(&self) -> BTreeMap<u32, BTreeMap<u64, String>> {
        let mut found: BTreeMap<u32, BTreeMap<u64, String>> = BTreeMap::new();
        for name in self.database.list_keyspace_names() {
            if let Some((topic, segment)) = parse_segment_name(&name) {
                found.entry(topic).or_default().insert(segment, name.to_string());
            }
        }
        found
    }

    fn load_topic(
        &self,
        folder_id: &str,
        name: String,
        record: &TopicRecord,
        keyspaces: BTreeMap<u64, String>,
    ) -> Result<Topic, LogError> {
        let partitions = record.firsts.iter().map(|first| OffsetRange::new(*first, *first)).collect();
        let id = LogId::new(format!("embedded:{folder_id}:{name}"));
        let mut topic = Topic { name, id, number: record.number, partitions, segments: Vec::new() };
        let last = keyspaces.keys().last().copied();
        for (number, keyspace) in keyspaces {
            let segment = self.load_segment(&topic, number, &keyspace)?;
            if Some(number) != last && segment.ends_within(&record.firsts) {
                // A crash came between noting that it may go and deleting it.
                self.drop_segment(segment)?;
            } else {
                self.attach(&mut topic, segment)?;
            }
        }
        if topic.segments.is_empty() {
            topic.segments.push(self.new_segment(&topic, 0)?);
        }
        Ok(topic)
    }

    fn load_segment(&self, topic: &Topic, number: u64, keyspace: &str) -> Result<Segment, LogError> {
        let keyspace = self.segment_keyspace(keyspace)?;
        let mut segment = Segment { number, keyspace, spans: vec![None; topic.partitions.len()], bytes: 0 };
        for index in 0..topic.partitions.len() {
            let partition = PartitionId(u32::try_from(index).expect("partitions are numbered with 32 bits"));
            if let Some((span, bytes)) = self.load_span(topic, &segment, partition)? {
                segment.spans[index] = Some(span);
                segment.bytes = segment.bytes.max(bytes);
            }
        }
        Ok(segment)
    }

    /// Offsets of `partition` in the segment, and the segment's bytes up to its last batch.
    fn load_span(
        &self,
        topic: &Topic,
        segment: &Segment,
        partition: PartitionId,
    ) -> Result<Option<(OffsetRange, u64)>, LogError> {
        let first = BatchKey { partition, first: Offset::ZERO }.to_bytes();
        let last = BatchKey { partition, first: Offset(u64::MAX) }.to_bytes();
        let mut entries = segment.keyspace.range(first..=last);
        let Some(oldest) = entries.next() else { return Ok(None) };
        let oldest = oldest.into_inner().map_err(|error| self.failed(&error))?;
        let newest = match entries.next_back() {
            Some(newest) => newest.into_inner().map_err(|error| self.failed(&error))?,
            None => oldest.clone(),
        };
        let decode = |(key, value): &(fjall::UserKey, fjall::UserValue)| {
            StoredBatch::decode(&topic.name, key, value)
                .map(|batch| (batch.range(), batch.header.segment_bytes_before + value.len() as u64))
                .map_err(|error| bad_batch(&self.place, topic, partition, None, error))
        };
        let ((start, _), (end, bytes)) = (decode(&oldest)?, decode(&newest)?);
        Ok(Some((OffsetRange::new(start.start(), end.end()), bytes)))
    }

    fn attach(&self, topic: &mut Topic, segment: Segment) -> Result<(), LogError> {
        for (retained, span) in topic.partitions.iter_mut().zip(&segment.spans) {
            let Some(span) = span else { continue };
            if span.start() != retained.end() {
                return Err(self.damaged(format!(
                    "topic {:?} segment {} begins at offset {} where {} was expected",
                    topic.name,
                    segment.number,
                    span.start(),
                    retained.end()
                )));
            }
            *retained = OffsetRange::new(retained.start(), span.end());
        }
        topic.segments.push(segment);
        Ok(())
    }

    /// Makes a topic, durable when this returns.
    ///
    /// # Errors
    /// What the disk says.
    pub fn create_topic(
        &self,
        folder_id: &str,
        name: &str,
        number: u32,
        partition_count: u32,
    ) -> Result<Topic, WriteError> {
        let firsts = vec![Offset::ZERO; partition_count as usize];
        let record = TopicRecord { number, firsts };
        let topic = self
            .load_topic(folder_id, name.to_owned(), &record, BTreeMap::new())
            .map_err(WriteError::NotWritten)?;
        self.put_topic(name, &record)?;
        Ok(topic)
    }

    /// Stores a topic's record, durable when this returns.
    ///
    /// # Errors
    /// What the disk says.
    pub fn put_topic(&self, name: &str, record: &TopicRecord) -> Result<(), WriteError> {
        self.put_meta(format!("{TOPIC_PREFIX}{name}").as_bytes(), &record.encode())
    }

    fn put_meta(&self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        let mut batch = self.database.batch();
        batch.insert(&self.meta, key, value);
        self.commit(batch)
    }

    /// Makes an empty segment, durable when this returns.
    ///
    /// # Errors
    /// What the disk says.
    pub fn new_segment(&self, topic: &Topic, number: u64) -> Result<Segment, LogError> {
        let keyspace = self.segment_keyspace(&segment_name(topic.number, number))?;
        Ok(Segment { number, keyspace, spans: vec![None; topic.partitions.len()], bytes: 0 })
    }

    fn segment_keyspace(&self, name: &str) -> Result<Keyspace, LogError> {
        let options = || {
            let merging = fjall::compaction::Leveled::default().with_l0_threshold(TABLES_BESIDE_MAX);
            KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .max_memtable_size(MEMTABLE_BYTES)
                .filter_policy(FilterPolicy::disabled())
                .compaction_strategy(std::sync::Arc::new(merging))
        };
        let keyspace = self.database.keyspace(name, options).map_err(|error| self.failed(&error))?;
        // fjall syncs the new folder, not the entry that names it.
        let parent = keyspace.path().parent().expect("a keyspace lies in the database's folder");
        fs::File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|error| self.failed(&error.into()))?;
        Ok(keyspace)
    }

    /// Writes the rest of a segment's memory to its files, in the background.
    ///
    /// # Errors
    /// What the disk says.
    pub fn seal(&self, segment: &Segment) -> Result<(), LogError> {
        segment.keyspace.rotate_memtable().map(drop).map_err(|error| self.failed(&error))
    }

    /// Deletes a segment's files as soon as nobody reads them.
    ///
    /// # Errors
    /// What the disk says.
    pub fn drop_segment(&self, segment: Segment) -> Result<(), LogError> {
        self.database.delete_keyspace(segment.keyspace).map_err(|error| self.failed(&error))
    }

    /// Writes entries as one atomic batch and syncs it: durable when this returns.
    ///
    /// # Errors
    /// [`WriteError`] says whether it is certain that nothing was taken.
    pub fn write<'a>(
        &self,
        entries: impl Iterator<Item = (&'a Segment, BatchKey, &'a [u8])>,
    ) -> Result<(), WriteError> {
        let mut batch = self.database.batch();
        for (segment, key, value) in entries {
            self.wait_for_flush(segment).map_err(WriteError::NotWritten)?;
            batch.insert(&segment.keyspace, key.to_bytes(), value);
        }
        self.commit(batch)
    }

    fn commit(&self, batch: fjall::OwnedWriteBatch) -> Result<(), WriteError> {
        let not_written = |error| WriteError::NotWritten(self.failed(&error));
        batch.commit().map_err(not_written)?;
        self.database.persist(PersistMode::Buffer).map_err(not_written)?;
        self.database
            .persist(PersistMode::SyncAll)
            .map_err(|error| WriteError::NotSynced(self.failed(&error)))
    }

    fn wait_for_flush(&self, segment: &Segment) -> Result<(), LogError> {
        while segment.keyspace.sealed_memtable_count() > SEALED_MEMTABLES_MAX {
            // The only call that says whether the flushing threads have died.
            self.database.persist(PersistMode::Buffer).map_err(|error| self.failed(&error))?;
            thread::park_timeout(STALL_PAUSE);
        }
        Ok(())
    }

    fn failed(&self, error: &fjall::Error) -> LogError {
        failure(&self.place, error)
    }

    fn damaged(&self, reason: String) -> LogError {
        LogError::Damaged { place: self.place.clone(), reason }
    }

    fn bad_record(&self, error: RecordError) -> LogError {
        match error {
            RecordError::Version(_) => {
                LogError::Settings { place: self.place.clone(), reason: error.to_string() }
            }
            RecordError::Length => self.damaged(error.to_string()),
        }
    }
}

fn open_database(folder: &Path) -> fjall::Result<Database> {
    let open = || {
        Database::builder(folder)
            .manual_journal_persist(true)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .cache_size(CACHE_BYTES)
            .max_cached_files(Some(OPEN_FILES_MAX))
            .worker_threads(FLUSH_THREADS)
            .open()
    };
    match open() {
        Err(fjall::Error::JournalRecovery(error)) => match cut_torn_tail(folder)? {
            Some(bytes) => {
                tracing::warn!(folder = %folder.display(), bytes, "cut off a group that was never written whole");
                open()
            }
            None => Err(fjall::Error::JournalRecovery(error)),
        },
        outcome => outcome,
    }
}

fn segment_name(topic: u32, segment: u64) -> String {
    format!("{SEGMENT_PREFIX}{topic}-{segment}")
}

fn parse_segment_name(name: &str) -> Option<(u32, u64)> {
    let (topic, segment) = name.strip_prefix(SEGMENT_PREFIX)?.split_once('-')?;
    Some((topic.parse().ok()?, segment.parse().ok()?))
}

/// The error for an entry of `partition` that is not what was written there.
pub fn bad_batch(
    place: &str,
    topic: &Topic,
    partition: PartitionId,
    offset: Option<Offset>,
    error: BatchError,
) -> LogError {
    let near = offset.map(|offset| format!(" near offset {offset}")).unwrap_or_default();
    LogError::Damaged {
        place: place.to_owned(),
        reason: format!("topic {:?} partition {partition}{near}: {error}", topic.name),
    }
}

fn opening_failed(place: &str, error: &fjall::Error) -> LogError {
    let settings = |reason: String| LogError::Settings { place: place.to_owned(), reason };
    if matches!(error, fjall::Error::Locked) {
        return LogError::InUse { place: place.to_owned() };
    }
    match io_error(error).map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => settings(format!(
            "no right to write there ({error}); correct the folder's owner and mode, or `log`"
        )),
        Some(io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists) => {
            settings(format!("this is no folder ({error}); correct `log`"))
        }
        _ => failure(place, error),
    }
}

/// What a failure of fjall means to whoever called.
pub fn failure(place: &str, error: &fjall::Error) -> LogError {
    let place = place.to_owned();
    match (io_error(error), error) {
        (Some(io), _) if is_out_of_space(io) => LogError::Full {
            place,
            reason: format!("no space to write ({io}); make room, the log goes on by itself"),
        },
        (Some(io), _) => LogError::Unavailable { place, reason: io.to_string() },
        (None, fjall::Error::Poisoned) => LogError::Unavailable {
            place,
            reason: "an earlier write in the background failed; the folder is opened again".to_owned(),
        },
        (None, fjall::Error::Locked) => {
            LogError::Unavailable { place, reason: "the folder is still in use".to_owned() }
        }
        (None, fjall::Error::InvalidVersion(_)) => LogError::Settings {
            place,
            reason: "it was written by another version of the storage engine".to_owned(),
        },
        (None, error) => LogError::Damaged { place, reason: error.to_string() },
    }
}

fn is_out_of_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn io_error(error: &fjall::Error) -> Option<&io::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}
