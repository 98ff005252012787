//! Names of the metrics, in one place.

use std::time::Duration;

use axum::http::StatusCode;
use event::StreamName;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::verdict::Rejection;

const REQUESTS: &str = "laker_collector_requests_total";
const ACCEPTED: &str = "laker_collector_events_accepted_total";
const REJECTED: &str = "laker_collector_events_rejected_total";
const BODY_BYTES: &str = "laker_collector_body_bytes_total";
const APPEND_SECONDS: &str = "laker_collector_append_seconds";
const IN_FLIGHT_BYTES: &str = "laker_collector_in_flight_bytes";

/// Tells the recorder what each metric means.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by HTTP status code");
    describe_counter!(ACCEPTED, "Events acknowledged, by stream");
    describe_counter!(REJECTED, "Events rejected, by reason code");
    describe_counter!(BODY_BYTES, "Bytes of request bodies as they arrived");
    describe_histogram!(APPEND_SECONDS, "Time the log took for the events of one request");
    describe_gauge!(IN_FLIGHT_BYTES, "Bytes held by requests under way");
}

pub(crate) fn answered(status: StatusCode) {
    counter!(REQUESTS, "code" => status.as_str().to_owned()).increment(1);
}

pub(crate) fn accepted(stream: &StreamName, events: usize) {
    counter!(ACCEPTED, "stream" => stream.as_str().to_owned()).increment(events as u64);
}

pub(crate) fn rejected(rejections: &[Rejection]) {
    for same in rejections.chunk_by(|a, b| a.code == b.code) {
        counter!(REJECTED, "code" => same[0].code).increment(same.len() as u64);
    }
}

pub(crate) fn body_arrived(bytes: usize) {
    counter!(BODY_BYTES).increment(bytes as u64);
}

pub(crate) fn append_took(time: Duration) {
    histogram!(APPEND_SECONDS).record(time.as_secs_f64());
}

pub(crate) fn in_flight_grew(bytes: usize) {
    gauge!(IN_FLIGHT_BYTES).increment(bytes as f64);
}

pub(crate) fn in_flight_shrank(bytes: usize) {
    gauge!(IN_FLIGHT_BYTES).decrement(bytes as f64);
}
