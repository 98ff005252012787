//! What the table holds after which events and settings.

use std::time::Duration;

use arrow_schema::DataType;
use event::PartitionId;
use loader::Control;
use loader::progress::LoaderState;

use crate::world::{World, values};

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_a_row_at_its_place_in_the_log() {
    let world = World::new().await;
    let mut expected = Vec::new();
    for number in 0..50 {
        let placed = world.append(&[&format!(r#"{{"n":"{number}"}}"#)]).await;
        let place = placed[0];
        expected.push((
            place.partition.0.cast_signed(),
            place.offset.0.cast_signed(),
            Some(number.to_string()),
        ));
    }
    expected.sort();
    let summary = world.catch_up().await;
    assert_eq!(world.rows("logs", "n").await, expected);
    assert_eq!(summary.progress.rows_total, 50);
    assert_eq!(summary.progress.state, LoaderState::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_goes_on_where_the_table_ends() {
    let world = World::new().await;
    world.append(&[r#"{"n":"a"}"#]).await;
    world.catch_up().await;
    world.append(&[r#"{"n":"b"}"#]).await;
    world.catch_up().await;
    let nothing_new = world.catch_up().await;
    assert_eq!(nothing_new.progress.rows_total, 0);
    let mut got = world.rows("logs", "n").await;
    got.sort_by(|a, b| a.2.cmp(&b.2));
    assert_eq!(values(&got), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_batch_lands_with_no_further_traffic() {
    let mut world = World::new().await;
    world.flush.age_max = Duration::from_millis(20);
    let loader = world.loader();
    let mut progress = loader.progress();
    let control = Control::new();
    let running = tokio::spawn({
        let control = control.clone();
        async move { loader.run(&control).await }
    });
    world.append(&[r#"{"n":"a"}"#, r#"{"n":"b"}"#]).await;
    progress.wait_for(|progress| progress.rows_total == 2).await.unwrap();
    control.stop();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_batch_lands_however_young_it_is() {
    let mut world = World::new().await;
    world.flush.rows_max = 10;
    let loader = world.loader();
    let mut progress = loader.progress();
    let control = Control::new();
    let running = tokio::spawn({
        let control = control.clone();
        async move { loader.run(&control).await }
    });
    for _ in 0..10 {
        world.append(&[r#"{"n":"a"}"#]).await;
    }
    progress.wait_for(|progress| progress.rows_total >= 10).await.unwrap();
    control.stop();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lands_what_was_read() {
    let world = World::new().await;
    let loader = world.loader();
    let mut progress = loader.progress();
    let control = Control::new();
    let running = tokio::spawn({
        let control = control.clone();
        async move { loader.run(&control).await }
    });
    progress.wait_for(|progress| progress.state == LoaderState::Running).await.unwrap();
    world.append(&[r#"{"n":"a"}"#]).await;
    control.finish_at(world.end().await);
    running.await.unwrap().unwrap();
    assert_eq!(values(&world.rows("logs", "n").await), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_object_is_a_dead_letter_and_its_neighbours_are_rows() {
    let world = World::new().await;
    world.append(&[r#"{"n":"a"}"#, "[1]", r#"{"n":"#, r#"{"n":"b"}"#]).await;
    let summary = world.catch_up().await;
    assert_eq!(values(&world.rows("logs", "n").await), ["a", "b"]);
    assert_eq!(values(&world.rows("logs__dead", "reason").await), ["not_an_object", "invalid_json"]);
    assert_eq!((summary.progress.rows_total, summary.progress.dead_total), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_nothing_but_dead_letters_moves_on_like_any_other() {
    let world = World::new().await;
    world.append(&["nonsense", "more nonsense"]).await;
    world.catch_up().await;
    assert!(world.rows("logs", "n").await.is_empty());
    assert_eq!(world.rows("logs__dead", "reason").await.len(), 2);
    let again = world.catch_up().await;
    assert_eq!(again.progress.dead_total, 0);
    assert_eq!(again.progress.landed, world.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_column_is_decided_over_the_whole_first_flush() {
    let world = World::new().await;
    world.append(&[r#"{"price":3}"#, r#"{"price":2.5}"#]).await;
    world.catch_up().await;
    assert_eq!(world.column_type("price").await, DataType::Float64);
    assert_eq!(values(&world.rows("logs", "price").await), ["3.0", "2.5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_keeps_its_type_and_what_does_not_fit_is_kept_beside_it() {
    let world = World::new().await;
    world.append(&[r#"{"price":3}"#]).await;
    world.catch_up().await;
    world.append(&[r#"{"price":2.5,"new":true}"#]).await;
    let summary = world.catch_up().await;
    assert_eq!(world.column_type("price").await, DataType::Int64);
    assert_eq!(world.column_type("new").await, DataType::Boolean);
    assert_eq!(values(&world.rows("logs", "_residual").await), [r#"{"price":2.5}"#]);
    assert_eq!(summary.progress.conflicts_total, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_events_makes_an_empty_table_with_positions() {
    let world = World::new().await;
    world.catch_up().await;
    let summary = world.catch_up().await;
    assert_eq!(summary.progress.landed.get(PartitionId(0)).map(|next| next.0), Some(0));
}
