use std::sync::Arc;

use event::Clock;
use table::conformance::{Bench, run};
use table::{Lake, Table};
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
