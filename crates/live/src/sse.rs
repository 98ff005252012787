//! `GET /live/{stream}/events`: events as server-sent events.
//!
//! Each event is a message whose data is one JSON object (see [`event_json`]). Between them come
//! `event: missed` messages with `{"missed": n}` where the reader did not get everything, and
//! comments as signs of life.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use event::limits::{LIVE_EVENT_BYTES_MAX, LIVE_EVENTS_KEPT, LIVE_HEARTBEAT};
use event::{Clock, PartitionId, Record, TimestampMicros};
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::answer::Refusal;
use crate::feed::{Reader, Taken};
use crate::stream::StreamState;

/// Events before now that a reader gets when it does not say how many, as with `tail`.
const LAST_DEFAULT: usize = 10;
/// Events in one piece of the answer.
const CHUNK_EVENTS_MAX: usize = 256;
/// Pause between two pieces for a reader with a rate.
const RATED_PAUSE: Duration = Duration::from_millis(250);

/// What a reader may ask for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct EventsQuery {
    /// Events before now to begin with, at most [`LIVE_EVENTS_KEPT`].
    last: Option<usize>,
    /// Events per second at most; of the others only the count.
    /// Without it every event is sent.
    rate: Option<NonZeroUsize>,
}

/// Answers with the stream's events until the reader goes or the server ends.
pub(crate) fn events(
    state: Arc<StreamState>,
    query: &EventsQuery,
    headers: &HeaderMap,
    clock: Clock,
    closing: CancellationToken,
) -> Response {
    let Ok(place) = Arc::clone(&state.readers).try_acquire_owned() else {
        let message = "too many readers of this stream at a time; try again when one has gone";
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_readers", message).into_response();
    };
    let last = query.last.unwrap_or(LAST_DEFAULT).min(LIVE_EVENTS_KEPT);
    let reader = match seen_last(&state, headers) {
        Some(sequence) => state.feed.reader_after(sequence),
        None => state.feed.reader(last),
    };
    let rate = query.rate.map(|rate| Rate::new(rate.get(), clock.monotonic()));
    let connection = Connection { state, reader, rate, clock, closing, begun: false, _place: place };
    let body = stream::unfold(connection, |mut connection| async move {
        let piece = connection.next_piece().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), connection))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// Number of the last event a reader that comes back has seen, if it was one of this run.
fn seen_last(state: &StreamState, headers: &HeaderMap) -> Option<u64> {
    let (epoch, sequence) = headers.get("last-event-id")?.to_str().ok()?.split_once('-')?;
    if epoch == state.epoch { sequence.parse().ok() } else { None }
}

struct Connection {
    state: Arc<StreamState>,
    reader: Reader,
    rate: Option<Rate>,
    clock: Clock,
    closing: CancellationToken,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// The next piece of the answer; `None` when the server ends.
    async fn next_piece(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            return Some(self.greeting());
        }
        let closing = self.closing.clone();
        closing.run_until_cancelled(self.wait_for_piece()).await
    }

    /// Sent at once, so that the reader sees that it is connected: with the events before now.
    fn greeting(&mut self) -> Bytes {
        let mut text = BytesMut::from(&b"retry: 2000\n: connected\n\n"[..]);
        let taken = self.state.feed.take(&mut self.reader, LIVE_EVENTS_KEPT);
        text.put_slice(&frames(&self.state.epoch, &taken));
        text.freeze()
    }

    async fn wait_for_piece(&mut self) -> Bytes {
        loop {
            if self.rate.is_some() {
                self.clock.sleep(RATED_PAUSE).await;
            }
            let clock = self.clock.clone();
            if clock.timeout(LIVE_HEARTBEAT, self.reader.ready()).await.is_none() {
                return Bytes::from_static(b": alive\n\n");
            }
            let taken = self.take();
            if taken.missed > 0 || !taken.shown.is_empty() {
                return frames(&self.state.epoch, &taken);
            }
        }
    }

    fn take(&mut self) -> Taken {
        let Some(rate) = &mut self.rate else {
            return self.state.feed.take(&mut self.reader, CHUNK_EVENTS_MAX);
        };
        let taken = self.state.feed.take_newest(&mut self.reader, rate.allowed(self.clock.monotonic()));
        rate.left -= taken.shown.len() as f64;
        taken
    }
}

/// What a reader with a rate may have. What it does not use is kept for a second, so that a small
/// burst goes through whole.
struct Rate {
    per_second: f64,
    left: f64,
    /// Until when `left` has grown, by the monotonic clock.
    at: Duration,
}

impl Rate {
    fn new(per_second: usize, now: Duration) -> Self {
        Self { per_second: per_second as f64, left: per_second as f64, at: now }
    }

    /// Events it may have now.
    fn allowed(&mut self, now: Duration) -> usize {
        let gained = (now - self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + gained).min(self.per_second);
        self.at = now;
        self.left as usize
    }
}

fn frames(epoch: &str, taken: &Taken) -> Bytes {
    let mut text = BytesMut::new();
    if taken.missed > 0 {
        text.put_slice(format!("event: missed\ndata: {{\"missed\":{}}}\n\n", taken.missed).as_bytes());
    }
    for shown in &taken.shown {
        text.put_slice(format!("id: {epoch}-{}\ndata: ", shown.sequence).as_bytes());
        text.put_slice(&shown.json);
        text.put_slice(b"\n\n");
    }
    text.freeze()
}

#[derive(Serialize)]
struct EventJson<'a> {
    partition: u32,
    offset: u64,
    received_at: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lossy: bool,
    bytes: usize,
    event: Option<&'a str>,
}

/// One event as readers get it: `{"partition", "offset", "received_at", "bytes", "event"}`, on one line.
///
/// `event` is a string that holds the event as it was sent, byte for byte; `null` for a record
/// without a value. `"truncated": true` says that it was cut at [`LIVE_EVENT_BYTES_MAX`],
/// `"lossy": true` that bytes that are no UTF-8 were replaced. `bytes` is its full length.
pub(crate) fn event_json(partition: PartitionId, record: &Record<'_>) -> Bytes {
    let payload = record.payload.unwrap_or_default();
    let kept = &payload[..cut_at(payload)];
    let text = String::from_utf8_lossy(kept);
    let event = EventJson {
        partition: partition.0,
        offset: record.offset.0,
        received_at: rfc3339(record.received_at),
        truncated: kept.len() < payload.len(),
        lossy: std::str::from_utf8(kept).is_err(),
        bytes: payload.len(),
        event: record.payload.map(|_| &*text),
    };
    serde_json::to_vec(&event).expect("numbers and strings are always JSON").into()
}

/// Where to cut so that no character is split.
fn cut_at(payload: &[u8]) -> usize {
    if payload.len() <= LIVE_EVENT_BYTES_MAX {
        return payload.len();
    }
    let continues = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    // A character has at most three continuing bytes; more of them are no UTF-8 anyway.
    (LIVE_EVENT_BYTES_MAX - 3..=LIVE_EVENT_BYTES_MAX)
        .rev()
        .find(|at| !continues(payload[*at]))
        .unwrap_or(LIVE_EVENT_BYTES_MAX)
}

/// `2026-01-31T23:59:59.123456Z`; the number of microseconds where the calendar ends.
pub(crate) fn rfc3339(time: TimestampMicros) -> String {
    match chrono::DateTime::from_timestamp_micros(time.0) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        None => time.0.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use event::Offset;

    use super::*;

    #[test]
    fn a_rate_lets_a_second_of_events_through_at_once_and_no_more() {
        let at = |millis| Duration::from_millis(millis);
        let mut rate = Rate::new(8, at(0));
        assert_eq!(rate.allowed(at(60_000)), 8);
        rate.left -= 8.0;
        assert_eq!(rate.allowed(at(60_000)), 0);
        assert_eq!(rate.allowed(at(60_250)), 2);
        assert_eq!(rate.allowed(at(60_500)), 4);
        assert_eq!(rate.allowed(at(99_000)), 8);
    }

    fn shown(payload: Option<&[u8]>) -> serde_json::Value {
        let record = Record { offset: Offset(7), received_at: TimestampMicros(1_000_001), payload };
        let json = event_json(PartitionId(3), &record);
        assert!(!json.contains(&b'\n'), "a message's data is one line");
        serde_json::from_slice(&json).unwrap()
    }

    #[test]
    fn an_event_is_shown_as_it_was_sent_with_its_place() {
        let sent = "{\"n\": 1.50,\n \"big\":12345678901234567890}";
        let want = serde_json::json!({
            "partition": 3, "offset": 7, "received_at": "1970-01-01T00:00:01.000001Z", "bytes": sent.len(), "event": sent,
        });
        assert_eq!(shown(Some(sent.as_bytes())), want);
    }

    #[test]
    fn a_tombstone_is_not_an_empty_event() {
        assert_eq!(shown(None)["event"], serde_json::Value::Null);
        assert_eq!(shown(Some(b""))["event"], "");
    }

    #[test]
    fn broken_utf8_is_shown_and_said() {
        let json = shown(Some(b"{\"a\":\"\xff\"}"));
        assert_eq!(
            (json["lossy"].as_bool(), json["event"].as_str()),
            (Some(true), Some("{\"a\":\"\u{fffd}\"}"))
        );
    }

    #[test]
    fn a_long_event_is_cut_between_characters_and_says_so() {
        for shift in 0..4 {
            let payload = format!("{}{}", "x".repeat(shift), "😀".repeat(LIVE_EVENT_BYTES_MAX / 4 + 1));
            let json = shown(Some(payload.as_bytes()));
            assert_eq!(json["truncated"], true);
            assert_eq!(json.get("lossy"), None, "shift {shift}");
            assert_eq!(json["bytes"], payload.len());
            let kept = json["event"].as_str().unwrap();
            assert!(payload.starts_with(kept) && kept.len() > LIVE_EVENT_BYTES_MAX - 4);
        }
    }
}
