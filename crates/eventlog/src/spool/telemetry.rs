//! Names of the metrics, in one place.

use metrics::{counter, describe_counter, describe_gauge, gauge};

const TAKEN: &str = "laker_spool_taken_events_total";
const FORWARDED: &str = "laker_spool_forwarded_events_total";
const FAILURES: &str = "laker_spool_forward_failures_total";
const WAITING_EVENTS: &str = "laker_spool_waiting_events";
const STORED_BYTES: &str = "laker_spool_stored_bytes";

/// Tells the recorder what each metric means.
pub fn describe() {
    describe_counter!(TAKEN, "Events acknowledged onto the spool's disk, by topic");
    describe_counter!(FORWARDED, "Events that came from the spool into the log, by topic");
    describe_counter!(FAILURES, "Times that forwarding broke off and began anew, by topic");
    describe_gauge!(WAITING_EVENTS, "Events in the spool that are not in the log yet, by topic");
    describe_gauge!(STORED_BYTES, "Bytes of the spool, over all topics");
}

pub fn taken(topic: &str, events: u64) {
    counter!(TAKEN, "topic" => topic.to_owned()).increment(events);
}

pub fn forwarded(topic: &str, events: u64) {
    counter!(FORWARDED, "topic" => topic.to_owned()).increment(events);
}

pub fn failed(topic: &str) {
    counter!(FAILURES, "topic" => topic.to_owned()).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub fn holds(topic: &str, events: u64, bytes: u64) {
    gauge!(WAITING_EVENTS, "topic" => topic.to_owned()).set(events as f64);
    gauge!(STORED_BYTES).set(bytes as f64);
}
