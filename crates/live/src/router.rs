//! Routes to handlers.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use event::StreamName;
use event::limits::SQL_BYTES_MAX;
use serde::Serialize;

use crate::answer::Refusal;
use crate::sse::{EventsQuery, events};
use crate::stats::{Stats, StatsQuery};
use crate::stream::StreamState;
use crate::{Live, page, sql};

/// All routes of this crate.
pub(crate) fn router(live: Arc<Live>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/assets/{name}", get(page::asset))
        .route("/live/streams", get(list_streams))
        .route("/live/{stream}/events", get(follow_events))
        .route("/live/{stream}/stats", get(read_stats))
        .route("/sql", post(sql::answer_sql).layer(DefaultBodyLimit::max(SQL_BYTES_MAX)))
        .with_state(live)
}

#[derive(Serialize)]
struct StreamList<'a> {
    streams: Vec<StreamJson<'a>>,
    /// Whether `POST /sql` works here.
    sql: bool,
}

#[derive(Serialize)]
struct StreamJson<'a> {
    name: &'a str,
    topic: &'a str,
    action_field: &'a str,
    event_time_field: &'a str,
    user_field: &'a str,
}

async fn list_streams(State(live): State<Arc<Live>>) -> Response {
    let streams = live.order.iter().filter_map(|name| live.streams.get(name)).map(|state| StreamJson {
        name: state.stream.name.as_str(),
        topic: &state.stream.topic,
        action_field: &state.stream.action_field,
        event_time_field: &state.stream.event_time_field,
        user_field: &state.stream.user_field,
    });
    fresh(Json(StreamList { streams: streams.collect(), sql: live.run_sql.is_some() }))
}

async fn follow_events(
    State(live): State<Arc<Live>>,
    Path(stream): Path<String>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let state = find(&live, &stream)?;
    Ok(events(Arc::clone(state), &query, &headers, live.clock.clone(), live.closing.clone()))
}

async fn read_stats(
    State(live): State<Arc<Live>>,
    Path(stream): Path<String>,
    Query(query): Query<StatsQuery>,
) -> Result<Response, Refusal> {
    let state = find(&live, &stream)?;
    let progress = live.progress.borrow().get(&state.stream.name).cloned();
    Ok(fresh(Json(Stats::new(state, progress.as_ref(), &query, live.clock.now()))))
}

fn find<'a>(live: &'a Live, stream: &str) -> Result<&'a Arc<StreamState>, Refusal> {
    let known = StreamName::new(stream).ok().and_then(|name| live.streams.get(&name));
    known.ok_or_else(|| {
        let names: Vec<&str> = live.order.iter().map(StreamName::as_str).collect();
        let message = format!("there is no stream of that name; the streams are: {}", names.join(", "));
        Refusal::new(StatusCode::NOT_FOUND, "unknown_stream", message)
    })
}

fn fresh(body: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], body).into_response()
}
