//! What goes back to the client: verdicts, errors, and the headers that go with them.

use axum::Json;
use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CONNECTION, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::collector::Accepted;
use crate::options::CollectorLimits;
use crate::refusal::Refusal;
use crate::telemetry;
use crate::verdict::Rejection;

const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");
const ANY: HeaderValue = HeaderValue::from_static("*");

#[derive(Serialize)]
struct AcceptedBody<'a> {
    accepted: usize,
    rejected: &'a [Rejection],
    receipt: &'a str,
}

#[derive(Serialize)]
struct RefusedBody<'a> {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rejected: &'a [Rejection],
}

pub(crate) fn accepted(accepted: &Accepted) -> Response {
    let body = AcceptedBody {
        accepted: accepted.accepted,
        rejected: &accepted.rejected,
        receipt: &accepted.receipt,
    };
    send(StatusCode::OK, HeaderMap::new(), &body)
}

pub(crate) fn refused(refusal: &Refusal, version: Version, limits: &CollectorLimits) -> Response {
    let status = refusal.status();
    let mut headers = HeaderMap::new();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, limits.retry_after_seconds.into());
    }
    match refusal {
        // HTTP/2 has no such header: there the server says goodbye by its own frame.
        Refusal::ShuttingDown if version <= Version::HTTP_11 => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Refusal::MethodNotAllowed { .. } => {
            headers.insert(ALLOW, ALLOWED_METHODS);
        }
        Refusal::UnsupportedEncoding { .. } => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd, identity"));
        }
        _ => {}
    }
    let body =
        RefusedBody { code: refusal.code(), message: refusal.to_string(), rejected: refusal.rejected() };
    send(status, headers, &body)
}

/// Events carry no cookies and answers no secrets, so pages of any origin may send them.
fn send(status: StatusCode, mut headers: HeaderMap, body: &impl Serialize) -> Response {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    telemetry::answered(status);
    (status, headers, Json(body)).into_response()
}

/// Answers a browser that asks whether a page of another origin may send.
pub(crate) async fn preflight() -> Response {
    let headers = [
        (ALLOW, ALLOWED_METHODS),
        (ACCESS_CONTROL_ALLOW_ORIGIN, ANY),
        (ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS),
        // The star does not cover Authorization, which the standard wants named.
        (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*, Authorization")),
        (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
    ];
    telemetry::answered(StatusCode::NO_CONTENT);
    (StatusCode::NO_CONTENT, headers).into_response()
}
