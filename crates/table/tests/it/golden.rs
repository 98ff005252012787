//! Small objects and footers of plain Parquet, byte for byte: what older versions wrote must stay readable.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use event::{Clock, LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions};
use object_store::ObjectStoreExt as _;
use parquet::file::metadata::ParquetMetaDataReader;
use proptest::prelude::*;
use table::{Commit, CommitOutcome, FileFooter, ParquetTable, Table};

use crate::lakes;

const BATCH_ID: &str = "0198c0de-0000-7000-8000-000000000000";
/// Pairs of a footer in format 1, in the order they are written.
const PAIRS: [(&str, &str); 8] = [
    ("laker.batch_id", BATCH_ID),
    ("laker.log", "kafka:cluster:topic"),
    ("laker.partition", "3"),
    ("laker.start", "10"),
    ("laker.end", "25"),
    ("laker.row_count", "0"),
    ("laker.dead_count", "2"),
    ("laker.skipped_count", "13"),
];

fn log() -> LogId {
    LogId::new("kafka:cluster:topic")
}

fn footer() -> FileFooter {
    FileFooter::parse(PAIRS).unwrap()
}

/// Lands a batch without rows, so that all bytes are the table's own.
async fn written(folder: &Path, table: &ParquetTable) {
    let schema = Arc::new(Schema::new(vec![Field::new("_offset", DataType::Int64, false)]));
    table.create(&schema, &log()).await.unwrap();
    table.begin(&log(), &Positions::from_iter([(PartitionId(3), Offset(10))])).await.unwrap();
    let footer = footer();
    let commit = Commit {
        batch_id: footer.batch_id,
        log: footer.log,
        ranges: OffsetRanges::from_iter([(footer.partition, footer.range)]),
        files: Vec::new(),
        schema,
        row_count: 0,
        dead_count: footer.dead_count,
        skipped_count: footer.skipped_count,
        gap: footer.gap,
    };
    let outcome = table.commit(&commit).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Landed(_)), "{outcome:?}");
    assert!(folder.join("logs").is_dir());
}

#[tokio::test]
async fn objects_and_footers_are_what_they_have_been_since_format_1() {
    let (folder, lake) = lakes::folder();
    let table = ParquetTable::new(lake.clone(), "logs", Clock::system());
    written(folder.path(), &table).await;
    let at = |path: &str| fs::read(folder.path().join("logs").join(path)).unwrap();
    assert_eq!(
        String::from_utf8(at("_laker/start/p=3.json")).unwrap(),
        r#"{"log":"kafka:cluster:topic","start":10}"#
    );
    assert_eq!(
        String::from_utf8(at("_laker/schema/00000000000000000000.json")).unwrap(),
        "{\n  \"columns\": [\n    {\n      \"name\": \"_offset\",\n      \"type\": \"long\",\n      \"nullable\": false\n    }\n  ]\n}\n"
    );
    let path = lake.table_path("logs").join("data").join("p=3").join(format!("{:020}.parquet", 10));
    let bytes = lake.store().get(&path).await.unwrap().bytes().await.unwrap();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let pairs: Vec<_> = pairs.filter(|pair| pair.key.starts_with("laker.")).collect();
    let pairs: Vec<_> =
        pairs.iter().map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap())).collect();
    for wanted in PAIRS {
        assert!(pairs.contains(&wanted), "{wanted:?} is not in {pairs:?}");
    }
}

#[tokio::test]
async fn objects_of_format_1_are_read() {
    let (folder, lake) = lakes::folder();
    written(folder.path(), &ParquetTable::new(lake.clone(), "logs", Clock::system())).await;
    let state = ParquetTable::new(lake, "logs", Clock::system()).load(&log()).await.unwrap().unwrap();
    assert_eq!(state.positions.get(PartitionId(3)), Some(Offset(25)));
}

proptest! {
    #[test]
    fn a_footer_reads_back_as_it_was_written(
        batch_id in "[0-9a-f-]{1,40}",
        log in "[a-zA-Z0-9:._-]{1,60}",
        partition: u32,
        ends in any::<[u64; 2]>(),
        row_count: u64,
        dead_count: u64,
        skipped_count: u64,
    ) {
        let range = OffsetRange::new(Offset(ends[0].min(ends[1])), Offset(ends[0].max(ends[1])));
        let mut footer = footer();
        (footer.batch_id, footer.log, footer.partition, footer.range) = (batch_id, LogId::new(log), PartitionId(partition), range);
        (footer.row_count, footer.dead_count, footer.skipped_count) = (row_count, dead_count, skipped_count);
        let pairs = footer.pairs();
        let read = FileFooter::parse(pairs.iter().map(|(key, value)| (*key, value.as_str())));
        prop_assert_eq!(read, Ok(footer));
    }

    #[test]
    fn pairs_of_any_text_are_refused_or_read_but_never_a_panic(values in prop::array::uniform8("\\PC{0,12}|[0-9]{1,20}")) {
        let pairs = PAIRS.iter().zip(&values).map(|((key, _), value)| (*key, value.as_str()));
        if let Ok(footer) = FileFooter::parse(pairs) {
            prop_assert!(footer.range.start() <= footer.range.end());
        }
    }
}
