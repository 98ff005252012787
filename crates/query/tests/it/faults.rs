//! Logs and tables that misbehave on purpose.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use event::{Clock, LogId, Offset, OffsetRange, PartitionId, Positions, RecordsBuilder, TimestampMicros};
use eventlog::{Ahead, Consumer, EventLog, LogError, Placement, TopicDescription};
use futures::StreamExt;
use futures::future::join_all;
use object_store::memory::InMemory;
use query::{LogPart, QueryEngine, QueryErrorKind, QueryOptions, QuerySource};
use table::{
    Commit, CommitOutcome, EncodedFile, Layout, Snapshot, StoredFile, Table, TableError, TableState,
};
use tokio::sync::Semaphore;

use crate::support::{decode_options, refusal, rows};

const P0: PartitionId = PartitionId(0);

/// A table whose successive versions are written down beforehand; the last one stays.
#[derive(Debug)]
struct Scripted {
    positions: Vec<Option<u64>>,
    calls: AtomicUsize,
}

impl Scripted {
    fn new(positions: &[Option<u64>]) -> Arc<Self> {
        Arc::new(Self { positions: positions.to_vec(), calls: AtomicUsize::new(0) })
    }
}

const READ_ONLY: &str = "a query only takes snapshots";

#[async_trait]
impl Table for Scripted {
    fn name(&self) -> &str {
        "logs"
    }

    fn layout(&self) -> Layout {
        Layout::ByLogPartition
    }

    async fn load(&self, _: &LogId) -> Result<Option<TableState>, TableError> {
        unreachable!("{READ_ONLY}")
    }

    async fn create(&self, _: &SchemaRef, _: &LogId) -> Result<TableState, TableError> {
        unreachable!("{READ_ONLY}")
    }

    async fn begin(&self, _: &LogId, _: &Positions) -> Result<TableState, TableError> {
        unreachable!("{READ_ONLY}")
    }

    async fn store(&self, _: EncodedFile) -> Result<StoredFile, TableError> {
        unreachable!("{READ_ONLY}")
    }

    async fn commit(&self, _: &Commit) -> Result<CommitOutcome, TableError> {
        unreachable!("{READ_ONLY}")
    }

    async fn snapshot(&self, log: Option<&LogId>) -> Result<Option<Snapshot>, TableError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let Some(next) = self.positions.get(call).or(self.positions.last()) else {
            return Err(TableError::Unavailable { place: "s3://lake".into(), reason: "no answer".into() });
        };
        let positions = next.filter(|_| log.is_some()).map(|next| (P0, Offset(next)));
        Ok(next.map(|next| Snapshot {
            version: next,
            committed_at: None,
            schema: decode::columns::initial_schema(&decode_options()),
            positions: positions.into_iter().collect(),
            layout: Layout::ByLogPartition,
            files: Vec::new(),
        }))
    }
}

/// A log of one partition with the events `{"n": offset}` of a range, that can be told to fail.
#[derive(Debug)]
struct FakeLog {
    retained: OffsetRange,
    is_down: AtomicBool,
    gate: Semaphore,
}

impl FakeLog {
    fn new(start: u64, end: u64) -> Arc<Self> {
        Arc::new(Self {
            retained: OffsetRange::new(Offset(start), Offset(end)),
            is_down: AtomicBool::new(false),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }
}

#[async_trait]
impl EventLog for FakeLog {
    async fn describe(&self, _: &str) -> Result<TopicDescription, LogError> {
        let _passed = self.gate.acquire().await;
        if self.is_down.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable {
                place: "kafka://k:9092".into(),
                reason: "no broker answers".into(),
            });
        }
        Ok(TopicDescription {
            id: LogId::new("fake:1:logs"),
            partitions: BTreeMap::from([(P0, self.retained)]),
        })
    }

    async fn append(&self, _: &str, _: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        unreachable!("a query writes nothing")
    }

    async fn read(&self, _: &str, from: &Positions, _: usize) -> Result<Ahead, LogError> {
        let start = from.get(P0).unwrap().max(self.retained.start());
        let mut records = RecordsBuilder::new();
        for offset in start.0..self.retained.end().0 {
            records.push(
                Offset(offset),
                TimestampMicros(0),
                Some(format!(r#"{{"n": {offset}}}"#).as_bytes()),
            );
        }
        let read = (OffsetRange::new(start, self.retained.end()), records.finish());
        Ok(Ahead { partitions: BTreeMap::from([(P0, read)]), cut: false })
    }

    fn consumer(&self, _: &str, _: &str) -> Result<Box<dyn Consumer>, LogError> {
        unreachable!("a query joins no group")
    }

    async fn landed(&self, _: &str, _: &Positions) -> Result<(), LogError> {
        unreachable!("a query lands nothing")
    }
}

fn engine_with(
    main: Arc<Scripted>,
    dead: Arc<Scripted>,
    log: Arc<FakeLog>,
    options: QueryOptions,
) -> QueryEngine {
    let source = QuerySource {
        name: "logs".into(),
        table: main,
        dead,
        store: Arc::new(InMemory::new()),
        log: Some((log, "logs".into())),
        decode: decode_options(),
    };
    QueryEngine::new(vec![source], options, Clock::system()).unwrap()
}

fn engine(main: &[Option<u64>], log: &Arc<FakeLog>) -> QueryEngine {
    engine_with(Scripted::new(main), Scripted::new(&[None]), log.clone(), QueryOptions::default())
}

#[tokio::test]
async fn a_log_trimmed_between_table_and_log_is_looked_at_again() {
    let log = FakeLog::new(5, 9);
    let engine = engine(&[Some(3), Some(6)], &log);
    let answer = engine.run("SELECT n FROM logs").await.unwrap();
    assert_eq!(answer.freshness[0].version, Some(6));
    assert_eq!(answer.freshness[0].log, LogPart::Read { rows: 3, cut: false });
    assert_eq!(rows(&engine, "SELECT n FROM logs").await, "6|7|8");
}

#[tokio::test]
async fn events_the_log_dropped_before_they_landed_are_a_gap_that_is_told() {
    let log = FakeLog::new(5, 9);
    let engine = engine(&[Some(3)], &log);
    let answer = engine.run("SELECT * FROM logs").await.unwrap();
    let LogPart::Unread { reason } = &answer.freshness[0].log else { panic!("{:?}", answer.freshness) };
    assert_eq!(reason, "the log dropped offsets 3 to 5 of partition 0 before they landed");
    assert_eq!(rows(&engine, "SELECT count(*) FROM logs").await, "0");
}

#[tokio::test]
async fn a_log_that_is_down_leaves_the_table_and_says_so() {
    let log = FakeLog::new(0, 4);
    let engine = engine(&[Some(2)], &log);
    assert_eq!(rows(&engine, "SELECT n FROM logs").await, "2|3");
    log.is_down.store(true, Ordering::SeqCst);
    let answer = engine.run("SELECT count(*) FROM logs, logs__dead").await.unwrap();
    for table in &answer.freshness {
        let LogPart::Unread { reason } = &table.log else { panic!("{table:?}") };
        assert!(reason.contains("no broker answers"), "{reason}");
    }
    let text = answer.freshness[0].text(Clock::system().now());
    assert!(
        text.starts_with(
            "logs: table version 2; events not yet landed are missing: event log kafka://k:9092"
        ),
        "{text}"
    );
    log.is_down.store(false, Ordering::SeqCst);
    assert_eq!(rows(&engine, "SELECT n FROM logs").await, "2|3");
}

#[tokio::test]
async fn a_table_made_anew_behind_our_back_is_read_from_its_start() {
    let log = FakeLog::new(0, 4);
    let engine = engine(&[Some(3), None, Some(1), Some(4)], &log);
    for want in ["3", "0|1|2|3", "1|2|3", ""] {
        assert_eq!(rows(&engine, "SELECT n FROM logs").await, want);
    }
}

#[tokio::test]
async fn a_lake_that_is_down_is_a_passing_error() {
    let log = FakeLog::new(0, 4);
    let engine = engine(&[], &log);
    let error = refusal(&engine, "SELECT n FROM logs").await;
    assert_eq!(error.kind(), QueryErrorKind::Unavailable);
    assert_eq!(error.to_string(), "lake s3://lake is unavailable: no answer");
    let dead = engine_with(Scripted::new(&[None]), Scripted::new(&[]), log, QueryOptions::default());
    assert_eq!(rows(&dead, "SELECT count(*) FROM logs").await, "4");
    assert_eq!(refusal(&dead, "SELECT * FROM logs__dead").await.kind(), QueryErrorKind::Unavailable);
}

#[tokio::test]
async fn too_many_statements_are_sent_away_and_not_queued() {
    let log = FakeLog::new(0, 4);
    let options = QueryOptions { running_max: 1, waiting_max: 2, ..QueryOptions::default() };
    let engine = engine_with(Scripted::new(&[None]), Scripted::new(&[None]), log.clone(), options);
    log.gate.forget_permits(Semaphore::MAX_PERMITS);
    let statements = join_all((0..5).map(async |_| engine.run("SELECT 1 FROM logs").await.map(drop)));
    let (answers, ()) = tokio::join!(statements, async { log.gate.add_permits(1_000) });
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 2, "one runs, two wait");
    assert!(refused.iter().all(|error| error.kind() == QueryErrorKind::Unavailable));
}

#[tokio::test]
async fn an_answer_nobody_takes_holds_nobody_up_for_longer_than_its_deadline() {
    let log = FakeLog::new(0, 4);
    let options =
        QueryOptions { running_max: 1, deadline: Duration::from_millis(300), ..QueryOptions::default() };
    let engine = engine_with(Scripted::new(&[None]), Scripted::new(&[None]), log, options);
    let mut forgotten = engine.run("SELECT value FROM generate_series(1, 10000000)").await.unwrap();
    let mut answer = engine.run("SELECT n FROM logs").await;
    while answer.is_err() {
        answer = engine.run("SELECT n FROM logs").await;
    }
    let mut last = forgotten.rows.next().await;
    while let Some(Ok(_)) = last {
        last = forgotten.rows.next().await;
    }
    assert_eq!(last.unwrap().unwrap_err().kind(), QueryErrorKind::Timeout);
}
