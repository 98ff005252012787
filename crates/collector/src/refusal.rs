//! What a request is refused with: status, code and message. Codes are contract, messages are not.

use axum::http::StatusCode;

use crate::verdict::{Rejection, code};

/// Why nothing of a request was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the request has no event; send a JSON object, an array of objects, or one object per line")]
    EmptyBody,
    #[error("the body is not JSON: byte {at}: expected {expected}; nothing of it was taken")]
    InvalidJson { at: usize, expected: &'static str },
    #[error("no event was taken; the first of {}: {}", rejected.len(), first_message(rejected))]
    NothingValid { rejected: Vec<Rejection> },
    #[error("the body is not valid {encoding}: {reason}")]
    InvalidEncoding { encoding: &'static str, reason: String },
    #[error("the body ended before it was complete: {reason}; nothing of it was taken")]
    IncompleteBody { reason: String },
    #[error("no part of the body arrived for {seconds} seconds; nothing of it was taken")]
    BodyTimeout { seconds: u64 },
    #[error("the body is larger than {bytes_max} bytes{when}; send the events in several requests")]
    TooLarge { bytes_max: usize, when: &'static str },
    #[error("the request has more than {events_max} events; send them in several requests")]
    TooManyEvents { events_max: usize },
    #[error("content type {got:?} cannot hold events; send application/json or application/x-ndjson")]
    UnsupportedMediaType { got: String },
    #[error("content encoding {got:?} is not understood; send gzip, zstd or none, and only one of them")]
    UnsupportedEncoding { got: String },
    #[error("stream {name:?} is not configured{hint}; configured: {configured}")]
    UnknownStream { name: String, hint: String, configured: String },
    #[error("{method} is not allowed here; send events with POST")]
    MethodNotAllowed { method: String },
    #[error("too many bytes of requests are under way; send again after a pause")]
    Overloaded,
    #[error("the event log cannot take events now; send again after a pause")]
    LogUnavailable,
    #[error("the event log is full; send again after a pause, or make room")]
    LogFull,
    #[error(
        "the event log did not confirm the events in time; they may arrive or not: send them again with the same ids"
    )]
    LogTimeout,
    #[error("the collector is shutting down; send again, to another one or after a pause")]
    ShuttingDown,
    #[error(
        "the collector failed on this request, which is a bug; its log says more; send again after a pause"
    )]
    Internal,
}

impl Refusal {
    /// The HTTP status. What may succeed later is 503, never 500: clients throw events away on a 500.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NothingValid { .. } if self.code() == code::TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            Self::EmptyBody
            | Self::InvalidJson { .. }
            | Self::NothingValid { .. }
            | Self::InvalidEncoding { .. }
            | Self::IncompleteBody { .. } => StatusCode::BAD_REQUEST,
            Self::UnknownStream { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } | Self::TooManyEvents { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType { .. } | Self::UnsupportedEncoding { .. } => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Overloaded
            | Self::LogUnavailable
            | Self::LogFull
            | Self::LogTimeout
            | Self::ShuttingDown
            | Self::Internal => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The code in the body.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::EmptyBody => "empty_body",
            Self::InvalidJson { .. } => code::INVALID_JSON,
            Self::NothingValid { rejected } => shared_code(rejected),
            Self::InvalidEncoding { .. } => "invalid_encoding",
            Self::IncompleteBody { .. } => "incomplete_body",
            Self::BodyTimeout { .. } => "body_timeout",
            Self::TooLarge { .. } => code::TOO_LARGE,
            Self::TooManyEvents { .. } => "too_many_events",
            Self::UnsupportedMediaType { .. } => "unsupported_media_type",
            Self::UnsupportedEncoding { .. } => "unsupported_encoding",
            Self::UnknownStream { .. } => "unknown_stream",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::Overloaded => "overloaded",
            Self::LogUnavailable => "log_unavailable",
            Self::LogFull => "log_full",
            Self::LogTimeout => "log_timeout",
            Self::ShuttingDown => "shutting_down",
            Self::Internal => "internal",
        }
    }

    /// The verdicts, where there are any.
    pub(crate) fn rejected(&self) -> &[Rejection] {
        match self {
            Self::NothingValid { rejected } => rejected,
            _ => &[],
        }
    }
}

fn first_message(rejected: &[Rejection]) -> &str {
    rejected.first().map_or("", |rejection| &rejection.message)
}

/// The code of all, or one that says that they differ.
fn shared_code(rejected: &[Rejection]) -> &'static str {
    match rejected {
        [first, rest @ ..] if rest.iter().all(|other| other.code == first.code) => first.code,
        _ => "no_valid_event",
    }
}
