//! Stage 7: dead letters first, then rows and positions, each in one commit.
//!
//! The dead-letter table has a chain of its own that only moves when there is something to keep.
//! It is committed before the rows of the same ranges, so at any moment every dead letter below
//! the main table's position is in it. After a crash between the two, reading begins at the main
//! table's position, and what the dead chain has already is left out. Whether a record is a row or
//! a dead letter depends on its bytes alone, so both chains cut at the same records for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use event::{Clock, LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions, StreamName, limits};
use eventlog::EventLog;
use parquet::errors::ParquetError;
use table::{Commit, CommitOutcome, Table, TableError, TableState};

use crate::LoadError;
use crate::batch::{BatchLabel, Counts};
use crate::encode::Encoder;
use crate::options::StartPolicy;
use crate::run::Reporter;
use crate::standing::Standing;
use crate::upload::StoredBatch;

/// A batch that is in the table.
#[derive(Debug)]
pub struct Committed {
    pub(crate) label: BatchLabel,
    pub(crate) state: TableState,
    pub(crate) total: Counts,
    pub(crate) conflicts_count: u64,
}

/// A batch that is not in the table and will not be.
#[derive(Debug)]
pub struct Fenced {
    pub(crate) label: BatchLabel,
    pub(crate) state: TableState,
    pub(crate) reason: String,
}

/// Everything a commit needs.
#[derive(Debug)]
pub struct Committer {
    pub(crate) stream: StreamName,
    pub(crate) topic: String,
    pub(crate) log_id: LogId,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) main: Arc<dyn Table>,
    pub(crate) dead: Arc<dyn Table>,
    pub(crate) start: StartPolicy,
    pub(crate) clock: Clock,
    pub(crate) patience: Patience,
    /// Batches of this epoch or an earlier one are dropped: the worker has gone back.
    pub(crate) fenced_epoch: Option<u64>,
}

impl Committer {
    /// Commits the batch: `Ok(Ok)` it is in, `Ok(Err)` it never will be.
    pub(crate) async fn commit(
        &mut self,
        batch: StoredBatch,
    ) -> Result<Result<Committed, Fenced>, LoadError> {
        if self.fenced_epoch.is_some_and(|fenced| batch.label.epoch <= fenced) {
            let state = self.state().await?;
            let reason = "a batch before it was fenced".to_owned();
            return Ok(Err(Fenced { label: batch.label, state, reason }));
        }
        self.check_log().await?;
        if !batch.dead.is_empty() {
            self.land_dead_letters(&batch).await?;
        }
        let StoredBatch { label, ranges, schema, files, dead: _, total, conflicts_count } = batch;
        let commit = Commit {
            batch_id: label.id.clone(),
            log: self.log_id.clone(),
            ranges,
            files,
            schema,
            row_count: total.rows,
            dead_count: total.dead,
            skipped_count: total.skipped,
            gap: false,
        };
        let begun = self.clock.monotonic();
        let outcome = self.patience.insist("commit", || self.main.commit(&commit)).await?;
        self.patience.reporter.took("commit", self.clock.monotonic().saturating_sub(begun));
        match outcome {
            CommitOutcome::Landed(state) => {
                self.note_landed(&state).await;
                Ok(Ok(Committed { label, state, total, conflicts_count }))
            }
            CommitOutcome::Fenced { state, reason, .. } => {
                self.fenced_epoch = Some(label.epoch);
                Ok(Err(Fenced { label, state, reason }))
            }
        }
    }

    /// Where `partitions` go on; ones no table knows begin by the start policy, written down first.
    pub(crate) async fn positions(
        &self,
        partitions: &[PartitionId],
    ) -> Result<(TableState, Positions), LoadError> {
        let mut state = self.state().await?;
        let unknown: Vec<PartitionId> =
            partitions.iter().copied().filter(|p| state.positions.get(*p).is_none()).collect();
        if !unknown.is_empty() {
            let starts = self.starts(&unknown, state.positions.is_empty()).await?;
            // Dead letters first: whoever finds a main position finds a dead one.
            self.patience.insist("begin", || self.dead.begin(&self.log_id, &starts)).await?;
            state = self.patience.insist("begin", || self.main.begin(&self.log_id, &starts)).await?;
        }
        let at = state.positions.of(partitions);
        self.check_standing(&state, &at).await?;
        Ok((state, at))
    }

    async fn check_standing(&self, state: &TableState, at: &Positions) -> Result<(), LoadError> {
        let ours = TableState { positions: at.clone(), ..state.clone() };
        let ask = || Standing::ask(&ours, &self.log_id, &*self.log, &self.topic);
        let standing = self.patience.insist_log("describe", ask).await?;
        standing.checked(&self.stream, &self.topic, self.main.name(), &self.log_id)
    }

    /// Everything in the batch was read before this question. If the topic is still the log of the table's
    /// positions now, it was so then: an identity never comes back. A reader that goes by the topic's name
    /// could have gone on in a topic made anew (librdkafka 3255).
    async fn check_log(&self) -> Result<(), LoadError> {
        let ask = || self.log.identity(&self.topic);
        let id = self.patience.insist_log("identify", ask).await?;
        let other_log = (id != self.log_id).then_some(id);
        let standing = Standing { other_log, ..Standing::default() };
        standing.checked(&self.stream, &self.topic, self.main.name(), &self.log_id)
    }

    async fn starts(&self, partitions: &[PartitionId], new_table: bool) -> Result<Positions, LoadError> {
        let described = self.patience.insist_log("describe", || self.log.describe(&self.topic)).await?;
        let start = |p: &PartitionId| {
            let retained = described.partitions.get(p)?;
            let latest = new_table && self.start == StartPolicy::Latest;
            Some((*p, if latest { retained.end() } else { retained.start() }))
        };
        Ok(partitions.iter().filter_map(start).collect())
    }

    /// The main table as it is now.
    pub(crate) async fn state(&self) -> Result<TableState, LoadError> {
        loaded(&*self.main, self.patience.insist("load", || self.main.load(&self.log_id)).await?)
    }

    pub(crate) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    pub(crate) fn stage_lost(&self, stage: &'static str) -> LoadError {
        LoadError::StageLost { stream: self.stream.to_string(), stage }
    }

    async fn note_landed(&self, state: &TableState) {
        if let Err(error) = self.log.landed(&self.topic, &state.positions).await {
            tracing::warn!(stream = %self.stream, %error, "the log could not note what has landed; it keeps more than it must");
        }
    }

    async fn land_dead_letters(&self, batch: &StoredBatch) -> Result<(), LoadError> {
        // Each round either lands the rest or finds the chain further on; it is never further
        // than the batch, so a few rounds are enough even with other loaders on the topic.
        for _ in 0..limits::COMMIT_ATTEMPTS_MAX {
            let state =
                loaded(&*self.dead, self.patience.insist("load", || self.dead.load(&self.log_id)).await?)?;
            let Some(commit) = self.dead_commit(batch, &state).await? else { return Ok(()) };
            match self.patience.insist("commit", || self.dead.commit(&commit)).await? {
                CommitOutcome::Landed(_) => return Ok(()),
                CommitOutcome::Fenced { reason, .. } => {
                    tracing::info!(stream = %self.stream, reason, "dead letters met another loader's");
                }
            }
        }
        Err(TableError::Unavailable {
            place: self.dead.name().to_owned(),
            reason: "other loaders commit faster than this one; it will try again".to_owned(),
        }
        .into())
    }

    /// The commit of those dead letters that the chain does not have; `None` when it has all.
    async fn dead_commit(
        &self,
        batch: &StoredBatch,
        state: &TableState,
    ) -> Result<Option<Commit>, LoadError> {
        let missing = missing_letters(batch, &state.positions);
        if missing.is_empty() {
            return Ok(None);
        }
        let ranges: OffsetRanges = missing.iter().map(|(p, (range, _))| (*p, *range)).collect();
        let counts: BTreeMap<PartitionId, Counts> = missing
            .iter()
            .map(|(p, (_, rows))| (*p, Counts { rows: rows.num_rows() as u64, ..Counts::default() }))
            .collect();
        let row_count = counts.values().map(|one| one.rows).sum();
        let batch_id = self.clock.new_id();
        let rows: Vec<_> = missing.into_iter().map(|(p, (_, rows))| (p, rows)).collect();
        let encoder = Encoder { batch_id: &batch_id, log: &self.log_id, layout: self.dead.layout() };
        let schema = ::decode::columns::dead_letter_schema();
        let encoded = encoder
            .encode_rows(&rows, &schema, &ranges, &counts)
            .map_err(|error| encode_error(&self.stream, &error))?;
        let mut files = Vec::with_capacity(encoded.len());
        for file in encoded {
            files.push(self.patience.insist("upload", || self.dead.store(file.clone())).await?);
        }
        let log = self.log_id.clone();
        let (dead_count, skipped_count, gap) = (0, 0, false);
        Ok(Some(Commit { batch_id, log, ranges, files, schema, row_count, dead_count, skipped_count, gap }))
    }
}

/// Per partition the dead letters at or behind the chain's position, and the range they settle.
fn missing_letters(
    batch: &StoredBatch,
    positions: &Positions,
) -> BTreeMap<PartitionId, (OffsetRange, RecordBatch)> {
    let mut missing: BTreeMap<PartitionId, (OffsetRange, RecordBatch)> = BTreeMap::new();
    for (partition, letters) in &batch.dead {
        let (Some(covered), Some(next)) = (batch.ranges.get(*partition), positions.get(*partition)) else {
            continue;
        };
        if covered.end() <= next {
            continue;
        }
        let letters = letters_from(letters, next);
        if letters.num_rows() == 0 {
            continue;
        }
        let range = OffsetRange::new(next, covered.end());
        missing
            .entry(*partition)
            .and_modify(|(_, have)| *have = joined(have, &letters))
            .or_insert((range, letters));
    }
    missing
}

fn letters_from(letters: &RecordBatch, next: Offset) -> RecordBatch {
    let offsets = letters
        .column_by_name(::decode::columns::OFFSET)
        .expect("dead letters have the columns of dead_letter_schema")
        .as_primitive::<Int64Type>();
    let first = offsets.values().partition_point(|offset| u64::try_from(*offset).unwrap_or(0) < next.0);
    letters.slice(first, letters.num_rows() - first)
}

fn joined(a: &RecordBatch, b: &RecordBatch) -> RecordBatch {
    arrow_select::concat::concat_batches(&a.schema(), [a, b]).expect("both have the dead-letter schema")
}

fn loaded(table: &dyn Table, state: Option<TableState>) -> Result<TableState, LoadError> {
    state.ok_or_else(|| {
        LoadError::Table(TableError::Data {
            table: table.name().to_owned(),
            place: table.name().to_owned(),
            reason: "the table vanished while it was loaded into; if it was deleted on purpose, restart"
                .to_owned(),
        })
    })
}

/// Turns an encoder's failure into a loader's error.
pub(crate) fn encode_error(stream: &StreamName, error: &ParquetError) -> LoadError {
    LoadError::Encode { stream: stream.to_string(), reason: error.to_string() }
}

/// Repeats what fails in a way that may pass, with growing pauses, until it works or fails for good.
#[derive(Debug, Clone)]
pub struct Patience {
    clock: Clock,
    reporter: Reporter,
}

impl Patience {
    pub(crate) fn new(clock: Clock, reporter: Reporter) -> Self {
        Self { clock, reporter }
    }

    /// Repeats a table operation.
    pub(crate) async fn insist<T, F: Future<Output = Result<T, TableError>>>(
        &self,
        what: &'static str,
        attempt: impl Fn() -> F,
    ) -> Result<T, LoadError> {
        self.repeat(what, || async { attempt().await.map_err(LoadError::from) }).await
    }

    /// Repeats a log operation.
    pub(crate) async fn insist_log<T, F: Future<Output = Result<T, eventlog::LogError>>>(
        &self,
        what: &'static str,
        attempt: impl Fn() -> F,
    ) -> Result<T, LoadError> {
        self.repeat(what, || async { attempt().await.map_err(LoadError::from) }).await
    }

    async fn repeat<T, F: Future<Output = Result<T, LoadError>>>(
        &self,
        what: &'static str,
        attempt: impl Fn() -> F,
    ) -> Result<T, LoadError> {
        let mut pause = limits::RETRY_PAUSE_MIN;
        loop {
            match attempt().await {
                Err(error) if error.may_pass() => {
                    self.reporter.retrying(what, &error);
                    let jitter = self.clock.random_below(u64::try_from(pause.as_millis()).unwrap_or(0) / 2);
                    self.clock.sleep(pause + std::time::Duration::from_millis(jitter)).await;
                    pause = (pause * 2).min(limits::RETRY_PAUSE_MAX);
                }
                done => {
                    self.reporter.works_again();
                    return done;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use ::decode::{DecodeOptions, columns};
    use arrow_schema::SchemaRef;
    use async_trait::async_trait;
    use bytes::Bytes;
    use eventlog::{Ahead, Consumer, LogError, Placement, TopicDescription};
    use table::{EncodedFile, Layout, Snapshot, StoredFile};

    use super::*;

    fn state() -> TableState {
        TableState {
            version: 1,
            schema: columns::initial_schema(&DecodeOptions::default()),
            positions: Positions::new(),
            other_logs: Vec::new(),
        }
    }

    /// Refuses its first commit and takes all others.
    #[derive(Debug, Default)]
    struct FencesOnce {
        commits: AtomicU64,
    }

    #[async_trait]
    impl Table for FencesOnce {
        fn name(&self) -> &str {
            "logs"
        }

        fn layout(&self) -> Layout {
            Layout::ByLogPartition
        }

        async fn load(&self, _log: &LogId) -> Result<Option<TableState>, TableError> {
            Ok(Some(state()))
        }

        async fn create(&self, _schema: &SchemaRef, _log: &LogId) -> Result<TableState, TableError> {
            Ok(state())
        }

        async fn begin(&self, _log: &LogId, _starts: &Positions) -> Result<TableState, TableError> {
            Ok(state())
        }

        async fn store(&self, file: EncodedFile) -> Result<StoredFile, TableError> {
            panic!("no batch of these tests has a file: {file:?}")
        }

        async fn commit(&self, _commit: &Commit) -> Result<CommitOutcome, TableError> {
            Ok(match self.commits.fetch_add(1, Ordering::Relaxed) {
                0 => CommitOutcome::Fenced {
                    state: state(),
                    landed: OffsetRanges::new(),
                    reason: "a test's fence".to_owned(),
                },
                _ => CommitOutcome::Landed(state()),
            })
        }

        async fn snapshot(&self, _log: Option<&LogId>) -> Result<Option<Snapshot>, TableError> {
            Ok(None)
        }
    }

    /// A log that has its identity and nothing else.
    #[derive(Debug)]
    struct NoLog;

    fn missing<T>() -> Result<T, LogError> {
        Err(LogError::TopicMissing { topic: "logs".to_owned(), place: "nowhere".to_owned() })
    }

    #[async_trait]
    impl EventLog for NoLog {
        async fn describe(&self, _topic: &str) -> Result<TopicDescription, LogError> {
            Ok(TopicDescription { id: LogId::new("test:log:logs"), partitions: BTreeMap::new() })
        }

        async fn append(&self, _topic: &str, _payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
            missing()
        }

        async fn read(&self, _topic: &str, _from: &Positions, _bytes_max: usize) -> Result<Ahead, LogError> {
            missing()
        }

        fn consumer(&self, _topic: &str, _group: &str) -> Result<Box<dyn Consumer>, LogError> {
            missing()
        }

        async fn landed(&self, _topic: &str, _landed: &Positions) -> Result<(), LogError> {
            Ok(())
        }
    }

    fn committer(table: &Arc<FencesOnce>) -> Committer {
        let (stream, clock) = (StreamName::new("logs").unwrap(), Clock::system());
        Committer {
            topic: "logs".to_owned(),
            log_id: LogId::new("test:log:logs"),
            log: Arc::new(NoLog),
            main: Arc::clone(table) as Arc<dyn Table>,
            dead: Arc::clone(table) as Arc<dyn Table>,
            start: StartPolicy::Earliest,
            clock: clock.clone(),
            patience: Patience::new(clock, Reporter::new(stream.clone())),
            fenced_epoch: None,
            stream,
        }
    }

    fn batch(sequence: u64, epoch: u64) -> StoredBatch {
        StoredBatch {
            label: BatchLabel { id: format!("batch {sequence}"), sequence, epoch },
            ranges: OffsetRanges::new(),
            schema: state().schema,
            files: Vec::new(),
            dead: Vec::new(),
            total: Counts::default(),
            conflicts_count: 0,
        }
    }

    #[tokio::test]
    async fn a_batch_behind_a_fenced_one_is_not_committed_until_the_worker_has_gone_back() {
        let table = Arc::new(FencesOnce::default());
        let mut committer = committer(&table);
        committer.commit(batch(1, 1)).await.unwrap().unwrap_err();
        committer.commit(batch(2, 1)).await.unwrap().unwrap_err();
        assert_eq!(table.commits.load(Ordering::Relaxed), 1, "the table was not asked about the second");
        committer.commit(batch(3, 2)).await.unwrap().unwrap();
    }
}
