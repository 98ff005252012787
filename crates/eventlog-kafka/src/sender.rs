//! Appending: all events of a request are handed over, then all verdicts are awaited at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use event::{Clock, Offset, PartitionId, limits};
use eventlog::spool::NotAppended;
use eventlog::{LogError, Placement};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::{Semaphore, oneshot};

use crate::context::Context;
use crate::error::log_error;
use crate::native::{NativeError, is_certainly_not_written};
use crate::options::KafkaOptions;
use crate::partition::{native_partition, offset, partition_id};

/// What librdkafka keeps beside an event's bytes, about.
const EVENT_OVERHEAD_BYTES: usize = 128;
/// Events handed over before others get a turn on the thread.
const EVENTS_PER_TURN: usize = 1_000;
/// Time that what was handed over gets to arrive when the log is dropped.
const FLUSH_WAIT: Duration = Duration::from_secs(5);

/// A producer that tells each request its verdicts, on a thread of its own.
pub type EventProducer = ThreadedProducer<SendContext>;

/// The one producer of a log.
pub struct Sender {
    options: KafkaOptions,
    clock: Clock,
    /// Made anew when librdkafka declares it dead.
    producer: RwLock<Arc<EventProducer>>,
    in_flight_bytes: Semaphore,
    appends: AtomicUsize,
}

impl Sender {
    /// Makes the producer. Connects in the background.
    ///
    /// # Errors
    /// [`LogError::Settings`] when librdkafka refuses its properties.
    pub fn new(options: KafkaOptions, clock: Clock) -> Result<Self, LogError> {
        let producer = RwLock::new(Arc::new(make_producer(&options)?));
        let in_flight_bytes = Semaphore::new(limits::KAFKA_IN_FLIGHT_BYTES_MAX);
        Ok(Self { options, clock, producer, in_flight_bytes, appends: AtomicUsize::new(0) })
    }

    /// Sends `payloads` to one of `partition_count` partitions, and waits for every verdict.
    ///
    /// # Errors
    /// As `Primary::try_append`.
    pub async fn append(
        &self,
        topic: &str,
        partition_count: u32,
        payloads: &[Bytes],
    ) -> Result<Vec<Placement>, NotAppended> {
        let bytes: usize = payloads.iter().map(|payload| payload.len() + EVENT_OVERHEAD_BYTES).sum();
        let share = u32::try_from(bytes.min(limits::KAFKA_IN_FLIGHT_BYTES_MAX));
        let share = share.expect("a limit below 4 GiB bounds it");
        let share = self.in_flight_bytes.acquire_many(share).await;
        let _share = share.map_err(|_| NotAppended::nothing(self.gone()))?;
        let producer = self.producer();
        let (request, verdicts) = Request::new(payloads.len());
        self.hand_over(&producer, topic, self.next_partition(partition_count), payloads, &request).await;
        verdicts.await.map_err(|_| NotAppended::perhaps(self.gone()))?;
        request.outcome().map_err(|Failure { error, nothing_taken }| {
            self.replace_if_dead(&producer);
            let error = log_error(&self.options.place(), topic, &producer.context().explain(error));
            NotAppended { error, nothing_taken }
        })
    }

    async fn hand_over(
        &self,
        producer: &EventProducer,
        topic: &str,
        partition: PartitionId,
        payloads: &[Bytes],
        request: &Arc<Request>,
    ) {
        let now = self.clock.now().0.div_euclid(1_000);
        for (index, payload) in payloads.iter().enumerate() {
            if index % EVENTS_PER_TURN == EVENTS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            let place = Place { topic, partition, timestamp_millis: now };
            if let Err(error) = send(producer, &place, payload, request, index) {
                request.settle_rest(payloads.len() - index, &error);
                return;
            }
        }
    }

    fn next_partition(&self, partition_count: u32) -> PartitionId {
        let turn = self.appends.fetch_add(1, Ordering::Relaxed);
        let turn = turn.checked_rem(partition_count as usize).unwrap_or(0);
        PartitionId(u32::try_from(turn).expect("a remainder of the partition count fits as it does"))
    }

    fn producer(&self) -> Arc<EventProducer> {
        Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A fatal error (a broken sequence of the idempotent producer) ends a producer for good.
    fn replace_if_dead(&self, dead: &Arc<EventProducer>) {
        let Some((_, reason)) = dead.client().fatal_error() else { return };
        let mut current = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, dead) {
            return;
        }
        match make_producer(&self.options) {
            Ok(producer) => {
                tracing::warn!(reason, "the producer of Kafka has failed for good, going on with a new one");
                *current = Arc::new(producer);
            }
            Err(error) => tracing::error!(%error, "no new producer of Kafka could be made"),
        }
    }

    fn gone(&self) -> LogError {
        LogError::Unavailable { place: self.options.place(), reason: "the producer has ended".to_owned() }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Err(error) = self.producer().flush(FLUSH_WAIT) {
            tracing::warn!(%error, "events handed to Kafka without an answer may be lost");
        }
    }
}

fn make_producer(options: &KafkaOptions) -> Result<EventProducer, LogError> {
    let made = options.producer().create_with_context(SendContext::default());
    made.map_err(|error| options.bad_property(&error))
}

/// Where an event goes, and when it was taken.
pub struct Place<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: PartitionId,
    /// Milliseconds since 1970.
    pub timestamp_millis: i64,
}

/// Hands one event to the producer; its verdict comes to `request`.
///
/// # Errors
/// When it was not handed over. Then `request` hears nothing of it.
pub fn send(
    producer: &EventProducer,
    place: &Place<'_>,
    payload: &[u8],
    request: &Arc<Request>,
    index: usize,
) -> Result<(), KafkaError> {
    let delivery = Box::new(Delivery { request: Arc::clone(request), index });
    let record: BaseRecord<'_, (), [u8], Box<Delivery>> = BaseRecord::with_opaque_to(place.topic, delivery)
        .partition(native_partition(place.partition))
        .payload(payload)
        .timestamp(place.timestamp_millis);
    producer.send(record).map_err(|(error, _)| error)
}

const _: () =
    assert!(limits::KAFKA_IN_FLIGHT_BYTES_MAX < u32::MAX as usize, "a semaphore gives out 32 bits at once");

/// Events of one append on their way.
pub struct Request {
    waiting: AtomicUsize,
    result: Mutex<RequestResult>,
}

struct RequestResult {
    placements: Vec<Placement>,
    error: Option<NativeError>,
    /// Whether every event that has its verdict is certain never to be seen.
    nothing_taken: bool,
    done: Option<oneshot::Sender<()>>,
}

/// Why events have not all arrived.
#[derive(Debug)]
pub struct Failure {
    /// The first reason.
    pub error: NativeError,
    /// Whether none of them has, for certain.
    pub nothing_taken: bool,
}

impl Request {
    /// A request of `count` events, and its completion.
    pub fn new(count: usize) -> (Arc<Self>, oneshot::Receiver<()>) {
        let (done, verdicts) = oneshot::channel();
        let nowhere = Placement { partition: PartitionId(0), offset: Offset::ZERO };
        let result = RequestResult {
            placements: vec![nowhere; count],
            error: None,
            nothing_taken: true,
            done: Some(done),
        };
        (Arc::new(Self { waiting: AtomicUsize::new(count), result: Mutex::new(result) }), verdicts)
    }

    fn settle(&self, index: usize, verdict: Result<Placement, Failure>) {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Ok(placement) => {
                result.placements[index] = placement;
                result.nothing_taken = false;
            }
            Err(failure) => {
                result.error.get_or_insert(failure.error);
                result.nothing_taken &= failure.nothing_taken;
            }
        }
        self.count_down(1, &mut result);
    }

    /// The last `count` events were not handed over.
    pub fn settle_rest(&self, count: usize, error: &KafkaError) {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        result.error.get_or_insert(NativeError { code, reason: error.to_string() });
        self.count_down(count, &mut result);
    }

    fn count_down(&self, count: usize, result: &mut RequestResult) {
        if self.waiting.fetch_sub(count, Ordering::AcqRel) == count
            && let Some(done) = result.done.take()
        {
            // Whoever asked may have gone away.
            let _ = done.send(());
        }
    }

    /// The place of each event, once all verdicts are there.
    ///
    /// # Errors
    /// When not every event is known to be durable.
    pub fn outcome(&self) -> Result<Vec<Placement>, Failure> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        match result.error.take() {
            Some(error) => Err(Failure { error, nothing_taken: result.nothing_taken }),
            None => Ok(std::mem::take(&mut result.placements)),
        }
    }
}

/// One event on its way.
pub struct Delivery {
    request: Arc<Request>,
    index: usize,
}

/// Hands verdicts to the requests they belong to.
#[derive(Default)]
pub struct SendContext(Context);

impl SendContext {
    /// As [`Context::explain`].
    pub fn explain(&self, error: NativeError) -> NativeError {
        self.0.explain(error)
    }
}

impl ClientContext for SendContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext for SendContext {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Self::DeliveryOpaque) {
        let verdict = match result {
            Ok(message) => match offset(message.offset()) {
                Some(offset) => Ok(Placement { partition: partition_id(message.partition()), offset }),
                // A retry whose first attempt had arrived is durable, but nobody says where.
                None => Err(Failure {
                    error: NativeError {
                        code: RDKafkaErrorCode::Fail,
                        reason: "an event was written, but its place is unknown".to_owned(),
                    },
                    nothing_taken: false,
                }),
            },
            Err((error, message)) => {
                Err(Failure { error: error.clone().into(), nothing_taken: is_certainly_not_written(message) })
            }
        };
        delivery.request.settle(delivery.index, verdict);
    }
}
