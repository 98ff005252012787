//! The conformance suite on a log with a spool in front: as long as the log works, nobody sees the spool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use event::{Clock, Positions};
use eventlog::conformance::{self, Subject};
use eventlog::embedded::EmbeddedOptions;
use eventlog::spool::{Forwarder, NotAppended, Primary, SpoolOptions};
use eventlog::{Ahead, Consumer, EmbeddedLog, EventLog, LogError, Placement, SpooledLog, TopicDescription};
use tempfile::TempDir;

/// Topics a test may ask for: a spool is told its topics when it is opened.
const TOPICS: [&str; 4] = ["topic-0", "topic-1", "topic-2", "topic-3"];

/// An embedded log in the place of Kafka.
#[derive(Debug)]
struct Behind(EmbeddedLog);

#[async_trait]
impl EventLog for Behind {
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.0.describe(topic).await
    }

    async fn append(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        self.0.append(topic, payloads).await
    }

    async fn read(&self, topic: &str, from: &Positions, bytes_max: usize) -> Result<Ahead, LogError> {
        self.0.read(topic, from, bytes_max).await
    }

    fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn Consumer>, LogError> {
        self.0.consumer(topic, group)
    }

    async fn landed(&self, topic: &str, landed: &Positions) -> Result<(), LogError> {
        self.0.landed(topic, landed).await
    }
}

#[async_trait]
impl Primary for Behind {
    async fn try_append(&self, topic: &str, payloads: &[Bytes]) -> Result<Vec<Placement>, NotAppended> {
        self.0.append(topic, payloads.to_vec()).await.map_err(NotAppended::perhaps)
    }

    async fn forwarder(&self, _spool: &str, topic: &str) -> Result<Box<dyn Forwarder>, LogError> {
        panic!("topic {topic} was spooled although its log works")
    }
}

struct Spooled {
    folder: TempDir,
    log: Option<Arc<SpooledLog>>,
    topics: AtomicUsize,
}

impl Spooled {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Some(open(&folder).await);
        Self { folder, log, topics: AtomicUsize::new(0) }
    }
}

async fn open(folder: &TempDir) -> Arc<SpooledLog> {
    let clock = Clock::system();
    let behind = loop {
        match EmbeddedLog::open(EmbeddedOptions::new(folder.path().join("log")), clock.clone()) {
            // The one before lets go of its folders when its last task has ended.
            Err(LogError::InUse { .. }) => tokio::task::yield_now().await,
            outcome => break outcome.unwrap(),
        }
    };
    for topic in TOPICS {
        behind.create_topic(topic).await.unwrap();
    }
    let (behind, topics) = (Arc::new(Behind(behind)), TOPICS.map(str::to_owned));
    let options = SpoolOptions { folder: folder.path().join("spool"), bytes_max: 100_000_000 };
    loop {
        match SpooledLog::open(options.clone(), &topics, Arc::clone(&behind) as _, clock.clone()).await {
            Err(LogError::InUse { .. }) => tokio::task::yield_now().await,
            outcome => return Arc::new(outcome.unwrap()),
        }
    }
}

#[async_trait]
impl Subject for Spooled {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone().unwrap()
    }

    async fn new_topic(&self) -> String {
        TOPICS[self.topics.fetch_add(1, Ordering::Relaxed)].to_owned()
    }

    async fn reopen(&mut self) {
        drop(self.log.take());
        self.log = Some(open(&self.folder).await);
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
                conformance::$promise(&Spooled::new().await).await;
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
    conformance::a_reopened_log_has_everything(&mut Spooled::new().await).await;
}
