use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array};
use serde_json::json;
use verify::Kind;

use crate::world::{BOTH, Format, World, assert_names, of_kind};

/// The rows of `batch` in `order`.
fn rows(batch: &RecordBatch, order: impl IntoIterator<Item = usize>) -> RecordBatch {
    let order = UInt32Array::from_iter_values(order.into_iter().map(|at| at as u32));
    arrow_select::take::take_record_batch(batch, &order).unwrap()
}

fn offset_at(batch: &RecordBatch, at: usize) -> i64 {
    batch["_offset"].as_any().downcast_ref::<arrow_array::Int64Array>().unwrap().value(at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let path = world.file_of("logs", 4).await;
        world.delete(&path);
        for report in [world.verify().await, world.verify_alone().await] {
            assert!(!report.proven);
            match format {
                Format::Delta => {
                    let missing = of_kind(&report, Kind::FileMissing);
                    assert_eq!(missing.len(), 1, "{report:#?}");
                    assert_eq!(missing[0].files, std::slice::from_ref(&path));
                    assert_names(&report, Kind::RowsMissing, &[[4, 5], [6, 7]], "deleted");
                }
                // Where the object is the commit, a missing file is a missing link.
                Format::Parquet => assert_names(&report, Kind::Gap, &[[4, 7]], "deleted"),
            }
        }
        assert_names(&world.verify().await, Kind::Lost, &[[4, 5], [6, 7]], "deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_file_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let path = world.file_of("logs", 4).await;
        world.truncate(&path);
        let report = world.verify().await;
        let kind = if format == Format::Delta { Kind::FileDamaged } else { Kind::FileStray };
        let found = of_kind(&report, kind);
        assert_eq!(found.len(), 1, "{format:?}: {report:#?}");
        assert_eq!(found[0].files, [path]);
        assert_names(&report, Kind::Lost, &[[4, 5], [6, 7]], "truncated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let path = world.file_of("logs", 4).await;
        world.flip_a_bit(&path);
        let report = world.verify_alone().await;
        let found = of_kind(&report, Kind::FileDamaged);
        assert!(
            !found.is_empty() && found.iter().all(|p| p.files == std::slice::from_ref(&path)),
            "{format:?}: {report:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_in_the_table_twice_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let path = world.file_of("logs", 4).await;
        let copy = match format {
            Format::Delta => {
                let mut add =
                    world.entry_of("logs", &path).into_iter().find(|a| a.get("add").is_some()).unwrap();
                let copy = path.replace(".parquet", "-copy.parquet");
                world.copy(&path, &copy);
                add["add"]["path"] =
                    json!(add["add"]["path"].as_str().unwrap().replace(".parquet", "-copy.parquet"));
                world.write_entry("logs", &[json!({ "commitInfo": { "operation": "WRITE" } }), add]);
                copy
            }
            Format::Parquet => {
                let copy = path.replace(".parquet", "-copy.parquet");
                world.copy(&path, &copy);
                copy
            }
        };
        for report in [world.verify().await, world.verify_alone().await] {
            assert_names(&report, Kind::Doubled, &[[4, 5], [6, 7]], "a copy");
            let mut files = of_kind(&report, Kind::Doubled)[0].files.clone();
            files.sort();
            assert_eq!(files, [copy.clone(), path.clone()], "{format:?}: both files are named");
        }
    }
}

/// Readers of Delta take a path that was added twice for one file; the log is wrong all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_a_delta_log_adds_twice_is_found() {
    let world = World::loaded(Format::Delta).await;
    let path = world.file_of("logs", 4).await;
    let entry = world.entry_of("logs", &path);
    world.write_entry("logs", &entry);
    let report = world.verify_alone().await;
    assert_eq!(of_kind(&report, Kind::FileDoubled)[0].files, [path], "{report:#?}");
    assert_names(&report, Kind::Overlap, &[[4, 7]], "the same entry again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_the_place_of_a_link_is_found() {
    let world = World::loaded(Format::Parquet).await;
    let path = world.file_of("logs", 4).await;
    let copy = path.replace(&format!("{:020}", 4), &format!("{:020}", 9));
    world.copy(&path, &copy);
    let report = world.verify_alone().await;
    assert_eq!(of_kind(&report, Kind::FileStray)[0].files, [copy], "{report:#?}");
    assert_names(&report, Kind::Doubled, &[[4, 5], [6, 7]], "a copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_was_skipped_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        match format {
            Format::Delta => {
                let log = world.log_id().await;
                let info = json!({ "commitInfo": {
                    "operation": "WRITE", "laker.batch_id": "vandal", "laker.log": log.as_str(),
                    "laker.ranges": { "0": [12, 20] }, "laker.row_count": 0, "laker.skipped_count": 8,
                } });
                let txn = json!({ "txn": { "appId": format!("laker/{log}/0"), "version": 20 } });
                world.write_entry("logs", &[info, txn]);
            }
            Format::Parquet => world.write_empty_link(12, 20).await,
        }
        assert_names(&world.verify_alone().await, Kind::Gap, &[[9, 12]], "a range was skipped");
    }
}

/// The vandal left size, counts and checksum right: only the log knows better.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let path = world.file_of("logs", 6).await;
        world.rewrite("logs", &path, |batch| {
            let index = batch.schema().index_of("n").unwrap();
            let names = batch.column(index).as_any().downcast_ref::<StringArray>().unwrap();
            let changed = names.iter().map(|name| if name == Some("b6") { Some("B6") } else { name });
            let mut columns = batch.columns().to_vec();
            columns[index] = Arc::new(changed.collect::<StringArray>()) as ArrayRef;
            RecordBatch::try_new(batch.schema(), columns).unwrap()
        });
        let report = world.verify().await;
        assert_names(&report, Kind::Changed, &[[6, 7]], "a row was changed");
        let found = of_kind(&report, Kind::Changed)[0];
        assert_eq!(found.files, [path], "{format:?}");
        assert!(found.message.contains("\"n\""), "the field is named: {}", found.message);
        assert_eq!(report.problems.len(), 1, "nothing else is wrong: {report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_residual_that_was_dropped_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let path = world.file_of("logs", 3).await;
        world.rewrite("logs", &path, |batch| {
            let index = batch.schema().index_of("_residual").unwrap();
            let mut columns = batch.columns().to_vec();
            columns[index] = arrow_array::new_null_array(columns[index].data_type(), batch.num_rows());
            RecordBatch::try_new(batch.schema(), columns).unwrap()
        });
        assert_names(&world.verify().await, Kind::Changed, &[[2, 3], [3, 4]], "residuals were dropped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_missing_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let path = world.file_of("logs", 2).await;
        world.rewrite("logs", &path, |batch| {
            rows(batch, (0..batch.num_rows()).filter(|at| offset_at(batch, *at) != 2))
        });
        assert_names(&world.verify_alone().await, Kind::RowsMissing, &[[2, 3]], "a row is missing");
        assert_names(&world.verify().await, Kind::Lost, &[[2, 3]], "a row is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_there_twice_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let path = world.file_of("logs", 6).await;
        world.rewrite("logs", &path, |batch| {
            let twice = (0..batch.num_rows()).filter(|at| offset_at(batch, *at) == 6);
            rows(batch, (0..batch.num_rows()).chain(twice))
        });
        let report = world.verify_alone().await;
        assert_names(&report, Kind::Doubled, &[[6, 7]], "a row is there twice");
        assert_eq!(of_kind(&report, Kind::Doubled)[0].files, [path], "{format:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_missing_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let path = world.file_of("logs__dead", 1).await;
        world.rewrite("logs__dead", &path, |batch| {
            rows(batch, (0..batch.num_rows()).filter(|at| offset_at(batch, *at) != 1))
        });
        for report in [world.verify().await, world.verify_alone().await] {
            let found = of_kind(&report, Kind::DeadMissing);
            assert!(
                !found.is_empty() && found.iter().all(|p| p.offsets == [[1, 2]]),
                "{format:?}: {report:#?}"
            );
        }
        assert_names(&world.verify().await, Kind::Lost, &[[1, 2]], "a dead letter is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_was_changed_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let path = world.file_of("logs__dead", 1).await;
        world.rewrite("logs__dead", &path, |batch| {
            let index = batch.schema().index_of("raw").unwrap();
            let mut columns = batch.columns().to_vec();
            let changed = vec![b"changed".as_slice(); batch.num_rows()];
            columns[index] = Arc::new(arrow_array::BinaryArray::from(changed)) as ArrayRef;
            RecordBatch::try_new(batch.schema(), columns).unwrap()
        });
        let report = world.verify().await;
        assert_names(&report, Kind::Changed, &[[1, 2]], "a dead letter was changed");
        assert_eq!(report.problems[0].table, "logs__dead");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_a_row_and_a_dead_letter_is_found() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let path = world.file_of("logs", 2).await;
        world.rewrite("logs", &path, |batch| {
            // The row at offset 2 takes the place of the dead letter at 1.
            let index = batch.schema().index_of("_offset").unwrap();
            let offsets = batch["_offset"].as_any().downcast_ref::<arrow_array::Int64Array>().unwrap();
            let moved = offsets.values().iter().map(|offset| if *offset == 2 { 1 } else { *offset });
            let mut columns = batch.columns().to_vec();
            columns[index] = Arc::new(arrow_array::Int64Array::from_iter_values(moved)) as ArrayRef;
            RecordBatch::try_new(batch.schema(), columns).unwrap()
        });
        assert_names(&world.verify_alone().await, Kind::Doubled, &[[1, 2]], "in both tables");
    }
}
