//! Each raw event is checked and gets its verdict; no tree of it is built.

use std::ops::Range;

use bytes::Bytes;
use decode::{EventLimits, check_event};
use serde::Serialize;

use crate::options::StreamRoute;

/// What one event holds beside its bytes: its place, its slice, its verdict.
pub(crate) const EVENT_OVERHEAD_BYTES: usize = 256;

/// Codes of rejections that decide more than the text of an answer.
pub(crate) mod code {
    /// Not JSON.
    pub(crate) const INVALID_JSON: &str = "invalid_json";
    /// Larger than allowed.
    pub(crate) const TOO_LARGE: &str = "too_large";
}

/// Why one event of a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rejection {
    /// Position of the event in the request, from 0.
    pub(crate) index: usize,
    /// The reason, for programs.
    pub(crate) code: &'static str,
    /// The reason, for people.
    pub(crate) message: String,
}

/// Events of one request, told apart.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What goes into the log, byte for byte as it was sent, in the order sent.
    pub(crate) valid: Vec<Bytes>,
    /// The rest.
    pub(crate) rejected: Vec<Rejection>,
}

/// Checks the events that lie at `ranges` of `body`, by the loader's own rules: what is taken here
/// never becomes a dead letter there.
pub(crate) fn check(body: &Bytes, ranges: Vec<Range<usize>>, stream: &StreamRoute) -> Checked {
    let limits = EventLimits { bytes_max: stream.event_bytes_max, depth_max: stream.depth_max };
    let mut checked = Checked { valid: Vec::with_capacity(ranges.len()), rejected: Vec::new() };
    for (index, range) in ranges.into_iter().enumerate() {
        let event = body.slice(range);
        match check_event(&event, limits) {
            Ok(()) => checked.valid.push(event),
            Err(reason) => {
                checked.rejected.push(Rejection { index, code: reason.code(), message: reason.to_string() })
            }
        }
    }
    checked
}
