use arrow_array::{Array, RecordBatch};
use loader::Replayed;
use verify::Kind;

use crate::world::{BOTH, World, assert_names};

/// Letters that today's limits, or a repair, make events of; and one that stays dead.
async fn with_letters(format: crate::world::Format) -> World {
    let world = World::new(format).await;
    let large = format!(r#"{{"n":"large","text":"{}"}}"#, "x".repeat(300));
    let marked = "\u{feff}{\"n\":\"marked\"}";
    world.append(&[r#"{"n":"row"}"#, &large, marked, r#""{\"n\":\"twice\",\"new\":[1]}""#, "{'n':1}"]).await;
    world.catch_up().await;
    world
}

async fn names(world: &World) -> Vec<(i64, String, bool)> {
    let mut names = Vec::new();
    for batch in world.batches("logs").await {
        let offsets = batch["_offset"].as_any().downcast_ref::<arrow_array::Int64Array>().unwrap().clone();
        let of = batch["n"].as_any().downcast_ref::<arrow_array::StringArray>().unwrap().clone();
        let replayed = |batch: &RecordBatch, at| {
            batch.column_by_name("_replayed_at").is_some_and(|column| column.is_valid(at))
        };
        names.extend(
            (0..batch.num_rows())
                .map(|at| (offsets.value(at), of.value(at).to_owned(), replayed(&batch, at))),
        );
    }
    names.sort();
    names
}

fn expected() -> Vec<(i64, String, bool)> {
    let row = |(offset, name, replayed): (i64, &str, bool)| (offset, name.to_owned(), replayed);
    [(0, "row", false), (1, "large", true), (2, "marked", true), (3, "twice", true)].map(row).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_are_events_now_land_once_and_the_rest_says_why_not() {
    for format in BOTH {
        let world = with_letters(format).await;
        let (replayer, letters) = (world.replayer().await, world.letters().await);
        assert_eq!(letters.len(), 4);
        let first = replayer.replay(&letters).await.unwrap();
        assert_eq!((first.landed, first.before), (3, 0), "{format:?}: {first:?}");
        let [(_, offset, code, detail)] = &first.still_dead[..] else { panic!("{first:?}") };
        assert_eq!((offset.0, code.as_str()), (4, "invalid_json"));
        assert!(detail.contains("byte 1"), "{detail}");
        assert_eq!(names(&world).await, expected(), "{format:?}");

        let version = world.table("logs").snapshot(None).await.unwrap().unwrap().version;
        let again = world.replayer().await.replay(&letters).await.unwrap();
        let still_dead = first.still_dead.clone();
        assert_eq!(again, Replayed { landed: 0, before: 3, still_dead, conflicts: 0 }, "{format:?}");
        let after = world.table("logs").snapshot(None).await.unwrap().unwrap().version;
        assert_eq!(after, version, "{format:?}: running it twice changes nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_at_once_land_each_dead_letter_once() {
    for format in BOTH {
        let world = with_letters(format).await;
        let letters = world.letters().await;
        let replay = async || world.replayer().await.replay(&letters).await.unwrap();
        let all = futures::join!(replay(), replay(), replay());
        let landed = all.0.landed + all.1.landed + all.2.landed;
        assert_eq!(landed, 3, "{format:?}: {all:?}");
        assert_eq!(names(&world).await, expected(), "{format:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_replays_is_proven_and_loaded_on() {
    for format in BOTH {
        let world = with_letters(format).await;
        let letters = world.letters().await;
        world.replayer().await.replay(&letters[..2]).await.unwrap();
        world.append(&[r#"{"n":"later","new":"other type"}"#, r#"{"n":"last","_replayed_at":"mine"}"#]).await;
        world.catch_up().await;
        world.replayer().await.replay(&letters).await.unwrap();
        let report = world.verify().await;
        assert!(report.proven, "{format:?}: {report:#?}");
        let (rows, dead) = (report.partitions[0].rows, report.partitions[0].dead);
        assert_eq!((rows, dead, report.replayed), (3, 4, 3), "{format:?}");
        assert_eq!(report.partitions[0].next, 7, "{format:?}: a replay moves no position of the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_row_that_is_not_its_dead_letter_is_found() {
    for format in BOTH {
        let world = with_letters(format).await;
        world.replayer().await.replay(&world.letters().await).await.unwrap();
        let path = world.file_of("logs", 2).await;
        world.rewrite("logs", &path, |batch| {
            let index = batch.schema().index_of("n").unwrap();
            let mut columns = batch.columns().to_vec();
            let changed = vec!["changed"; batch.num_rows()];
            columns[index] = std::sync::Arc::new(arrow_array::StringArray::from(changed));
            RecordBatch::try_new(batch.schema(), columns).unwrap()
        });
        assert_names(&world.verify_alone().await, Kind::Changed, &[[1, 4]], "a replayed row was changed");
    }
}
