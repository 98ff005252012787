//! The conformance suite on the embedded log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use event::Clock;
use eventlog::conformance::{self, Subject};
use eventlog::embedded::EmbeddedOptions;
use eventlog::{EmbeddedLog, EventLog};
use tempfile::TempDir;

struct Embedded {
    folder: TempDir,
    log: Option<Arc<EmbeddedLog>>,
    topics: AtomicU32,
}

impl Embedded {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Some(open(&folder));
        Self { folder, log, topics: AtomicU32::new(0) }
    }

    fn open_log(&self) -> &Arc<EmbeddedLog> {
        self.log.as_ref().unwrap()
    }
}

/// Small segments, so that the suite crosses many of them.
fn open(folder: &TempDir) -> Arc<EmbeddedLog> {
    let options = EmbeddedOptions { segment_bytes: 20_000, ..EmbeddedOptions::new(folder.path()) };
    Arc::new(EmbeddedLog::open(options, Clock::system()).unwrap())
}

#[async_trait]
impl Subject for Embedded {
    fn log(&self) -> Arc<dyn EventLog> {
        self.open_log().clone()
    }

    async fn new_topic(&self) -> String {
        let topic = format!("topic-{}", self.topics.fetch_add(1, Ordering::Relaxed));
        self.open_log().create_topic(&topic).await.unwrap();
        topic
    }

    async fn reopen(&mut self) {
        let log = Arc::into_inner(self.log.take().unwrap());
        drop(log.expect("the suite holds no log while it reopens"));
        self.log = Some(open(&self.folder));
    }

    async fn put_tombstone(&self, _topic: &str) -> bool {
        false
    }
}

macro_rules! conforms {
    ($($promise:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                conformance::$promise(&Embedded::new()).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_log_has_everything() {
    conformance::a_reopened_log_has_everything(&mut Embedded::new()).await;
}
