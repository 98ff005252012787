//! Each event comes from the spool into the log once and in order, whatever dies in between.
//!
//! The log is a list in memory that lives on while collectors die, goes away, loses answers, and shuts
//! out earlier forwarders as Kafka does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use event::{Clock, Offset, PartitionId, Positions, Records};
use eventlog::spool::{Forwarder, NotAppended, Primary, Route, SpoolOptions, look};
use eventlog::{Ahead, Consumer, EventLog, LogError, Placement, SpooledLog, Taken, TopicDescription};

const TOPIC: &str = "logs";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// What happens to a call to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    /// Nothing happens, and an error comes back.
    Fails,
    /// It happens, and an error comes back.
    AnswerLost,
}

#[derive(Debug, Default)]
struct Cluster(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    is_down: bool,
    /// Of ten calls, so many fail; of these, half after they have happened.
    failing_of_ten: u64,
    log: Vec<Bytes>,
    positions: BTreeMap<String, Offset>,
    generations: BTreeMap<String, u64>,
}

impl Cluster {
    fn set_down(&self, is_down: bool) {
        self.0.lock().unwrap().is_down = is_down;
    }

    fn fate(&self, clock: &Clock) -> Fate {
        let inside = self.0.lock().unwrap();
        match (inside.is_down, clock.random_below(10) < inside.failing_of_ten) {
            (true, _) => Fate::Fails,
            (false, true) if clock.random_below(2) == 0 => Fate::AnswerLost,
            (false, true) => Fate::Fails,
            (false, false) => Fate::Works,
        }
    }

    fn texts(&self) -> Vec<String> {
        let inside = self.0.lock().unwrap();
        inside.log.iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect()
    }
}

fn gone() -> LogError {
    LogError::Unavailable { place: "test".to_owned(), reason: "gone".to_owned() }
}

/// One collector's connection.
#[derive(Debug)]
struct Connection {
    cluster: Arc<Cluster>,
    clock: Clock,
}

#[async_trait]
impl EventLog for Connection {
    async fn describe(&self, _topic: &str) -> Result<TopicDescription, LogError> {
        Err(gone())
    }

    async fn append(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        self.try_append(topic, &payloads).await.map_err(|failure| failure.error)
    }

    async fn read(&self, _topic: &str, _from: &Positions, _bytes_max: usize) -> Result<Ahead, LogError> {
        Err(gone())
    }

    fn consumer(&self, _topic: &str, _group: &str) -> Result<Box<dyn Consumer>, LogError> {
        Err(gone())
    }

    async fn landed(&self, _topic: &str, _landed: &Positions) -> Result<(), LogError> {
        Ok(())
    }
}

#[async_trait]
impl Primary for Connection {
    async fn try_append(&self, _topic: &str, payloads: &[Bytes]) -> Result<Vec<Placement>, NotAppended> {
        tokio::task::yield_now().await;
        let fate = self.cluster.fate(&self.clock);
        if fate == Fate::Fails {
            return Err(NotAppended::nothing(gone()));
        }
        let mut inside = self.cluster.0.lock().unwrap();
        let first = inside.log.len() as u64;
        inside.log.extend_from_slice(payloads);
        if fate == Fate::AnswerLost {
            return Err(NotAppended::perhaps(gone()));
        }
        let place = |offset| Placement { partition: PartitionId(0), offset: Offset(offset) };
        Ok((first..).zip(payloads).map(|(offset, _)| place(offset)).collect())
    }

    async fn forwarder(&self, spool: &str, _topic: &str) -> Result<Box<dyn Forwarder>, LogError> {
        if self.cluster.fate(&self.clock) == Fate::Fails {
            return Err(gone());
        }
        let mut inside = self.cluster.0.lock().unwrap();
        let generation = inside.generations.entry(spool.to_owned()).or_default();
        *generation += 1;
        let (generation, position) = (*generation, inside.positions.get(spool).copied());
        let (cluster, clock) = (Arc::clone(&self.cluster), self.clock.clone());
        Ok(Box::new(FakeForwarder { cluster, clock, spool: spool.to_owned(), generation, position }))
    }
}

struct FakeForwarder {
    cluster: Arc<Cluster>,
    clock: Clock,
    spool: String,
    generation: u64,
    position: Option<Offset>,
}

#[async_trait]
impl Forwarder for FakeForwarder {
    fn position(&self) -> Option<Offset> {
        self.position
    }

    async fn forward(&mut self, records: &Records, next: Offset) -> Result<(), LogError> {
        tokio::task::yield_now().await;
        let fate = self.cluster.fate(&self.clock);
        let mut inside = self.cluster.0.lock().unwrap();
        if fate == Fate::Fails || inside.generations[&self.spool] != self.generation {
            return Err(gone());
        }
        inside.log.extend(records.iter().map(|record| Bytes::copy_from_slice(record.payload.unwrap())));
        inside.positions.insert(self.spool.clone(), next);
        if fate == Fate::AnswerLost { Err(gone()) } else { Ok(()) }
    }
}

async fn open(cluster: &Arc<Cluster>, folder: &Path) -> Arc<SpooledLog> {
    open_with(cluster, folder, 100_000_000).await
}

async fn open_with(cluster: &Arc<Cluster>, folder: &Path, bytes_max: u64) -> Arc<SpooledLog> {
    let clock = Clock::system();
    let primary = Arc::new(Connection { cluster: Arc::clone(cluster), clock: clock.clone() });
    let options = SpoolOptions { folder: folder.to_owned(), bytes_max };
    let topics = [TOPIC.to_owned()];
    // The process before has let go of the folder when its last task has ended.
    let opened = clock.timeout(PATIENCE, async {
        loop {
            match SpooledLog::open(options.clone(), &topics, Arc::clone(&primary) as _, clock.clone()).await {
                Err(LogError::InUse { .. }) => tokio::task::yield_now().await,
                outcome => return outcome.unwrap(),
            }
        }
    });
    Arc::new(opened.await.expect("the folder is let go of"))
}

async fn take(log: &SpooledLog, text: &str) -> Result<Taken, LogError> {
    log.take(TOPIC, vec![Bytes::copy_from_slice(text.as_bytes())]).await
}

fn route(log: &SpooledLog) -> Route {
    log.status()[TOPIC].route
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let looking = async {
        while !look() {
            tokio::task::yield_now().await;
        }
    };
    Clock::system().timeout(PATIENCE, looking).await.unwrap_or_else(|| panic!("waited in vain: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_log_works_nothing_is_spooled() {
    let (cluster, folder) = (Arc::new(Cluster::default()), tempfile::tempdir().unwrap());
    let log = open(&cluster, folder.path()).await;
    let taken = take(&log, "a").await.unwrap();
    assert_eq!(taken, Taken::InLog(vec![Placement { partition: PartitionId(0), offset: Offset(0) }]));
    assert_eq!(log.status()[TOPIC].waiting_events, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_on_disk_while_the_log_is_gone_and_come_into_it_in_order() {
    let (cluster, folder) = (Arc::new(Cluster::default()), tempfile::tempdir().unwrap());
    let log = open(&cluster, folder.path()).await;
    take(&log, "before").await.unwrap();
    cluster.set_down(true);
    let mut last = None;
    for number in 0..100 {
        let Taken::Spooled(spooled) = take(&log, &format!("{number:03}")).await.unwrap() else {
            panic!("event {number} cannot be in a log that is gone");
        };
        assert_eq!(spooled.range.start(), Offset(number));
        last = Some(spooled);
    }
    let last = last.unwrap();
    assert_eq!(log.is_forwarded(TOPIC, &last), Some(false));
    assert_eq!(cluster.texts(), ["before"]);
    cluster.set_down(false);
    until("the spool is empty", || route(&log) == Route::Direct).await;
    take(&log, "after").await.unwrap();
    let expected = std::iter::once("before".to_owned())
        .chain((0..100).map(|number| format!("{number:03}")))
        .chain(["after".to_owned()]);
    assert_eq!(cluster.texts(), expected.collect::<Vec<_>>());
    assert_eq!(log.is_forwarded(TOPIC, &last), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_there_after_a_restart_and_can_be_looked_at() {
    let (cluster, folder) = (Arc::new(Cluster::default()), tempfile::tempdir().unwrap());
    let options = SpoolOptions { folder: folder.path().join("spool"), bytes_max: 100_000_000 };
    assert!(look(&options, &Clock::system()).await.unwrap().is_empty());
    assert!(!options.folder.exists(), "looking makes nothing");
    cluster.set_down(true);
    let log = open(&cluster, &options.folder).await;
    take(&log, "a").await.unwrap();
    assert!(matches!(look(&options, &Clock::system()).await, Err(LogError::InUse { .. })));
    drop(log);
    let clock = Clock::system();
    let looked = clock.timeout(PATIENCE, async {
        loop {
            match look(&options, &clock).await {
                Err(LogError::InUse { .. }) => tokio::task::yield_now().await,
                outcome => return outcome.unwrap(),
            }
        }
    });
    assert_eq!(looked.await.expect("the folder is let go of")[TOPIC], 1);
    cluster.set_down(false);
    let log = open(&cluster, &options.folder).await;
    until("the spool is empty", || route(&log) == Route::Direct).await;
    assert_eq!(cluster.texts(), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_may_be_in_the_log_is_not_spooled() {
    let (cluster, folder) = (Arc::new(Cluster::default()), tempfile::tempdir().unwrap());
    let log = open(&cluster, folder.path()).await;
    cluster.0.lock().unwrap().failing_of_ten = 10;
    let mut refused = 0;
    let mut taken = Vec::new();
    for number in 0..50 {
        match take(&log, &format!("{number}")).await {
            Ok(_) => taken.push(format!("{number}")),
            Err(error) => {
                assert_eq!(error.kind(), event::ErrorKind::Unavailable, "{error}");
                refused += 1;
            }
        }
    }
    cluster.0.lock().unwrap().failing_of_ten = 0;
    until("the spool is empty", || route(&log) == Route::Direct).await;
    let mut found = cluster.texts();
    let count = found.len();
    found.dedup();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), count, "none is in the log twice");
    assert!(taken.iter().all(|text| found.contains(text)));
    assert_eq!(refused + taken.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_says_so_and_takes_again_when_it_has_drained() {
    let (cluster, folder) = (Arc::new(Cluster::default()), tempfile::tempdir().unwrap());
    let log = open_with(&cluster, folder.path(), 2_000_000).await;
    cluster.set_down(true);
    let event = "x".repeat(300_000);
    let mut taken = 0;
    let full = loop {
        match take(&log, &event).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 10, "ten are more than fit");
    };
    assert!(matches!(full, LogError::Full { .. }), "{full}");
    assert!(full.to_string().contains("spool_bytes"), "{full}");
    cluster.set_down(false);
    until("the spool is empty", || route(&log) == Route::Direct).await;
    assert_eq!(cluster.texts().len(), taken);
    cluster.set_down(true);
    take(&log, &event).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_say_how_far_it_had_come_it_waits_and_loses_nothing() {
    let (cluster, folder) = (Arc::new(Cluster::default()), tempfile::tempdir().unwrap());
    let log = open(&cluster, folder.path()).await;
    cluster.set_down(true);
    take(&log, "a").await.unwrap();
    drop(log);
    // As if forwarding had begun, and then Kafka had forgotten the group.
    std::fs::create_dir_all(folder.path().join("forwarding")).unwrap();
    std::fs::write(folder.path().join("forwarding").join(TOPIC), "").unwrap();
    cluster.set_down(false);
    let log = open(&cluster, folder.path()).await;
    let trouble = || log.status()[TOPIC].trouble.clone().unwrap_or_default();
    until("the trouble is said", || trouble().contains("no longer knows how far")).await;
    assert!(cluster.texts().is_empty());
    // A person says where to go on, by the group's offset.
    cluster.0.lock().unwrap().positions.insert(log.id().to_owned(), Offset(0));
    until("the spool is empty", || route(&log) == Route::Direct).await;
    assert_eq!(cluster.texts(), ["a"]);
}

/// Several senders, each sending one event after another; the log goes away, fails and loses answers,
/// and the collector dies at any moment, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_doubled_or_overtaken_whatever_dies() {
    const ROUNDS: u64 = 40;
    const SENDERS: u64 = 4;
    let (cluster, folder) = (Arc::new(Cluster::default()), tempfile::tempdir().unwrap());
    let clock = Clock::system();
    let acknowledged: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
    let mut spooled = 0;
    for round in 0..ROUNDS {
        cluster.set_down(clock.random_below(3) == 0);
        cluster.0.lock().unwrap().failing_of_ten = clock.random_below(4);
        let log = open(&cluster, folder.path()).await;
        let goal = acknowledged.lock().unwrap().len() + usize::try_from(clock.random_below(120)).unwrap();
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..SENDERS {
            let (log, acknowledged) = (Arc::clone(&log), Arc::clone(&acknowledged));
            senders.spawn(async move {
                for number in round * 1_000_000.. {
                    let text = format!("{sender} {number}");
                    // One that may have been taken is not sent again here: each number is sent once.
                    if take(&log, &text).await.is_ok() {
                        acknowledged.lock().unwrap().push((sender, number));
                    }
                }
            });
        }
        until("enough is acknowledged", || acknowledged.lock().unwrap().len() > goal).await;
        // What is under way breaks off wherever it stands, and so does the forwarder.
        senders.abort_all();
        while senders.join_next().await.is_some() {}
        spooled += log.status()[TOPIC].waiting_events;
    }
    cluster.set_down(false);
    cluster.0.lock().unwrap().failing_of_ten = 0;
    let log = open(&cluster, folder.path()).await;
    until("the spool is empty", || route(&log) == Route::Direct).await;
    assert!(spooled > 0, "nothing waited when a collector died");
    check(&cluster.texts(), &acknowledged.lock().unwrap());
}

fn check(found: &[String], acknowledged: &[(u64, u64)]) {
    let mut place: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (index, text) in found.iter().enumerate() {
        let (sender, number) = text.split_once(' ').unwrap();
        let before = place.insert((sender.parse().unwrap(), number.parse().unwrap()), index);
        assert_eq!(before, None, "{text} is in the log twice");
    }
    let mut last: BTreeMap<u64, usize> = BTreeMap::new();
    for (sender, number) in acknowledged {
        let at = *place.get(&(*sender, *number)).unwrap_or_else(|| panic!("{sender} {number} is lost"));
        let before = last.insert(*sender, at);
        assert!(before.is_none_or(|before| before < at), "{sender} {number} was overtaken");
    }
}
