//! What is left when log, table or process fail at a bad moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use event::{ErrorKind, LogId, Offset, Positions};
use futures::future::BoxFuture;
use loader::{Control, LoadError};
use table::{
    Commit, CommitOutcome, EncodedFile, Layout, Snapshot, StoredFile, Table, TableError, TableState,
};

use crate::world::{World, values};

/// What happens to the next commits of a [`FaultyTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The commit does not happen, and the error is for good: as if the process died before it.
    DiesBefore,
    /// The commit does not happen, and may work later.
    FailsBefore,
    /// The commit does not happen: the right to write was taken.
    Refused,
    /// The commit happens, but its answer is lost.
    AnswerLost,
}

/// A table whose first commits fail in a chosen way.
#[derive(Debug)]
struct FaultyTable {
    inner: Arc<dyn Table>,
    fault: Fault,
    left: AtomicUsize,
}

impl FaultyTable {
    fn new(inner: Arc<dyn Table>, fault: Fault, times: usize) -> Arc<Self> {
        Arc::new(Self { inner, fault, left: AtomicUsize::new(times) })
    }

    fn strikes(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

#[async_trait]
impl Table for FaultyTable {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn layout(&self) -> Layout {
        self.inner.layout()
    }

    async fn load(&self, log: &LogId) -> Result<Option<TableState>, TableError> {
        self.inner.load(log).await
    }

    async fn create(&self, schema: &SchemaRef, log: &LogId) -> Result<TableState, TableError> {
        self.inner.create(schema, log).await
    }

    async fn begin(&self, log: &LogId, starts: &Positions) -> Result<TableState, TableError> {
        self.inner.begin(log, starts).await
    }

    async fn store(&self, file: EncodedFile) -> Result<StoredFile, TableError> {
        self.inner.store(file).await
    }

    async fn commit(&self, commit: &Commit) -> Result<CommitOutcome, TableError> {
        let unavailable = || TableError::Unavailable { place: "test".to_owned(), reason: "fault".to_owned() };
        if !self.strikes() {
            return self.inner.commit(commit).await;
        }
        match self.fault {
            Fault::DiesBefore => Err(TableError::Data {
                table: self.name().to_owned(),
                place: "test".to_owned(),
                reason: "the process died".to_owned(),
            }),
            Fault::Refused => {
                Err(TableError::Settings { place: "test".to_owned(), reason: "access is denied".to_owned() })
            }
            Fault::FailsBefore => Err(unavailable()),
            Fault::AnswerLost => {
                self.inner.commit(commit).await?;
                Err(unavailable())
            }
        }
    }

    async fn snapshot(&self, log: Option<&LogId>) -> Result<Option<Snapshot>, TableError> {
        self.inner.snapshot(log).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_lands_once() {
    let world = World::new().await;
    world.append(&[r#"{"n":"a"}"#, r#"{"n":"b"}"#]).await;
    let faulty = FaultyTable::new(world.table("logs"), Fault::AnswerLost, 1);
    world.catch_up_with(world.loader_on(faulty, world.table("logs__dead"))).await.unwrap();
    assert_eq!(values(&world.rows("logs", "n").await), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_fails_for_a_while_is_waited_out() {
    let world = World::new().await;
    world.append(&[r#"{"n":"a"}"#]).await;
    let faulty = FaultyTable::new(world.table("logs"), Fault::FailsBefore, 2);
    world.catch_up_with(world.loader_on(faulty, world.table("logs__dead"))).await.unwrap();
    assert_eq!(values(&world.rows("logs", "n").await), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_while_it_runs_is_waited_for() {
    let world = World::new().await;
    world.append(&[r#"{"n":"a"}"#]).await;
    let faulty = FaultyTable::new(world.table("logs"), Fault::Refused, 3);
    world.catch_up_with(world.loader_on(faulty, world.table("logs__dead"))).await.unwrap();
    assert_eq!(values(&world.rows("logs", "n").await), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_land_once_when_the_process_dies_between_the_two_commits() {
    let world = World::new().await;
    world.append(&[r#"{"n":"a"}"#, "nonsense"]).await;
    let faulty = FaultyTable::new(world.table("logs"), Fault::DiesBefore, 1);
    let died = world.catch_up_with(world.loader_on(faulty, world.table("logs__dead"))).await.unwrap_err();
    assert_eq!(died.kind(), ErrorKind::Data);
    assert_eq!(world.rows("logs__dead", "reason").await.len(), 1, "the dead letters' commit came first");
    assert!(world.rows("logs", "n").await.is_empty());

    world.append(&["more nonsense"]).await;
    world.catch_up().await;
    assert_eq!(values(&world.rows("logs", "n").await), ["a"]);
    assert_eq!(world.rows("logs__dead", "reason").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_wait_for_their_dead_letters() {
    let world = World::new().await;
    world.append(&[r#"{"n":"a"}"#, "nonsense"]).await;
    let faulty = FaultyTable::new(world.table("logs__dead"), Fault::DiesBefore, 1);
    world.catch_up_with(world.loader_on(world.table("logs"), faulty)).await.unwrap_err();
    assert!(world.rows("logs", "n").await.is_empty());
    world.catch_up().await;
    assert_eq!(values(&world.rows("logs", "n").await), ["a"]);
    assert_eq!(world.rows("logs__dead", "reason").await.len(), 1);
}

/// A table that another loader moves on just before our first commit.
struct OvertakenTable {
    inner: Arc<dyn Table>,
    other: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl std::fmt::Debug for OvertakenTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Table for OvertakenTable {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn layout(&self) -> Layout {
        self.inner.layout()
    }

    async fn load(&self, log: &LogId) -> Result<Option<TableState>, TableError> {
        self.inner.load(log).await
    }

    async fn create(&self, schema: &SchemaRef, log: &LogId) -> Result<TableState, TableError> {
        self.inner.create(schema, log).await
    }

    async fn begin(&self, log: &LogId, starts: &Positions) -> Result<TableState, TableError> {
        self.inner.begin(log, starts).await
    }

    async fn store(&self, file: EncodedFile) -> Result<StoredFile, TableError> {
        self.inner.store(file).await
    }

    async fn commit(&self, commit: &Commit) -> Result<CommitOutcome, TableError> {
        let other = self.other.lock().unwrap().take();
        if let Some(other) = other {
            other.await;
        }
        self.inner.commit(commit).await
    }

    async fn snapshot(&self, log: Option<&LogId>) -> Result<Option<Snapshot>, TableError> {
        self.inner.snapshot(log).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_another_loader_landed_first_is_dropped_and_the_rest_goes_on() {
    let world = World::new().await;
    world.append(&[r#"{"n":"a"}"#, r#"{"n":"b"}"#]).await;
    let end = world.end().await;
    let other = world.loader_of("another group", world.table("logs"), world.table("logs__dead"));
    let other = async move {
        let control = Control::new();
        control.finish_at(end);
        other.run(&control).await.unwrap();
    };
    let overtaken =
        Arc::new(OvertakenTable { inner: world.table("logs"), other: Mutex::new(Some(Box::pin(other))) });
    let loader = world.loader_on(overtaken, world.table("logs__dead"));
    let mut progress = loader.progress();
    let control = Control::new();
    let running = tokio::spawn({
        let control = control.clone();
        async move { loader.run(&control).await }
    });
    world.append(&[r#"{"n":"c"}"#, r#"{"n":"d"}"#]).await;
    control.finish_at(world.end().await);
    running.await.unwrap().unwrap();
    let landed = progress.borrow_and_update().landed.clone();
    assert_eq!(landed, world.end().await);
    let mut rows = world.rows("logs", "n").await;
    rows.sort_by(|a, b| a.2.cmp(&b.2));
    assert_eq!(values(&rows), ["a", "b", "c", "d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_log_is_not_loaded_into() {
    let world = World::new().await;
    let other = LogId::new("embedded:other:logs");
    let table = world.table("logs");
    table.create(&decode::columns::initial_schema(&world.decode), &other).await.unwrap();
    let starts = Positions::from_iter([(event::PartitionId(0), Offset(7))]);
    table.begin(&other, &starts).await.unwrap();
    let refused = world.catch_up_with(world.loader()).await.unwrap_err();
    assert!(matches!(&refused, LoadError::OtherLog { found, .. } if found == other.as_str()), "{refused}");
}
