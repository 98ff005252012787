use std::sync::Arc;

use event::{Clock, LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions};
use object_store::ObjectStoreExt as _;
use parquet::file::metadata::ParquetMetaDataReader;
use table::conformance::{Bench, Columns, Histories, HistoryBench, run, run_history};
use table::{Commit, FileFooter, History, Lake, ParquetTable, Table};

use crate::lakes;

fn factory(lake: Lake, name: &str) -> Arc<dyn Table> {
    Arc::new(ParquetTable::new(lake, name, Clock::system()))
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_parquet_in_a_folder_keeps_every_promise() {
    let (_folder, lake) = lakes::folder();
    run(&Bench { lake, factory: &factory, clock: Clock::system() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_parquet_in_a_bucket_keeps_every_promise() {
    let Some(lake) = lakes::bucket() else { return };
    run(&Bench { lake, factory: &factory, clock: Clock::system() }).await;
}

#[tokio::test]
async fn a_gap_is_marked_in_its_footer() {
    let (_folder, lake) = lakes::folder();
    let table = factory(lake.clone(), "logs");
    let (log, schema) = (LogId::new("test:log:topic"), Columns::default().schema());
    let (partition, range) = (PartitionId(0), OffsetRange::new(Offset(0), Offset(7)));
    table.create(&schema, &log).await.unwrap();
    table.begin(&log, &Positions::from_iter([(partition, Offset(0))])).await.unwrap();
    let ranges = OffsetRanges::from_iter([(partition, range)]);
    table.commit(&Commit::of_gap(Clock::system().new_id(), log, ranges, schema)).await.unwrap();

    let snapshot = table.snapshot(None).await.unwrap().unwrap();
    let [file] = &snapshot.files[..] else { panic!("one file is one commit: {:?}", snapshot.files) };
    let bytes = lake.store().get(&file.path).await.unwrap().bytes().await.unwrap();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    let pairs = metadata.file_metadata().key_value_metadata().unwrap();
    let pairs = pairs.iter().map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap_or_default()));
    let footer = FileFooter::parse(pairs).unwrap();
    assert_eq!((footer.gap, footer.range, footer.row_count), (true, range, 0));
}

fn histories(lake: Lake, name: &str) -> Arc<dyn History> {
    Arc::new(ParquetTable::new(lake, name, Clock::system()))
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_parquet_in_a_folder_says_how_it_came_to_be() {
    let (_folder, lake) = lakes::folder();
    let plain = Bench { lake, factory: &factory, clock: Clock::system() };
    run_history(&HistoryBench { plain, histories: Histories(&histories) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_parquet_in_a_bucket_says_how_it_came_to_be() {
    let Some(lake) = lakes::bucket() else { return };
    let plain = Bench { lake, factory: &factory, clock: Clock::system() };
    run_history(&HistoryBench { plain, histories: Histories(&histories) }).await;
}
