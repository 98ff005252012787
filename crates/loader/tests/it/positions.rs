//! Positions that no longer fit the log, and partitions that come and go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use event::{ErrorKind, LogId, Offset, OffsetRange, OffsetRanges, PartitionId, Positions, RecordsBuilder};
use eventlog::{Ahead, Consumer, EventLog, Fetched, LogError, Placement, Polled, TopicDescription};
use loader::gap::{self, GapError};
use loader::progress::LoaderState;
use loader::{Control, LoadError};

use crate::world::{TOPIC, World, values};

const P0: PartitionId = PartitionId(0);
const P1: PartitionId = PartitionId(1);

/// A log that says other things of itself than are true, or whose group does what a test wants.
#[derive(Debug)]
struct StagedLog {
    inner: Arc<dyn EventLog>,
    /// First retained offsets.
    firsts: Mutex<BTreeMap<PartitionId, Offset>>,
    /// What the topic is when only that is asked.
    identity: Mutex<Option<LogId>>,
    /// The only consumer.
    consumer: Mutex<Option<Box<dyn Consumer>>>,
}

impl StagedLog {
    fn on(world: &World) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(&world.log),
            firsts: Mutex::default(),
            identity: Mutex::default(),
            consumer: Mutex::default(),
        })
    }
}

#[async_trait]
impl EventLog for StagedLog {
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        let mut described = self.inner.describe(topic).await?;
        for (partition, first) in self.firsts.lock().unwrap().iter() {
            let end = described.partitions[partition].end();
            described.partitions.insert(*partition, OffsetRange::new(*first, end));
        }
        Ok(described)
    }

    async fn identity(&self, topic: &str) -> Result<LogId, LogError> {
        let staged = self.identity.lock().unwrap().clone();
        match staged {
            Some(id) => Ok(id),
            None => self.inner.identity(topic).await,
        }
    }

    async fn append(&self, topic: &str, payloads: Vec<Bytes>) -> Result<Vec<Placement>, LogError> {
        self.inner.append(topic, payloads).await
    }

    async fn read(&self, topic: &str, from: &Positions, bytes_max: usize) -> Result<Ahead, LogError> {
        self.inner.read(topic, from, bytes_max).await
    }

    fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn Consumer>, LogError> {
        match self.consumer.lock().unwrap().take() {
            Some(consumer) => Ok(consumer),
            None => self.inner.consumer(topic, group),
        }
    }

    async fn landed(&self, topic: &str, landed: &Positions) -> Result<(), LogError> {
        self.inner.landed(topic, landed).await
    }
}

/// Appends until each of the two partitions has some events.
async fn fill(world: &World) -> u64 {
    let mut count = 0;
    while world.end().await.iter().any(|(_, end)| end < Offset(3)) {
        world.append(&[&format!(r#"{{"n":"{count:04}"}}"#)]).await;
        count += 1;
    }
    count
}

async fn caught_up(world: &World, log: &Arc<StagedLog>) -> Result<(), LoadError> {
    let control = Control::new();
    control.finish_at(world.end().await);
    world.loader_reading(log.clone()).run(&control).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_gap_stops_the_loader_until_a_person_accepts_exactly_that_gap() {
    let world = World::new().await;
    let log = StagedLog::on(&world);
    caught_up(&world, &log).await.unwrap();
    let count = fill(&world).await;
    log.firsts.lock().unwrap().insert(P1, Offset(2));

    let loader = world.loader_reading(log.clone());
    let progress = loader.progress();
    let stopped = loader.run(&Control::new()).await.unwrap_err();
    let gap = |start, end| OffsetRange::new(Offset(start), Offset(end));
    let missing: OffsetRanges = [(P1, gap(0, 2))].into_iter().collect();
    assert!(matches!(&stopped, LoadError::Expired { gaps, .. } if *gaps == missing), "{stopped}");
    assert!(stopped.kind() == ErrorKind::Data && stopped.is_about_positions());
    let LoaderState::Halted(told) = progress.borrow().state.clone() else { panic!("it must say so") };
    assert!(told.contains("laker gap accept logs 1:0-2"), "{told}");
    assert!(world.rows("logs", "n").await.is_empty(), "nothing was skipped");

    let main = world.table("logs");
    for wrong in
        [(P1, gap(0, 1)), (P1, gap(0, 3)), (P1, gap(1, 2)), (P0, gap(0, 1)), (PartitionId(7), gap(0, 2))]
    {
        let gaps = [wrong].into_iter().collect();
        let refused = gap::accept(&gaps, &*log, TOPIC, &*main, &world.clock).await.unwrap_err();
        assert!(matches!(&refused, GapError::NotMissing { named, .. } if *named == wrong.1), "{refused}");
    }
    let state = gap::accept(&missing, &*log, TOPIC, &*main, &world.clock).await.unwrap();
    assert_eq!(state.positions.get(P1), Some(Offset(2)));
    gap::accept(&missing, &*log, TOPIC, &*main, &world.clock).await.expect_err("it is not missing any more");

    caught_up(&world, &log).await.unwrap();
    let rows = world.rows("logs", "n").await;
    assert_eq!(rows.len() as u64, count - 2);
    assert!(rows.iter().all(|(partition, offset, _)| *partition != 1 || *offset >= 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_nothing_lands_once_the_topic_is_another_one() {
    let world = World::new().await;
    let log = StagedLog::on(&world);
    fill(&world).await;
    // It was the old one when the loader began.
    *log.identity.lock().unwrap() = Some(LogId::new("embedded:made:anew"));
    let stopped = caught_up(&world, &log).await.unwrap_err();
    assert!(matches!(&stopped, LoadError::OtherLog { expected, .. } if expected == "embedded:made:anew"));
    assert!(stopped.is_about_positions(), "{stopped}");
    assert!(world.rows("logs", "n").await.is_empty() && world.rows("logs__dead", "reason").await.is_empty());
}

/// What a scripted consumer does next.
enum Step {
    Say(Polled),
    /// Waits until the partition has been started.
    Started(PartitionId),
}

/// Says what is in its script, and notes what it was asked for.
struct ScriptedConsumer {
    script: VecDeque<Step>,
    started: BTreeSet<PartitionId>,
    starts: Arc<Mutex<Vec<Positions>>>,
}

impl std::fmt::Debug for ScriptedConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptedConsumer")
    }
}

impl Consumer for ScriptedConsumer {
    fn poll(&mut self, _wait: Duration) -> Result<Polled, LogError> {
        while let Some(Step::Started(partition)) = self.script.front() {
            if !self.started.contains(partition) {
                return Ok(Polled::Nothing);
            }
            self.script.pop_front();
        }
        let Some(Step::Say(polled)) = self.script.pop_front() else { return Ok(Polled::Nothing) };
        if let Polled::Revoked { partitions, .. } = &polled {
            self.started.retain(|partition| !partitions.contains(partition));
        }
        Ok(polled)
    }

    fn start(&mut self, positions: &Positions) -> Result<(), LogError> {
        self.started.extend(positions.iter().map(|(partition, _)| partition));
        self.starts.lock().unwrap().push(positions.clone());
        Ok(())
    }

    fn pause(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn resume(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn release(&mut self, _partitions: &[PartitionId]) -> Result<(), LogError> {
        Ok(())
    }

    fn advise(&mut self, _landed: &Positions) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_stay_keep_what_was_read_of_them_when_others_are_lost() {
    let world = World::new().await;
    let count = fill(&world).await;
    let zero = Positions::from_iter([(P0, Offset::ZERO), (P1, Offset::ZERO)]);
    let ahead = world.log.read(TOPIC, &zero, usize::MAX).await.unwrap();
    let fetched =
        |partition, range, records| Step::Say(Polled::Fetched(Fetched { partition, range, records }));
    let second = Offset(1);
    let first_of = |partition| {
        let record = ahead.partitions[&partition].1.get(0).unwrap();
        let mut first = RecordsBuilder::new();
        first.push(record.offset, record.received_at, record.payload);
        fetched(partition, OffsetRange::new(Offset::ZERO, second), first.finish())
    };
    let (range, records) = &ahead.partitions[&P0];
    let rest = fetched(P0, OffsetRange::new(second, range.end()), records.from_offset(second));
    let (range, records) = &ahead.partitions[&P1];
    // Neither is read to its end before the other is lost, so that nothing lands before.
    let script = [
        Step::Say(Polled::Assigned(vec![P0, P1])),
        Step::Started(P0),
        first_of(P0),
        first_of(P1),
        Step::Say(Polled::Revoked { partitions: vec![P1], lost: true }),
        Step::Say(Polled::Assigned(vec![P1])),
        Step::Started(P1),
        rest,
        fetched(P1, *range, records.clone()),
    ];
    let starts = Arc::new(Mutex::new(Vec::new()));
    let consumer =
        ScriptedConsumer { script: script.into(), started: BTreeSet::new(), starts: starts.clone() };
    let log = StagedLog::on(&world);
    *log.consumer.lock().unwrap() = Some(Box::new(consumer));
    caught_up(&world, &log).await.unwrap();
    let rows = world.rows("logs", "n").await;
    assert_eq!(values(&rows).into_iter().collect::<BTreeSet<_>>().len() as u64, count, "each event");
    assert_eq!(rows.len() as u64, count, "once");
    let expected = [zero, Positions::from_iter([(P1, Offset::ZERO)])];
    assert_eq!(*starts.lock().unwrap(), expected, "the one that stays is not read again");
}
