//! Streams and limits of a collector.

use std::time::Duration;

use event::{StreamName, limits};

use crate::verdict::EVENT_OVERHEAD_BYTES;

/// What a [`crate::Collector`] serves.
#[derive(Debug, Clone)]
pub struct CollectorOptions {
    /// The streams; a name that is not among them is answered with 404.
    pub streams: Vec<StreamRoute>,
    /// The stream of `POST /events`; one of `streams`.
    pub default_stream: StreamName,
    /// Limits of one request, and of all together.
    pub limits: CollectorLimits,
}

/// One stream: where its events go, and what an event of it may be.
#[derive(Debug, Clone)]
pub struct StreamRoute {
    /// Name in `POST /events/{stream}`.
    pub name: StreamName,
    /// Topic of the log its events are appended to.
    pub topic: String,
    /// Largest event in bytes, as it was sent.
    pub event_bytes_max: usize,
    /// Deepest nesting of objects and arrays in an event, the event itself counted as 1.
    pub depth_max: usize,
}

impl StreamRoute {
    /// A stream whose topic has its name, with the usual limits of an event.
    #[must_use]
    pub fn new(name: StreamName) -> Self {
        Self {
            topic: name.as_str().to_owned(),
            name,
            event_bytes_max: limits::EVENT_BYTES_MAX,
            depth_max: limits::EVENT_DEPTH_MAX,
        }
    }
}

/// Limits of one request, and of all requests together. The defaults stand in [`event::limits`].
#[derive(Debug, Clone)]
pub struct CollectorLimits {
    /// Largest body as it arrives, in bytes; over it 413.
    pub body_bytes_max: usize,
    /// Largest body after decompression, in bytes; over it 413.
    pub body_decompressed_bytes_max: usize,
    /// Most events in one request; over it 413.
    pub request_events_max: usize,
    /// Bytes that all requests under way hold together; over it 503. At least what one request of
    /// the largest size holds.
    pub in_flight_bytes_max: usize,
    /// Longest pause between two pieces of a body; over it 408.
    pub body_idle_deadline: Duration,
    /// Time that a body still arriving at [`crate::Collector::stop_accepting`] has to end; over it 503.
    pub body_finish_deadline: Duration,
    /// Longest time one append may take; over it 503.
    pub append_deadline: Duration,
    /// What `Retry-After` asks for in a 503, in seconds.
    pub retry_after_seconds: u32,
}

impl CollectorLimits {
    /// Bytes that one request of the largest size holds: its body, plain and compressed, and its events.
    #[must_use]
    pub fn request_bytes_max(&self) -> usize {
        self.body_bytes_max
            + self.body_decompressed_bytes_max
            + self.request_events_max.saturating_mul(EVENT_OVERHEAD_BYTES)
    }
}

impl Default for CollectorLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: limits::BODY_BYTES_MAX,
            body_decompressed_bytes_max: limits::BODY_DECOMPRESSED_BYTES_MAX,
            request_events_max: limits::REQUEST_EVENTS_MAX,
            in_flight_bytes_max: limits::COLLECTOR_IN_FLIGHT_BYTES_MAX,
            body_idle_deadline: limits::BODY_IDLE_DEADLINE,
            body_finish_deadline: limits::BODY_FINISH_DEADLINE,
            append_deadline: limits::APPEND_DEADLINE,
            retry_after_seconds: limits::RETRY_AFTER_SECONDS,
        }
    }
}
