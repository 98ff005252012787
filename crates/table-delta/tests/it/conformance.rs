use std::sync::Arc;

use event::Clock;
use table::conformance::{Bench, Histories, HistoryBench, run, run_history};
use table::{History, Lake, Table};
use table_delta::DeltaTable;

use crate::lakes;

fn factory(lake: Lake, name: &str) -> Arc<dyn Table> {
    Arc::new(DeltaTable::new(lake, name, Clock::system()))
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_in_a_folder_keeps_every_promise() {
    let (_folder, lake) = lakes::folder();
    run(&Bench { lake, factory: &factory, clock: Clock::system() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_in_a_bucket_keeps_every_promise() {
    let Some(lake) = lakes::bucket() else { return };
    run(&Bench { lake, factory: &factory, clock: Clock::system() }).await;
}

fn histories(lake: Lake, name: &str) -> Arc<dyn History> {
    Arc::new(DeltaTable::new(lake, name, Clock::system()))
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_in_a_folder_says_how_it_came_to_be() {
    let (_folder, lake) = lakes::folder();
    let plain = Bench { lake, factory: &factory, clock: Clock::system() };
    run_history(&HistoryBench { plain, histories: Histories(&histories) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_in_a_bucket_says_how_it_came_to_be() {
    let Some(lake) = lakes::bucket() else { return };
    let plain = Bench { lake, factory: &factory, clock: Clock::system() };
    run_history(&HistoryBench { plain, histories: Histories(&histories) }).await;
}
