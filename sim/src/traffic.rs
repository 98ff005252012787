//! Clients, collectors, and a producer of somebody else's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use collector::{Collector, CollectorOptions, StreamRoute};
use event::StreamName;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tower::ServiceExt as _;

use crate::auditor::{Auditor, STREAM};
use crate::clock::clock;
use crate::events::{EventKey, Producer, poison};
use crate::executor::{ProcessId, WORLD};
use crate::loaders::{Machine, Running, Site};

/// Attempts of a client with one request.
const ATTEMPTS_MAX: u32 = 4;

/// A collector's open door, and the process behind it.
#[derive(Debug, Clone)]
pub struct Door {
    process: ProcessId,
    router: Router,
}

/// The doors of all collectors that run. Clones are the same list.
pub type Doors = Arc<std::sync::Mutex<Vec<Door>>>;

fn lock(doors: &Doors) -> std::sync::MutexGuard<'_, Vec<Door>> {
    doors.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Site {
    /// Keeps a collector running on `machine`, for ever.
    pub(crate) async fn collect(self, machine: Machine, doors: Doors) {
        loop {
            let process = self.executor.start_process(&machine.name);
            let collector = self.collector(process, &machine);
            let (wishes, mut wished) = mpsc::unbounded_channel();
            machine.set_running(Some(Running { process, wishes }));
            lock(&doors).push(Door { process, router: collector.router() });
            let executor = self.executor.clone();
            self.executor.spawn(process, async move {
                if wished.recv().await.is_some() {
                    collector.stop_accepting();
                    collector.drained().await;
                    executor.kill(process, "drained");
                }
            });
            self.executor.ended(process).await;
            machine.set_running(None);
            lock(&doors).retain(|door| door.process != process);
            let pause = self.executor.draw(|chance| chance.within(10..3_000));
            self.executor.sleep(Duration::from_millis(pause)).await;
        }
    }

    fn collector(&self, process: ProcessId, machine: &Machine) -> Arc<Collector> {
        let name = StreamName::new(STREAM).expect("the name keeps to the rules");
        let options = CollectorOptions {
            streams: vec![StreamRoute::new(name.clone())],
            default_stream: name,
            limits: collector::CollectorLimits::default(),
        };
        let log = self.log.client(process, &self.log_network);
        Collector::new(options, log, clock(&self.executor, process, &machine.wall))
    }

    /// A client that sends its requests, each until it is acknowledged or it gives up.
    pub(crate) async fn send(self, name: String, doors: Doors, auditor: Auditor) {
        let mut producer = Producer::new(&name);
        for _ in 0..self.scenario.request_count {
            let pause = self.executor.draw(|chance| chance.below(4_000));
            self.executor.sleep(Duration::from_millis(pause)).await;
            let batch = Batch::draw(&self, &mut producer);
            for _ in 0..ATTEMPTS_MAX {
                if self.attempt(&batch, &doors, &auditor).await {
                    break;
                }
                let pause = self.executor.draw(|chance| chance.within(100..3_000));
                self.executor.sleep(Duration::from_millis(pause)).await;
            }
        }
    }

    /// Whether the request was acknowledged. Anything else leaves open what became of it.
    async fn attempt(&self, batch: &Batch, doors: &Doors, auditor: &Auditor) -> bool {
        let door = {
            let doors = lock(doors);
            if doors.is_empty() {
                None
            } else {
                Some(self.executor.draw(|chance| chance.one_of(&doors[..]).clone()))
            }
        };
        let Some(door) = door else { return false };
        let Some((status, answer)) = self.request(&door, batch).await else { return false };
        if status == StatusCode::OK {
            batch.check(&answer, auditor, &self.executor);
        }
        status == StatusCode::OK
    }

    /// One HTTP exchange; none when the connection was lost, by either side.
    async fn request(&self, door: &Door, batch: &Batch) -> Option<(StatusCode, Value)> {
        let request = Request::post(format!("/events/{STREAM}"))
            .header("content-type", "application/x-ndjson")
            .body(self.body(batch))
            .expect("the request is well formed");
        let (answer, answered) = oneshot::channel();
        let router = door.router.clone();
        let gives_up = self.executor.draw(|chance| chance.is_lucky(100).then(|| chance.within(1..2_000)));
        let patience = gives_up.map_or(Duration::from_secs(120), Duration::from_millis);
        let sleep = self.executor.sleep(patience);
        // The connection is the collector's: when the client hangs up, the server drops it.
        self.executor.spawn(door.process, async move {
            tokio::select! {
                biased;
                response = router.oneshot(request) => {
                    let Ok(response) = response;
                    let status = response.status();
                    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
                    let _ = answer.send((status, body));
                }
                () = sleep => {}
            }
        });
        let (status, body) = answered.await.ok()?;
        self.executor.trace(door.process, || format!("answers {status}"));
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// The body whole, or in pieces with pauses between them.
    fn body(&self, batch: &Batch) -> Body {
        let bytes = batch.bytes.clone();
        let cut = self.executor.draw(|chance| {
            let at = chance.below(bytes.len() as u64 + 1);
            chance.is_lucky(200).then(|| (usize::try_from(at).unwrap_or(0), chance.below(2_000)))
        });
        let Some((at, pause)) = cut else { return Body::from(bytes) };
        let sleep = self.executor.sleep(Duration::from_millis(pause));
        let (first, second) = (bytes.slice(..at), bytes.slice(at..));
        let second = async move {
            sleep.await;
            Ok::<_, std::io::Error>(second)
        };
        let pieces = futures::stream::once(async move { Ok(first) });
        Body::from_stream(futures::StreamExt::chain(pieces, futures::stream::once(second)))
    }

    /// Appends of a producer that is none of ours: events, poison and tombstones.
    pub(crate) async fn produce(self) {
        let mut producer = Producer::new("foreign");
        for _ in 0..self.scenario.foreign_append_count {
            let pause = self.executor.draw(|chance| chance.below(3_000));
            self.executor.sleep(Duration::from_millis(pause)).await;
            let payloads: Vec<Option<Bytes>> = self.executor.draw(|chance| {
                let only_poison = chance.is_lucky(150);
                let mut payload = |chance: &mut crate::chance::Chance| match chance.below(10) {
                    0 | 1 => Some(poison(chance)),
                    2 => None,
                    _ if only_poison => Some(poison(chance)),
                    _ => Some(producer.event(chance).1),
                };
                (0..chance.within(1..20)).map(|_| payload(chance)).collect()
            });
            self.executor.trace(WORLD, || format!("foreign producer appends {}", payloads.len()));
            self.log.append(STREAM, &payloads).expect("the topic exists");
        }
    }
}

/// The events of one request.
struct Batch {
    bytes: Bytes,
    keys: Vec<EventKey>,
    /// Lines that are no events.
    broken: BTreeSet<usize>,
}

impl Batch {
    fn draw(site: &Site, producer: &mut Producer) -> Self {
        site.executor.draw(|chance| {
            let (mut bytes, mut keys, mut broken) = (Vec::new(), Vec::new(), BTreeSet::new());
            for line in 0..usize::try_from(chance.within(1..12)).unwrap_or(1) {
                if chance.is_lucky(50) {
                    bytes.extend_from_slice(b"{\"broken\":\n");
                    broken.insert(line);
                    continue;
                }
                let (key, event) = producer.event(chance);
                bytes.extend_from_slice(&event);
                bytes.push(b'\n');
                keys.push(key);
            }
            Self { bytes: bytes.into(), keys, broken }
        })
    }

    /// What was acknowledged is what was whole, and it is in the log.
    fn check(&self, answer: &Value, auditor: &Auditor, executor: &crate::executor::Executor) {
        let rejected: BTreeSet<usize> = answer["rejected"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|rejection| rejection["index"].as_u64().and_then(|index| usize::try_from(index).ok()))
            .collect();
        if rejected != self.broken || answer["accepted"].as_u64() != Some(self.keys.len() as u64) {
            executor.fail(format!("I9 acknowledged is durable: {answer} for {} events", self.keys.len()));
        }
        auditor.acknowledged(&self.keys, answer["receipt"].as_str().unwrap_or_default());
    }
}
