//! The fakes keep the promises of the real ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use event::{Clock, PartitionId};
use eventlog::EventLog;
use eventlog::conformance::{self, PARTITION_COUNT, Subject};
use object_store::path::Path;
use sim::executor::{Executor, WORLD};
use sim::log::LogServer;
use sim::network::{Network, Rates};
use sim::store::StoreServer;
use table::conformance::{Bench, run};
use table::lake::Rounds;
use table::{Lake, ParquetTable, Table};
use table_delta::DeltaTable;

struct Simulated {
    server: LogServer,
    network: Network,
    topics: AtomicU32,
}

impl Simulated {
    fn new() -> Self {
        let executor = Executor::new(1, false);
        let network = Network::new(&executor, Rates::default());
        Self { server: LogServer::new(&executor, 0), network, topics: AtomicU32::new(0) }
    }
}

#[async_trait]
impl Subject for Simulated {
    fn log(&self) -> Arc<dyn EventLog> {
        self.server.client(WORLD, &self.network)
    }

    async fn new_topic(&self) -> String {
        let topic = format!("topic-{}", self.topics.fetch_add(1, Ordering::Relaxed));
        self.server.create_topic(&topic, PARTITION_COUNT);
        topic
    }

    /// A log that is never closed has nothing to open again.
    async fn reopen(&mut self) {}

    async fn put_tombstone(&self, topic: &str) -> bool {
        self.server.append_tombstone(topic, PartitionId(0)).unwrap();
        true
    }
}

macro_rules! conforms {
    ($($promise:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                conformance::$promise(&Simulated::new()).await;
            }
        )*
    };
}

conforms![
    appended_events_are_read_at_their_places,
    concurrent_appends_are_each_in_the_log_once,
    an_empty_payload_is_an_event,
    an_event_of_ten_megabytes_is_carried,
    topics_are_apart,
    the_description_follows_the_appends,
    a_read_sees_every_acknowledged_event,
    a_read_keeps_to_its_partitions,
    a_consumer_gets_everything_in_contiguous_ranges,
    a_rewind_delivers_again_from_there,
    a_pause_holds_everything_back,
    nothing_is_delivered_before_its_start,
    a_start_position_is_exact,
    a_position_beyond_the_end_is_an_error,
    a_tombstone_is_no_empty_event,
    an_unknown_topic_is_missing,
];

fn lake() -> Lake {
    let executor = Executor::new(1, false);
    let store = StoreServer::new(&executor).client(WORLD, &Network::new(&executor, Rates::default()));
    Lake::on(store, Path::from("lake"), "sim://lake")
}

#[tokio::test]
async fn the_store_keeps_conditional_writes() {
    lake().probe(Rounds::THOROUGH, &Clock::system()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_parquet_on_the_store_keeps_every_promise() {
    let factory = |lake: Lake, name: &str| -> Arc<dyn Table> {
        Arc::new(ParquetTable::new(lake, name, Clock::system()))
    };
    run(&Bench { lake: lake(), factory: &factory, clock: Clock::system() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_on_the_store_keeps_every_promise() {
    let factory =
        |lake: Lake, name: &str| -> Arc<dyn Table> { Arc::new(DeltaTable::new(lake, name, Clock::system())) };
    run(&Bench { lake: lake(), factory: &factory, clock: Clock::system() }).await;
}
