//! The few calls of librdkafka that rust-rdkafka does not offer, each behind a safe type.
//! The only `unsafe` code of this crate.
//!
//! What is needed and missing there: the offset of a partition's end (rust-rdkafka hands on an event
//! without it), reading a partition without any group, a topic's id, leader epochs, and the high
//! watermark of what is fetched.

#![expect(unsafe_code, reason = "librdkafka is a C library; each block says why it is sound")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings::{
    rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new, rd_kafka_AdminOptions_set_request_timeout,
    rd_kafka_DescribeTopics, rd_kafka_DescribeTopics_result_topics, rd_kafka_TopicCollection_destroy,
    rd_kafka_TopicCollection_of_topic_names, rd_kafka_TopicDescription_error,
    rd_kafka_TopicDescription_partitions, rd_kafka_TopicDescription_t, rd_kafka_TopicDescription_topic_id,
    rd_kafka_TopicPartitionInfo_partition, rd_kafka_Uuid_least_significant_bits,
    rd_kafka_Uuid_most_significant_bits, rd_kafka_admin_op_t, rd_kafka_consume_queue,
    rd_kafka_consume_start_queue, rd_kafka_consume_stop, rd_kafka_error_code,
    rd_kafka_event_DescribeTopics_result, rd_kafka_event_destroy, rd_kafka_event_error,
    rd_kafka_event_error_string, rd_kafka_event_t, rd_kafka_get_watermark_offsets, rd_kafka_last_error,
    rd_kafka_message_destroy, rd_kafka_message_errstr, rd_kafka_message_leader_epoch,
    rd_kafka_message_status, rd_kafka_message_t, rd_kafka_message_timestamp, rd_kafka_msg_status_t,
    rd_kafka_queue_destroy, rd_kafka_queue_forward, rd_kafka_queue_get_partition, rd_kafka_queue_new,
    rd_kafka_queue_poll, rd_kafka_queue_t, rd_kafka_t, rd_kafka_timestamp_type_t, rd_kafka_topic_destroy,
    rd_kafka_topic_new, rd_kafka_topic_partition_list_find, rd_kafka_topic_partition_set_leader_epoch,
    rd_kafka_topic_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;

/// Space for librdkafka to write why something failed.
const REASON_BYTES: usize = 512;

/// Why a call failed, as librdkafka says it.
#[derive(Debug, Clone)]
pub struct NativeError {
    /// Its code.
    pub code: RDKafkaErrorCode,
    /// Its words.
    pub reason: String,
}

impl NativeError {
    fn new(code: RDKafkaRespErr) -> Self {
        let code = RDKafkaErrorCode::from(code);
        Self { code, reason: code.to_string() }
    }
}

fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

fn c_string(text: &str) -> Result<CString, NativeError> {
    CString::new(text).map_err(|_| NativeError::new(RDKafkaRespErr::RD_KAFKA_RESP_ERR__INVALID_ARG))
}

/// Whether no broker has, or ever will have, a message whose delivery has failed: it never left this
/// process, or a broker has refused it.
#[must_use]
pub fn is_certainly_not_written(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message is alive while it is borrowed, and is only looked at.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    status == rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

/// A queue of fetched messages, apart from the one that brings rebalances and errors.
pub struct FetchQueue<C: ConsumerContext + 'static> {
    queue: NonNull<rd_kafka_queue_t>,
    messages: Vec<*mut rd_kafka_message_t>,
    /// Lives as long as the queue, which belongs to it.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread, and `messages` is empty between calls.
unsafe impl<C: ConsumerContext> Send for FetchQueue<C> {}

impl<C: ConsumerContext> FetchQueue<C> {
    /// An empty queue of `consumer`, which hands out up to `batch_max` messages at once.
    ///
    /// # Panics
    /// When memory is exhausted.
    #[must_use]
    pub fn new(consumer: Arc<BaseConsumer<C>>, batch_max: usize) -> Self {
        // SAFETY: the client outlives the queue, which holds it.
        let queue = unsafe { rd_kafka_queue_new(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue).expect("librdkafka aborts rather than return no queue");
        Self { queue, messages: vec![ptr::null_mut(); batch_max], consumer }
    }

    /// Sends what is fetched of a partition to this queue, until its fetching is stopped. Messages
    /// that wait in the partition's own queue come along.
    ///
    /// # Panics
    /// When the topic's name has a zero byte: no topic's has.
    pub fn attach(&self, topic: &str, partition: i32) {
        let topic = c_string(topic).expect("a topic that was subscribed to has no zero byte in its name");
        // SAFETY: client and queue are alive; the partition's queue is released after it was forwarded,
        // which keeps it alive inside librdkafka.
        unsafe {
            let source =
                rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), topic.as_ptr(), partition);
            if !source.is_null() {
                rd_kafka_queue_forward(source, self.queue.as_ptr());
                rd_kafka_queue_destroy(source);
            }
        }
    }

    /// Waits up to `wait` for a message, then takes what else is there, at most `batch_max` in all.
    ///
    /// One by one: librdkafka's own batch call (`rd_kafka_consume_batch_queue`, up to 2.13.1) counts the
    /// notice of a partition's end as a record, so that a rebalance right after it skips the next one.
    pub fn take(&mut self, wait: Duration) -> Batch<'_> {
        let mut wait = millis(wait);
        let mut taken = 0;
        for place in &mut self.messages {
            // SAFETY: the queue is alive.
            *place = unsafe { rd_kafka_consume_queue(self.queue.as_ptr(), wait) };
            if place.is_null() {
                break;
            }
            wait = 0;
            taken += 1;
        }
        Batch(&mut self.messages[..taken])
    }
}

impl<C: ConsumerContext> Drop for FetchQueue<C> {
    fn drop(&mut self) {
        // SAFETY: it was made by `rd_kafka_queue_new` and is destroyed once, before its client.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Messages that were taken from a queue, given back when this is dropped.
pub struct Batch<'a>(&'a mut [*mut rd_kafka_message_t]);

impl Batch<'_> {
    /// How many there are, notices included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The messages in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: librdkafka filled these places with valid messages, which live until this is dropped.
        self.0.iter().map(|message| Message(unsafe { &**message }))
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in self.0.iter_mut() {
            // SAFETY: each was handed to us by `rd_kafka_consume_queue` and is destroyed once.
            unsafe { rd_kafka_message_destroy(*message) };
            *message = ptr::null_mut();
        }
    }
}

/// A record, or a notice about a partition.
#[derive(Clone, Copy)]
pub struct Message<'a>(&'a rd_kafka_message_t);

impl<'a> Message<'a> {
    /// Its partition.
    #[must_use]
    pub fn partition(self) -> i32 {
        self.0.partition
    }

    /// Its offset: of the record, or where the partition ends or failed.
    #[must_use]
    pub fn offset(self) -> i64 {
        self.0.offset
    }

    /// What the notice is about; a record has none.
    #[must_use]
    pub fn error(self) -> Option<NativeError> {
        if self.0.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: the message is alive, and its text lives as long.
        let reason = unsafe { rd_kafka_message_errstr(self.0) };
        Some(NativeError { code: self.0.err.into(), reason: owned(reason) })
    }

    /// The record's value, or `None` for a tombstone.
    #[must_use]
    pub fn payload(self) -> Option<&'a [u8]> {
        let payload = NonNull::new(self.0.payload.cast::<u8>())?;
        // SAFETY: librdkafka keeps `len` bytes there as long as the message lives.
        Some(unsafe { std::slice::from_raw_parts(payload.as_ptr(), self.0.len) })
    }

    /// Epoch of the leader that took the record. A notice has none, nor has a record of a format
    /// older than Kafka 0.11.
    #[must_use]
    pub fn leader_epoch(self) -> Option<u32> {
        if self.0.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: the message is alive.
        u32::try_from(unsafe { rd_kafka_message_leader_epoch(self.0) }).ok()
    }

    /// Milliseconds since 1970, if the record has a time.
    #[must_use]
    pub fn timestamp_millis(self) -> Option<i64> {
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, and `kind` is ours.
        let millis = unsafe { rd_kafka_message_timestamp(self.0, &raw mut kind) };
        (kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(millis)
    }
}

/// Has librdkafka compare the position of `partition` in `list` with the log of that leader epoch.
/// Nothing happens when the partition is not in the list.
pub fn set_leader_epoch(list: &mut TopicPartitionList, topic: &str, partition: i32, epoch: u32) {
    let (Ok(topic), Ok(epoch)) = (c_string(topic), i32::try_from(epoch)) else { return };
    // SAFETY: the list is alive and ours alone, and so is its element.
    unsafe {
        let element = rd_kafka_topic_partition_list_find(list.ptr(), topic.as_ptr(), partition);
        if !element.is_null() {
            rd_kafka_topic_partition_set_leader_epoch(element, epoch);
        }
    }
}

/// Offset after the last replicated record of a partition that is being fetched, records of open
/// transactions included, as the last answer of its broker had it.
pub fn high_watermark<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<i64> {
    let topic = c_string(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive, the numbers are ours; it asks nobody.
    let code = unsafe {
        rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// A topic that is read without a group.
pub struct DirectTopic<C: ConsumerContext + 'static> {
    topic: NonNull<rd_kafka_topic_t>,
    /// Lives as long as the topic's handle, which belongs to it.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's topic handles may be used from any thread.
unsafe impl<C: ConsumerContext> Send for DirectTopic<C> {}

impl<C: ConsumerContext> DirectTopic<C> {
    /// A handle of `topic`, which need not exist.
    ///
    /// # Errors
    /// When the name can't be one.
    pub fn new(consumer: Arc<BaseConsumer<C>>, topic: &str) -> Result<Self, NativeError> {
        let topic = c_string(topic)?;
        // SAFETY: the client outlives the handle, which holds it; no configuration is handed over.
        let handle =
            unsafe { rd_kafka_topic_new(consumer.client().native_ptr(), topic.as_ptr(), ptr::null_mut()) };
        let topic = NonNull::new(handle).ok_or_else(last_error)?;
        Ok(Self { topic, consumer })
    }

    /// Fetches `partition` from `offset` on, into `queue`.
    ///
    /// # Errors
    /// When it is being fetched already.
    pub fn start(&self, partition: i32, offset: i64, queue: &FetchQueue<C>) -> Result<(), NativeError> {
        debug_assert!(Arc::ptr_eq(&self.consumer, &queue.consumer), "queue and topic are of one client");
        // SAFETY: topic and queue are alive and of one client.
        let failed = unsafe {
            rd_kafka_consume_start_queue(self.topic.as_ptr(), partition, offset, queue.queue.as_ptr())
        };
        if failed == 0 { Ok(()) } else { Err(last_error()) }
    }

    /// Ends fetching `partition`, and waits until it has ended.
    pub fn stop(&self, partition: i32) {
        // SAFETY: the topic is alive. It fails when the partition is not being fetched: nothing to stop.
        unsafe { rd_kafka_consume_stop(self.topic.as_ptr(), partition) };
    }
}

impl<C: ConsumerContext> Drop for DirectTopic<C> {
    fn drop(&mut self) {
        // SAFETY: it was made by `rd_kafka_topic_new` and is destroyed once, before its client.
        unsafe { rd_kafka_topic_destroy(self.topic.as_ptr()) }
    }
}

/// What the cluster says about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedTopic {
    /// Its id, 128 bits; zero where the broker is too old to have one.
    pub id: u128,
    /// Its partitions' numbers.
    pub partitions: Vec<i32>,
}

/// Asks the cluster what `topic` is. Creates nothing.
///
/// # Errors
/// What the cluster or the connection says.
pub fn describe_topic<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> Result<DescribedTopic, NativeError> {
    let event = ask_for_topic(consumer.client().native_ptr(), topic, timeout)?;
    let mut count = 0;
    // SAFETY: the event is alive until the end of this function; all that is read here belongs to it,
    // and each count is that of the array it came with.
    unsafe {
        event.check()?;
        let result = rd_kafka_event_DescribeTopics_result(event.0.as_ptr());
        let topics = rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count != 1 {
            return Err(NativeError::new(RDKafkaRespErr::RD_KAFKA_RESP_ERR__BAD_MSG));
        }
        described(*topics)
    }
}

/// # Safety
/// `topic` is a description whose event is alive.
unsafe fn described(topic: *const rd_kafka_TopicDescription_t) -> Result<DescribedTopic, NativeError> {
    let mut count = 0;
    // SAFETY: given by the caller; parts of a description live as long as it does.
    unsafe {
        let error = rd_kafka_TopicDescription_error(topic);
        if !error.is_null() && rd_kafka_error_code(error) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(NativeError::new(rd_kafka_error_code(error)));
        }
        let id = rd_kafka_TopicDescription_topic_id(topic);
        let (high, low) = match id.is_null() {
            true => (0, 0),
            false => (rd_kafka_Uuid_most_significant_bits(id), rd_kafka_Uuid_least_significant_bits(id)),
        };
        let id = (u128::from(high.cast_unsigned()) << 64) | u128::from(low.cast_unsigned());
        let infos = rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let infos = if infos.is_null() { &[] } else { std::slice::from_raw_parts(infos, count) };
        let partitions = infos.iter().map(|info| rd_kafka_TopicPartitionInfo_partition(*info)).collect();
        Ok(DescribedTopic { id, partitions })
    }
}

fn ask_for_topic(client: *mut rd_kafka_t, topic: &str, timeout: Duration) -> Result<Event, NativeError> {
    let topic = c_string(topic)?;
    let mut names: [*const c_char; 1] = [topic.as_ptr()];
    let mut reason: [c_char; REASON_BYTES] = [0; REASON_BYTES];
    // SAFETY: the client is alive; everything made here is destroyed here, after the answer or the
    // timeout; the options' timeout ends the request before the wait for its answer ends.
    unsafe {
        let options =
            rd_kafka_AdminOptions_new(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        rd_kafka_AdminOptions_set_request_timeout(
            options,
            millis(timeout),
            reason.as_mut_ptr(),
            REASON_BYTES,
        );
        let topics = rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let queue = rd_kafka_queue_new(client);
        rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = rd_kafka_queue_poll(queue, millis(timeout + Duration::from_secs(1)));
        rd_kafka_queue_destroy(queue);
        rd_kafka_TopicCollection_destroy(topics);
        rd_kafka_AdminOptions_destroy(options);
        let timed_out = || NativeError::new(RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT);
        NonNull::new(event).map(Event).ok_or_else(timed_out)
    }
}

/// An answer of librdkafka.
struct Event(NonNull<rd_kafka_event_t>);

impl Event {
    fn check(&self) -> Result<(), NativeError> {
        // SAFETY: the event is alive, and its text lives as long.
        let (code, reason) = unsafe {
            (rd_kafka_event_error(self.0.as_ptr()), owned(rd_kafka_event_error_string(self.0.as_ptr())))
        };
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(NativeError { code: code.into(), reason }),
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: it was handed to us by `rd_kafka_queue_poll` and is destroyed once.
        unsafe { rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

fn last_error() -> NativeError {
    // SAFETY: reads this thread's error code.
    NativeError::new(unsafe { rd_kafka_last_error() })
}

fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: librdkafka's texts end with a zero byte and live through this call.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
