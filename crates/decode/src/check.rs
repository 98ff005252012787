//! The verdict on one payload: an event, or a dead letter and why.

use crate::json::{JsonError, skip_value, skip_whitespace};
use crate::tape::Tape;

/// What an event must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLimits {
    /// Bytes it may have. Less than 4 GiB.
    pub bytes_max: usize,
    /// Arrays and objects that may be open at once.
    pub depth_max: usize,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self { bytes_max: event::limits::EVENT_BYTES_MAX, depth_max: event::limits::EVENT_DEPTH_MAX }
    }
}

/// Why a payload is no event. Its text is the `detail` of the dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeadReason {
    /// There is nothing but white space.
    #[error("the payload is empty")]
    Empty,
    /// It has too many bytes.
    #[error("the event has {bytes} bytes, and {bytes_max} are allowed")]
    TooLarge {
        /// Bytes it has.
        bytes: usize,
        /// Bytes it may have.
        bytes_max: usize,
    },
    /// It is no text.
    #[error("byte {at}: not UTF-8")]
    InvalidUtf8 {
        /// Index of the first byte that is wrong.
        at: usize,
    },
    /// It is not JSON by RFC 8259.
    #[error("byte {at}: expected {expected}")]
    InvalidJson {
        /// Index of the first byte that is wrong.
        at: usize,
        /// What would have been right.
        expected: &'static str,
    },
    /// It nests too deep.
    #[error("byte {at}: nested deeper than {depth_max}")]
    TooDeep {
        /// Index of the bracket that is one too many.
        at: usize,
        /// Arrays and objects that may be open at once.
        depth_max: usize,
    },
    /// It is JSON, but no object.
    #[error("an event is a JSON object, and this is {found}")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
}

impl DeadReason {
    /// Its name: the `reason` of the dead letter, the `code` of the collector's answer.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::InvalidUtf8 { .. } => "invalid_utf8",
            Self::InvalidJson { .. } => "invalid_json",
            Self::TooDeep { .. } => "too_deep",
            Self::NotAnObject { .. } => "not_an_object",
        }
    }
}

impl From<JsonError> for DeadReason {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax { at, expected } => Self::InvalidJson { at, expected },
            JsonError::TooDeep { at, depth_max } => Self::TooDeep { at, depth_max },
        }
    }
}

/// Whether `bytes` are an event: exactly then the decoder makes a row of them, and no dead letter.
///
/// # Errors
/// [`DeadReason`] says why they are not.
pub fn check_event(bytes: &[u8], limits: EventLimits) -> Result<(), DeadReason> {
    examine(bytes, limits, skip_value).map(drop)
}

/// As [`check_event`]; leaves the event's nodes in `tape` and returns its text.
pub(crate) fn scan_event<'a>(
    bytes: &'a [u8],
    limits: EventLimits,
    tape: &mut Tape,
) -> Result<&'a str, DeadReason> {
    examine(bytes, limits, |bytes, pos, depth_max| tape.scan(bytes, pos, depth_max))
}

fn examine(
    bytes: &[u8],
    limits: EventLimits,
    scan: impl FnOnce(&[u8], usize, usize) -> Result<usize, JsonError>,
) -> Result<&str, DeadReason> {
    if bytes.len() > limits.bytes_max {
        return Err(DeadReason::TooLarge { bytes: bytes.len(), bytes_max: limits.bytes_max });
    }
    let start = skip_whitespace(bytes, 0);
    let Some(first) = bytes.get(start) else { return Err(DeadReason::Empty) };
    let text =
        std::str::from_utf8(bytes).map_err(|error| DeadReason::InvalidUtf8 { at: error.valid_up_to() })?;
    let end = skip_whitespace(bytes, scan(bytes, start, limits.depth_max)?);
    if end < bytes.len() {
        return Err(DeadReason::InvalidJson { at: end, expected: "nothing after the event" });
    }
    match name_of(*first) {
        None => Ok(text),
        Some(found) => Err(DeadReason::NotAnObject { found }),
    }
}

/// What a JSON value is that begins with `first`; `None` for an object.
fn name_of(first: u8) -> Option<&'static str> {
    match first {
        b'{' => None,
        b'[' => Some("an array"),
        b'"' => Some("a string"),
        b'n' => Some("null"),
        b't' | b'f' => Some("a boolean"),
        _ => Some("a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> &'static str {
        check_event(bytes, EventLimits { bytes_max: 1000, depth_max: 4 })
            .map_or_else(|reason| reason.code(), |()| "event")
    }

    #[test]
    fn each_payload_gets_its_verdict() {
        assert_eq!(code(b" {\"a\":[{\"b\":[]}]}\r\n"), "event");
        assert_eq!(code(b""), "empty");
        assert_eq!(code(b" \t\r\n"), "empty");
        assert_eq!(code(&[b' '; 1001]), "too_large");
        assert_eq!(code(b"{\"a\":\"\xff\"}"), "invalid_utf8");
        assert_eq!(code(b"{\"a\":\"\xed\xa0\x80\"}"), "invalid_utf8");
        assert_eq!(code(b"{\"a\":1"), "invalid_json");
        assert_eq!(code(b"{\"a\":1} {}"), "invalid_json");
        assert_eq!(code("\u{feff}{}".as_bytes()), "invalid_json");
        assert_eq!(code(b"{\"a\":[[[[]]]]}"), "too_deep");
        for (payload, found) in [
            ("[1]", "an array"),
            ("\"a\"", "a string"),
            ("null", "null"),
            ("true", "a boolean"),
            ("-1", "a number"),
        ] {
            let reason = check_event(payload.as_bytes(), EventLimits::default()).unwrap_err();
            assert_eq!(reason, DeadReason::NotAnObject { found });
        }
    }

    #[test]
    fn the_detail_names_the_byte() {
        let reason = check_event(b"{\"a\":tru}", EventLimits::default()).unwrap_err();
        assert_eq!(reason.to_string(), "byte 5: expected true, false or null");
    }
}
