//! `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use event::{Clock, limits};
use eventlog::spool::{LaneStatus, Route};
use eventlog::{EventLog, SpooledLog};
use loader::progress::LoaderState;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use crate::role::Watched;
use crate::settings::Settings;

/// What readiness is judged by.
pub struct Health {
    log: Arc<dyn EventLog>,
    topics: Vec<String>,
    loaders: Watched,
    /// With one, events are welcome although the log takes none.
    spool: Option<Arc<SpooledLog>>,
    ending: AtomicBool,
    clock: Clock,
}

impl Health {
    /// Health of a process that has just started.
    pub fn new(log: Arc<dyn EventLog>, settings: &Settings, loaders: Watched, clock: Clock) -> Self {
        let topics = settings.streams.iter().map(|stream| stream.topic.clone()).collect();
        Self { log, topics, loaders, spool: None, ending: AtomicBool::new(false), clock }
    }

    /// The same of a process whose collector has a spool, if it has.
    #[must_use]
    pub fn with_spool(self, spool: Option<Arc<SpooledLog>>) -> Self {
        Self { spool, ..self }
    }

    /// From now on the process is not ready any more.
    pub fn set_ending(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Why no event or query should be sent here; empty when one may be.
    async fn unready(&self) -> Vec<String> {
        if self.ending.load(Ordering::Relaxed) {
            return vec!["the process is ending".to_owned()];
        }
        match &self.spool {
            Some(spool) if spool.has_room() => Vec::new(),
            Some(_) => vec!["the spool is full".to_owned()],
            None => self.log_troubles().await,
        }
    }

    async fn log_troubles(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for topic in &self.topics {
            match self.clock.timeout(limits::READY_DEADLINE, self.log.describe(topic)).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => reasons.push(error.to_string()),
                None => reasons.push(format!("the event log does not answer for topic {topic:?}")),
            }
        }
        reasons
    }

    /// What does not work as it should while events and queries are still welcome.
    fn degraded(&self) -> Vec<String> {
        let spooling = self.spool.iter().flat_map(|spool| spool.status()).filter_map(told);
        let states = self.loaders.iter().map(|(stream, progress)| (stream, progress.borrow().state.clone()));
        states
            .filter_map(|(stream, state)| match state {
                LoaderState::Retrying(reason) => Some(format!("loader of {stream} tries again: {reason}")),
                LoaderState::Starting => Some(format!("loader of {stream} is starting")),
                LoaderState::Stopped => Some(format!("loader of {stream} has ended")),
                LoaderState::Halted(reason) => Some(format!("loader waits for a person: {reason}")),
                LoaderState::Running => None,
            })
            .chain(spooling)
            .collect()
    }
}

/// What is worth saying about a topic of the spool.
fn told((topic, status): (String, LaneStatus)) -> Option<String> {
    let waiting = status.waiting_events;
    match (status.route, status.trouble) {
        (Route::Direct, _) => None,
        (Route::Spool, Some(trouble)) => {
            Some(format!("events of topic {topic} go to the spool, where {waiting} wait: {trouble}"))
        }
        (Route::Spool, None) => Some(format!("the spool forwards {waiting} events of topic {topic}")),
    }
}

/// The routes of health and metrics.
pub fn health_routes(health: &Arc<Health>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(|| async { Json(json!({ "live": true })) }))
        .route("/readyz", get(ready).with_state(Arc::clone(health)))
        .route("/metrics", get(move || std::future::ready(render(&metrics))))
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let reasons = health.unready().await;
    if reasons.is_empty() {
        return Json(json!({ "ready": true, "degraded": health.degraded() })).into_response();
    }
    let body = json!({
        "code": "not_ready", "message": reasons.join("; "), "ready": false,
        "reasons": reasons, "degraded": health.degraded(),
    });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

fn render(metrics: &PrometheusHandle) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()).into_response()
}
