//! `POST /sql`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::extract::rejection::StringRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use event::limits::SQL_BYTES_MAX;
use event::{Clock, TimestampMicros};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use query::format::negotiate;
use query::{Answer, Freshness, LogPart, QueryEngine, QueryError};
use serde::Serialize;

use crate::Live;
use crate::answer::Refusal;
use crate::sse::rfc3339;

/// Runs one statement.
pub type RunSql = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Answer, QueryError>> + Send + Sync>;

/// Says how fresh an answer is: a JSON array with one object per table that was read.
const FRESHNESS: HeaderName = HeaderName::from_static("laker-freshness");

/// [`RunSql`] on `engine`.
#[must_use]
pub fn run_sql(engine: Arc<QueryEngine>) -> RunSql {
    Arc::new(move |sql| {
        let engine = Arc::clone(&engine);
        Box::pin(async move { engine.run(&sql).await })
    })
}

pub(crate) async fn answer_sql(
    State(live): State<Arc<Live>>,
    headers: HeaderMap,
    body: Result<String, StringRejection>,
) -> Result<Response, Refusal> {
    let Some(run_sql) = &live.run_sql else {
        let message = "this process answers no SQL: ask one that runs `laker up` or `laker serve`";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no_sql", message));
    };
    let sql = body.map_err(|rejection| unreadable(&rejection))?;
    let answer = run_sql(sql).await.map_err(|error| refusal(&error))?;
    respond(answer, &headers, &live.clock).await
}

/// Begins the answer once its first rows are there, so that what fails before has its own status.
async fn respond(answer: Answer, headers: &HeaderMap, clock: &Clock) -> Result<Response, Refusal> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = negotiate(accept);
    let freshness = freshness_header(&answer.freshness, clock.now());
    let mut chunks = format.write(answer).fuse();
    // The first piece may be only what stands before the rows.
    let first: Vec<_> = chunks.by_ref().take(2).collect().await;
    if let Some(error) = first.iter().find_map(|chunk| chunk.as_ref().err()) {
        return Err(refusal(error));
    }
    let body = stream::iter(first).chain(chunks).inspect(|chunk| {
        if let Err(error) = chunk {
            // The status is sent already: the connection breaks off, and the reason stands here.
            tracing::warn!(%error, "an SQL answer broke off");
        }
    });
    let fixed = [
        (header::CONTENT_TYPE, HeaderValue::from_static(format.content_type())),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::VARY, HeaderValue::from_static("accept")),
        (FRESHNESS, freshness),
    ];
    Ok((axum::response::AppendHeaders(fixed), Body::from_stream(body)).into_response())
}

fn refusal(error: &QueryError) -> Refusal {
    let status =
        StatusCode::from_u16(error.kind().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(%error, "an SQL statement failed");
    }
    Refusal::new(status, error.code(), error.to_string())
}

fn unreadable(rejection: &StringRejection) -> Refusal {
    let status = rejection.status();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let message = format!("the statement is longer than {SQL_BYTES_MAX} bytes");
        return Refusal::new(status, "too_large", message);
    }
    Refusal::new(StatusCode::BAD_REQUEST, "bad_sql", format!("the body is no SQL text in UTF-8: {rejection}"))
}

#[derive(Serialize)]
struct FreshnessJson<'a> {
    table: &'a str,
    version: Option<u64>,
    committed_at: Option<String>,
    /// Events that the log added; null when it was not read.
    from_log: Option<usize>,
    /// Whether events that were acknowledged may be missing.
    incomplete: bool,
    newest_received_at: Option<String>,
    /// All of it for a person.
    text: String,
}

/// Headers hold ASCII only: whatever is not is escaped, as JSON allows.
fn freshness_header(freshness: &[Freshness], now: TimestampMicros) -> HeaderValue {
    let tables: Vec<FreshnessJson<'_>> = freshness.iter().map(|one| freshness_json(one, now)).collect();
    let json = serde_json::to_string(&tables).expect("numbers and strings are always JSON");
    HeaderValue::from_str(&ascii(&json))
        .expect("JSON has no control characters, and what is not ASCII was escaped")
}

fn freshness_json(one: &Freshness, now: TimestampMicros) -> FreshnessJson<'_> {
    let (from_log, incomplete) = match &one.log {
        LogPart::None => (None, false),
        LogPart::Read { rows, cut } => (Some(*rows), *cut),
        LogPart::Unread { .. } => (None, true),
    };
    FreshnessJson {
        table: &one.table,
        version: one.version,
        committed_at: one.committed_at.map(rfc3339),
        from_log,
        incomplete,
        newest_received_at: one.newest_received_at.map(rfc3339),
        text: one.text(now),
    }
}

fn ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        // DEL is ASCII, but no header holds it.
        if c.is_ascii() && c != '\u{7f}' {
            escaped.push(c);
        } else {
            let mut units = [0; 2];
            escaped.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_fits_into_a_header_whatever_a_reason_holds() {
        let log = LogPart::Unread { reason: "Zürich 😀 \u{7f} is away\nfor good".into() };
        let one = Freshness {
            table: "logs".into(),
            version: None,
            committed_at: None,
            log,
            newest_received_at: None,
        };
        let header = freshness_header(&[one], TimestampMicros(0));
        let json: serde_json::Value = serde_json::from_str(header.to_str().unwrap()).unwrap();
        assert_eq!(json[0]["incomplete"], true);
        // The text is one line: what controls a terminal is a blank in it.
        assert!(json[0]["text"].as_str().unwrap().contains("Zürich 😀   is away for good"));
    }
}
