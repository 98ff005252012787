use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use event::{Offset, PartitionId, Positions};
use eventlog::{Consumer, EventLog, Polled};
use eventlog_kafka::KafkaLog;

use crate::cluster::{POLL_WAIT, brokers, connect, new_topic, until};

const PARTITIONS: u32 = 8;

/// Where the group's work stands: what a table would hold.
type Shared = Arc<std::sync::Mutex<Landed>>;

#[derive(Default)]
struct Landed {
    next: BTreeMap<PartitionId, Offset>,
    owners: BTreeMap<PartitionId, usize>,
    events: BTreeMap<(PartitionId, Offset), Vec<u8>>,
}

/// One member that works until told to stop: starts where the shared state is, lands at once.
struct Member {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
    assigned: mpsc::Receiver<Vec<PartitionId>>,
}

impl Member {
    fn join(log: &Arc<KafkaLog>, topic: &str, number: usize, landed: &Shared) -> Self {
        let mut consumer = log.consumer(topic, &format!("group-of-{topic}")).unwrap();
        let (stop, landed) = (Arc::new(AtomicBool::new(false)), landed.clone());
        let (tell, assigned) = mpsc::channel();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                work(&mut *consumer, number, &landed, &tell);
            }
            let mut landed = landed.lock().unwrap();
            landed.owners.retain(|_, owner| *owner != number);
        });
        Self { stop, thread, assigned }
    }

    fn leave(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn work(consumer: &mut dyn Consumer, number: usize, landed: &Shared, tell: &mpsc::Sender<Vec<PartitionId>>) {
    match consumer.poll(POLL_WAIT).unwrap() {
        Polled::Nothing => {}
        Polled::Assigned(partitions) => {
            let positions: Positions = {
                let mut landed = landed.lock().unwrap();
                for partition in &partitions {
                    let before = landed.owners.insert(*partition, number);
                    assert_eq!(before, None, "{partition} was assigned before its owner released it");
                }
                let next = |p: &PartitionId| landed.next.get(p).copied().unwrap_or(Offset::ZERO);
                partitions.iter().map(|p| (*p, next(p))).collect()
            };
            consumer.start(&positions).unwrap();
            let _ = tell.send(partitions);
        }
        Polled::Revoked { partitions, lost } => {
            assert!(!lost, "nothing took so long that the group gave it away");
            landed.lock().unwrap().owners.retain(|partition, _| !partitions.contains(partition));
            consumer.release(&partitions).unwrap();
        }
        Polled::Fetched(fetched) => {
            let mut landed = landed.lock().unwrap();
            assert_eq!(landed.owners.get(&fetched.partition), Some(&number), "only its owner gets records");
            let next = landed.next.get(&fetched.partition).copied().unwrap_or(Offset::ZERO);
            assert_eq!(fetched.range.start(), next, "it goes on where the group has come to");
            landed.next.insert(fetched.partition, fetched.range.end());
            for record in fetched.records.iter() {
                let place = (fetched.partition, record.offset);
                let doubled = landed.events.insert(place, record.payload.unwrap().to_vec());
                assert_eq!(doubled, None, "{place:?} came twice");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_hand_partitions_over_without_losing_or_doubling_a_record() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, i32::try_from(PARTITIONS).unwrap(), &[]).await;
    let log = connect(&brokers);
    let appending = Arc::new(AtomicBool::new(true));
    let appender = tokio::spawn(append_while(log.clone(), topic.clone(), appending.clone()));
    let landed = Shared::default();

    let first = Member::join(&log, &topic, 1, &landed);
    assert_eq!(first.assigned.recv().unwrap().len(), PARTITIONS as usize, "alone it owns everything");
    let second = Member::join(&log, &topic, 2, &landed);
    let taken: BTreeSet<PartitionId> = second.assigned.recv().unwrap().into_iter().collect();
    assert_eq!(taken.len(), PARTITIONS as usize / 2, "two share evenly");
    wait_for_progress(&landed);
    let third = Member::join(&log, &topic, 3, &landed);
    third.assigned.recv().unwrap();
    wait_for_progress(&landed);
    first.leave();
    wait_for_progress(&landed);
    second.leave();

    // All of it is the third one's in the end.
    until("the last member to own everything", || {
        let owners = &landed.lock().unwrap().owners;
        (owners.len() == PARTITIONS as usize && owners.values().all(|owner| *owner == 3)).then_some(())
    });
    appending.store(false, Ordering::Relaxed);
    let expected = appender.await.unwrap();
    until("every event", || (landed.lock().unwrap().events.len() >= expected.len()).then_some(()));
    third.leave();
    assert_eq!(landed.lock().unwrap().events, expected);
}

/// Waits until every partition that has an owner has moved on.
fn wait_for_progress(landed: &Shared) {
    let before = landed.lock().unwrap().next.clone();
    until("progress of all partitions", || {
        let landed = landed.lock().unwrap();
        let moved = (0..PARTITIONS).map(PartitionId).all(|p| landed.next.get(&p) > before.get(&p));
        moved.then_some(())
    });
}

async fn append_while(
    log: Arc<KafkaLog>,
    topic: String,
    appending: Arc<AtomicBool>,
) -> BTreeMap<(PartitionId, Offset), Vec<u8>> {
    let mut appended = BTreeMap::new();
    let mut count = 0;
    while appending.load(Ordering::Relaxed) {
        let payloads: Vec<Bytes> = (0..20).map(|event| Bytes::from(format!("{count}-{event}"))).collect();
        count += 1;
        let placements = log.append(&topic, payloads.clone()).await.unwrap();
        for (placement, payload) in placements.iter().zip(&payloads) {
            appended.insert((placement.partition, placement.offset), payload.to_vec());
        }
    }
    appended
}

#[tokio::test(flavor = "multi_thread")]
async fn the_position_kafka_keeps_for_the_group_is_never_used() {
    let Some(brokers) = brokers() else { return };
    let topic = new_topic(&brokers, 1, &[]).await;
    let log = connect(&brokers);
    for event in 0..10 {
        log.append(&topic, vec![Bytes::from(format!("{event}"))]).await.unwrap();
    }
    let group = format!("group-of-{topic}");
    for from in [0_u64, 7, 3] {
        let mut consumer = log.consumer(&topic, &group).unwrap();
        until("an assignment", || match consumer.poll(POLL_WAIT).unwrap() {
            Polled::Assigned(_) => Some(()),
            _ => None,
        });
        let partition = PartitionId(0);
        consumer.start(&Positions::from_iter([(partition, Offset(from))])).unwrap();
        let fetched = until("records", || match consumer.poll(POLL_WAIT).unwrap() {
            Polled::Fetched(fetched) => Some(fetched),
            _ => None,
        });
        assert_eq!(fetched.range.start(), Offset(from));
        // The group is told something else each time; the next member must not care.
        consumer.advise(&Positions::from_iter([(partition, Offset(5))]));
    }
}
