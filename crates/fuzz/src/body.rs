//! HTTP bodies, plain and compressed.

use std::io::Write;

use axum::body::Body;
use axum::http::Request;
use decode::{EventLimits, check_event};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::requests::{Bench, EVENTS_MAX, Outcome};

thread_local! {
    static BENCH: Bench = Bench::new();
}

/// What is acknowledged is in the log, byte for byte as it stood in the body and in its order, and is
/// an event; what is not taken has a verdict; and compression changes nothing of all this.
pub fn run(bytes: &[u8]) {
    let plain = post(bytes.to_vec(), &[]);
    is_accounted_for(bytes, &plain);
    let lines = post(bytes.to_vec(), &[("content-type", "application/x-ndjson")]);
    is_accounted_for(bytes, &lines);
    let refused = lines.json["rejected"].is_null();
    let code = lines.json["code"].as_str().unwrap_or_default();
    assert!(
        !refused || ["empty_body", "too_many_events", "too_large"].contains(&code),
        "lines are judged one by one"
    );
    // A body too large to be taken plain may be small enough compressed, and fail or hold by what is in it.
    if plain.json["code"] != "too_large" {
        assert_eq!(post(gzip(bytes), &[("content-encoding", "gzip")]), plain);
        assert_eq!(post(zstd(bytes), &[("content-encoding", "zstd")]), plain);
    }
    for encoding in ["gzip", "zstd"] {
        post(bytes.to_vec(), &[("content-encoding", encoding)]);
    }
}

fn post(body: Vec<u8>, headers: &[(&str, &str)]) -> Outcome {
    let request =
        headers.iter().fold(Request::post("/events"), |request, (name, value)| request.header(*name, *value));
    let request = request.body(Body::from(body)).expect("headers of ours are headers");
    BENCH.with(|bench| bench.send(request))
}

fn is_accounted_for(body: &[u8], outcome: &Outcome) {
    let rejected = outcome.json["rejected"].as_array().map_or(0, Vec::len);
    let accepted = outcome.json["accepted"].as_u64().unwrap_or(0);
    assert_eq!(accepted, outcome.logged.len() as u64, "{}", outcome.json);
    assert_eq!(outcome.status == 200, accepted > 0, "{} {}", outcome.status, outcome.json);
    assert!(outcome.logged.len() + rejected <= EVENTS_MAX, "more events than allowed");
    let mut rest = body;
    for event in &outcome.logged {
        check_event(event, EventLimits::default()).expect("what is acknowledged is an event");
        let at = rest.windows(event.len()).position(|window| window == event);
        rest = &rest[at.expect("what is logged stands in the body") + event.len()..];
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes what it is given")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory takes what it is given")
}
