//! The suite every implementation passes.
//!
//! Call [`run`] with a way to make tables on one lake: each call makes another handle, as another
//! process would have. Rows are small Parquet files that the suite writes itself, in the table's
//! layout, and reads back through [`Table::snapshot`], as a reader would.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use event::{Clock, LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions};
use object_store::ObjectStore;

use crate::{Commit, CommitOutcome, Lake, Table, TableState};

/// Small files with rows, and reading them back.
mod rows;
/// A store whose answers get lost.
mod faults;
/// What a table promises, one after the other.
mod promises;
/// What a table promises of positions beyond the offset: epochs and gaps.
mod positions;
/// What a table that can say how it came to be promises beyond that.
mod history;

pub use faults::{Fault, FaultyStore};
pub use history::{Histories, HistoryBench, HistoryFactory, run_history};
pub use rows::{Column, Columns, Row};

/// Makes handles of the implementation to be tested.
pub type Factory = dyn Fn(Lake, &str) -> Arc<dyn Table> + Send + Sync;

/// A lake to test on, and how to make tables there. Table names are unique per promise.
pub struct Bench<'a> {
    /// The lake, empty or not.
    pub lake: Lake,
    /// Makes a handle of a table, as another process would have it.
    pub factory: &'a Factory,
    /// For ids.
    pub clock: Clock,
}

impl fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bench").field(&self.lake).finish()
    }
}

/// Checks every promise of [`Table`].
///
/// # Panics
/// When one is broken.
pub async fn run(bench: &Bench<'_>) {
    promises::all(bench).await;
    positions::all(bench).await;
}

/// The log the suite pretends to load from.
fn log() -> LogId {
    LogId::new("test:log:topic")
}

const P0: PartitionId = PartitionId(0);
const P1: PartitionId = PartitionId(1);

fn range(start: u64, end: u64) -> OffsetRange {
    OffsetRange::new(Offset(start), Offset(end))
}

fn ranges(of: &[(PartitionId, OffsetRange)]) -> OffsetRanges {
    of.iter().copied().collect()
}

fn positions(of: &[(PartitionId, u64)]) -> Positions {
    of.iter().map(|(partition, next)| (*partition, Offset(*next))).collect()
}

impl Bench<'_> {
    /// A new table that exists, with partitions 0 and 1 beginning at 0 and 100.
    async fn begun(&self, columns: &Columns) -> Named<'_> {
        let named = self.named();
        named.handle.create(&columns.schema(), &log()).await.expect("a table can be created");
        let starts = positions(&[(P0, 0), (P1, 100)]);
        named.handle.begin(&log(), &starts).await.expect("partitions can begin");
        named
    }

    /// A table that does not exist yet.
    fn named(&self) -> Named<'_> {
        let name = format!("t{}", self.clock.new_id().replace('-', ""));
        Named { handle: (self.factory)(self.lake.clone(), &name), bench: self, name }
    }
}

/// One table and the means to get other handles of it.
struct Named<'a> {
    bench: &'a Bench<'a>,
    name: String,
    handle: Arc<dyn Table>,
}

impl Named<'_> {
    /// A handle of the same table as another process has it.
    fn another(&self) -> Arc<dyn Table> {
        (self.bench.factory)(self.bench.lake.clone(), &self.name)
    }

    /// A handle whose requests go through `store`.
    fn through(&self, store: Arc<dyn ObjectStore>) -> Arc<dyn Table> {
        (self.bench.factory)(self.bench.lake.with_store(store), &self.name)
    }

    /// A batch with one row per offset of `of`.
    async fn batch(&self, columns: &Columns, of: &[(PartitionId, OffsetRange)]) -> Commit {
        rows::batch(self.handle.as_ref(), columns, &self.bench.clock.new_id(), &ranges(of)).await
    }

    /// Rows and positions as a reader sees them that never saw the table before.
    async fn read(&self) -> (Vec<Row>, Positions) {
        let snapshot = self.another().snapshot(Some(&log())).await.expect("a table can be read");
        let snapshot = snapshot.expect("the table exists");
        (rows::read(&self.bench.lake, &snapshot).await, snapshot.positions)
    }

    /// Every offset from the partitions' starts up to `next` is a row exactly once.
    async fn assert_holds(&self, next: &[(PartitionId, u64)]) {
        let (rows, at) = self.read().await;
        assert_eq!(at, positions(next), "positions of the snapshot");
        let mut seen: BTreeMap<(PartitionId, u64), usize> = BTreeMap::new();
        for row in &rows {
            *seen.entry((row.partition, row.offset)).or_default() += 1;
        }
        let starts = BTreeMap::from([(P0, 0), (P1, 100)]);
        let expected = next.iter().flat_map(|(p, next)| (starts[p]..*next).map(|offset| ((*p, offset), 1)));
        assert_eq!(seen, expected.collect(), "each offset is a row exactly once");
    }
}

fn landed(outcome: CommitOutcome) -> TableState {
    match outcome {
        CommitOutcome::Landed(state) => state,
        fenced @ CommitOutcome::Fenced { .. } => panic!("it should have landed: {fenced:?}"),
    }
}

fn fenced(outcome: CommitOutcome) -> (TableState, OffsetRanges, String) {
    match outcome {
        CommitOutcome::Fenced { state, landed, reason } => (state, landed, reason),
        landed @ CommitOutcome::Landed(_) => panic!("it should have been fenced: {landed:?}"),
    }
}
