//! What a table that can say how it came to be promises beyond the rest.

use std::fmt;
use std::sync::Arc;

use arrow_schema::DataType;
use event::{LogId, Offset, OffsetRanges};
use futures::TryStreamExt;
use object_store::ObjectStoreExt as _;

use super::{Bench, Columns, Named, P0, P1, fenced, landed, log, positions, range, rows};
use crate::checksum::{Summing, find_seal};
use crate::{Checksum, Commit, CommitOutcome, History, Lake, PastCommit, PastEvent, PastFile};

/// Makes handles of the implementation to be tested.
pub type HistoryFactory = dyn Fn(Lake, &str) -> Arc<dyn History> + Send + Sync;

/// A lake to test on, and how to make tables there.
#[derive(Debug)]
pub struct HistoryBench<'a> {
    /// As for the rest of the suite.
    pub plain: Bench<'a>,
    /// Makes the same handles as ones that can say how the table came to be.
    pub histories: Histories<'a>,
}

/// See [`HistoryBench::histories`].
pub struct Histories<'a>(pub &'a HistoryFactory);

impl fmt::Debug for Histories<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Histories")
    }
}

/// Checks every promise of [`History`], and those of the chain of replays.
///
/// # Panics
/// When one is broken.
pub async fn run_history(bench: &HistoryBench<'_>) {
    a_table_that_does_not_exist_has_no_history(bench).await;
    every_commit_is_told_as_it_was(bench).await;
    each_offset_names_the_commit_that_landed_it(bench).await;
    replays_are_a_chain_beside_the_rows(bench).await;
    of_two_replays_at_once_one_lands(bench).await;
}

impl HistoryBench<'_> {
    fn handle(&self, named: &Named<'_>) -> Arc<dyn History> {
        (self.histories.0)(self.plain.lake.clone(), &named.name)
    }

    async fn events(&self, named: &Named<'_>) -> Vec<PastEvent> {
        let past = self.handle(named).history().await.expect("it can be read").expect("it exists");
        past.events.try_collect().await.expect("its history can be read")
    }

    async fn commits(&self, named: &Named<'_>) -> Vec<PastCommit> {
        let landed = |event| match event {
            PastEvent::Landed(commit) => Some(commit),
            _ => None,
        };
        self.events(named).await.into_iter().filter_map(landed).collect()
    }

    /// A file is what its checksum says, wherever that stands.
    async fn assert_holds(&self, file: &PastFile) {
        let found = self.plain.lake.store().get(&file.path).await.expect("the file is there");
        let bytes = found.bytes().await.expect("the file can be read");
        let checksums = match (file.checksum, find_seal(&bytes)) {
            (Some(told), _) => (told, Checksum::of(&bytes)),
            (None, Some(seal)) => {
                let mut sum = Summing::with_zeros_at(seal.digits.start as u64..seal.digits.end as u64);
                sum.add(&bytes);
                (seal.checksum, Checksum::Sealed(sum.digest()))
            }
            (None, None) => panic!("{} has no checksum", file.path),
        };
        assert_eq!(checksums.0, checksums.1, "checksum of {}", file.path);
        assert!(file.size_bytes.is_none_or(|size| size == bytes.len() as u64), "size of {}", file.path);
    }
}

async fn a_table_that_does_not_exist_has_no_history(bench: &HistoryBench<'_>) {
    let table = bench.handle(&bench.plain.named());
    assert!(table.history().await.expect("asking is no error").is_none());
    assert!(table.landing(&log(), P0, Offset(0)).await.expect("asking is no error").is_none());
}

async fn every_commit_is_told_as_it_was(bench: &HistoryBench<'_>) {
    let columns = Columns::default();
    let table = bench.plain.begun(&columns).await;
    let first = table.batch(&columns, &[(P0, range(0, 4)), (P1, range(100, 102))]).await;
    landed(table.handle.commit(&first).await.expect("a commit"));
    let wider = columns.and("new", DataType::Utf8);
    let second = table.batch(&wider, &[(P0, range(4, 9))]).await;
    landed(table.another().commit(&second).await.expect("a commit"));
    let mut empty = table.batch(&columns, &[]).await;
    (empty.ranges, empty.dead_count) = (OffsetRanges::from_iter([(P0, range(9, 20))]), 11);
    landed(table.handle.commit(&empty).await.expect("a commit"));

    let events = bench.events(&table).await;
    let begun = events.iter().find_map(|event| match event {
        PastEvent::Began { log, starts } => Some((log.clone(), starts.clone())),
        _ => None,
    });
    assert_eq!(begun, Some((log(), positions(&[(P0, 0), (P1, 100)]))));
    let commits = bench.commits(&table).await;
    assert_told(&commits, &first, 6);
    assert_told(&commits, &second, 5);
    assert_told(&commits, &empty, 0);
    for file in commits.iter().flat_map(|commit| &commit.files) {
        bench.assert_holds(file).await;
    }
    let past = bench.handle(&table).history().await.expect("it can be read").expect("it exists");
    let mut live: Vec<_> = past.snapshot.files.iter().map(|file| file.path.clone()).collect();
    let mut told: Vec<_> = commits.iter().flat_map(|c| &c.files).map(|file| file.path.clone()).collect();
    live.sort();
    told.sort();
    assert_eq!(live, told, "every live file was brought by a commit, once");
}

/// The commits that say they are of `batch` are all of it.
fn assert_told(commits: &[PastCommit], batch: &Commit, row_count: u64) {
    let of_batch: Vec<_> = commits.iter().filter(|commit| commit.batch_id == batch.batch_id).collect();
    let ranges: OffsetRanges = of_batch.iter().flat_map(|commit| commit.ranges.iter()).collect();
    assert_eq!(ranges, batch.ranges, "ranges of {}", batch.batch_id);
    for commit in &of_batch {
        assert_eq!(commit.log, batch.log);
        let ends: Vec<_> = commit.ranges.iter().map(|(p, range)| (p, range.end())).collect();
        assert_eq!(commit.next.iter().collect::<Vec<_>>(), ends, "positions of {}", batch.batch_id);
    }
    let sum = |of: fn(&PastCommit) -> u64| of_batch.iter().map(|commit| of(commit)).sum::<u64>();
    let counts = [sum(|c| c.row_count), sum(|c| c.dead_count), sum(|c| c.skipped_count)];
    assert_eq!(counts, [row_count, batch.dead_count, batch.skipped_count], "counts of {}", batch.batch_id);
    let in_files: u64 = of_batch.iter().flat_map(|c| &c.files).map(|file| file.row_count.unwrap_or(0)).sum();
    assert_eq!(in_files, row_count, "rows in the files of {}", batch.batch_id);
}

async fn each_offset_names_the_commit_that_landed_it(bench: &HistoryBench<'_>) {
    let columns = Columns::default();
    let table = bench.plain.begun(&columns).await;
    for (start, end) in [(0, 3), (3, 4), (4, 9)] {
        let batch = table.batch(&columns, &[(P0, range(start, end))]).await;
        landed(table.handle.commit(&batch).await.expect("a commit"));
        let other = table.batch(&columns, &[(P1, range(100 + start, 100 + end))]).await;
        landed(table.handle.commit(&other).await.expect("a commit"));
    }
    let handle = bench.handle(&table);
    let mut before = None;
    for (offset, covering) in [(0, (0, 3)), (2, (0, 3)), (3, (3, 4)), (4, (4, 9)), (8, (4, 9))] {
        let found = handle.landing(&log(), P0, Offset(offset)).await.expect("it can be read");
        let found = found.unwrap_or_else(|| panic!("offset {offset} has landed"));
        assert_eq!(found.range, range(covering.0, covering.1), "offset {offset}");
        assert!(!found.files.is_empty() && found.version >= before, "offset {offset}: {found:?}");
        before = found.version;
    }
    for (log, partition, offset) in
        [(log(), P0, 9), (log(), P1, 99_999), (LogId::new("test:log:other"), P0, 0)]
    {
        let found = handle.landing(&log, partition, Offset(offset)).await.expect("it can be read");
        assert_eq!(found, None, "{partition}:{offset} of {log} has not landed");
    }
}

async fn replays_are_a_chain_beside_the_rows(bench: &HistoryBench<'_>) {
    let columns = Columns::default();
    let table = bench.plain.begun(&columns).await;
    let batch = table.batch(&columns, &[(P0, range(0, 5))]).await;
    landed(table.handle.commit(&batch).await.expect("a commit"));
    let replays = log().replays();
    let state = table.handle.begin(&replays, &positions(&[(P0, 0)])).await.expect("replays can begin");
    assert_eq!((state.positions, state.other_logs), (positions(&[(P0, 0)]), vec![]));
    let replay = rows::replay(table.handle.as_ref(), &columns, &bench.plain.clock.new_id(), 0, 7).await;
    landed(table.handle.commit(&replay).await.expect("a replay"));
    let after = table.batch(&columns, &[(P0, range(5, 7))]).await;
    landed(table.another().commit(&after).await.expect("a commit"));
    let (found, at) = table.read().await;
    assert_eq!(at, positions(&[(P0, 7), (P1, 100)]), "a replay moves no position of the log");
    assert_eq!(found.len(), 8, "its row is seen with the others");
    let state = table.another().load(&log()).await.expect("it can be read").expect("it exists");
    assert!(state.other_logs.is_empty(), "replays are no other log");
    let told: Vec<_> = bench.commits(&table).await;
    let told: Vec<_> = told.iter().filter(|commit| commit.log == replays).collect();
    assert_eq!((told.len(), told[0].row_count), (1, 1));
    assert_eq!(told[0].ranges, OffsetRanges::from_iter([(P0, range(0, 1))]));
}

async fn of_two_replays_at_once_one_lands(bench: &HistoryBench<'_>) {
    let columns = Columns::default();
    let table = bench.plain.begun(&columns).await;
    table.handle.begin(&log().replays(), &positions(&[(P0, 0)])).await.expect("replays can begin");
    let replay =
        async || rows::replay(table.handle.as_ref(), &columns, &bench.plain.clock.new_id(), 0, 7).await;
    let (mine, yours) = (replay().await, replay().await);
    let (one, other) = (table.another(), table.another());
    let outcomes = futures::join!(one.commit(&mine), other.commit(&yours));
    let outcomes = [outcomes.0.expect("it is settled"), outcomes.1.expect("it is settled")];
    let won = outcomes.iter().filter(|outcome| matches!(outcome, CommitOutcome::Landed(_))).count();
    assert_eq!(won, 1, "one of them lands");
    let lost = outcomes.into_iter().find(|outcome| matches!(outcome, CommitOutcome::Fenced { .. }));
    let (state, _, _) = fenced(lost.expect("the other is fenced"));
    assert_eq!(state.positions, positions(&[(P0, 1)]));
    // Whichever it was: committed again, it is as it was.
    table.another().commit(&mine).await.expect("it is settled");
    assert_eq!(table.read().await.0.len(), 1, "the dead letter is a row once");
}
