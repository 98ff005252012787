//! Paths, methods and CORS; the task each request runs in.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{Method, Version};
use axum::response::Response;
use axum::routing::{MethodRouter, post};

use crate::answer;
use crate::collector::Collector;
use crate::refusal::Refusal;

pub(crate) fn router(collector: Arc<Collector>) -> Router {
    Router::new()
        .route("/events", methods(post(to_default_stream)))
        .route("/events/", methods(post(to_default_stream)))
        .route("/events/{*stream}", methods(post(to_named_stream)))
        .with_state(collector)
}

fn methods(post: MethodRouter<Arc<Collector>>) -> MethodRouter<Arc<Collector>> {
    post.options(answer::preflight).fallback(other_method)
}

async fn to_default_stream(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    run(collector, None, request).await
}

async fn to_named_stream(
    State(collector): State<Arc<Collector>>,
    stream: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    // A path that is no text names no stream either.
    let stream = stream.map_or_else(|_| request.uri().path().to_owned(), |Path(stream)| stream);
    run(collector, Some(stream), request).await
}

/// Runs the request in a task of its own: it goes on when the client goes away, so that an append is
/// never cut in half, and a panic in it ends in an answer.
async fn run(collector: Arc<Collector>, stream: Option<String>, request: Request) -> Response {
    let version = request.version();
    let task = collector.clock.spawn(Arc::clone(&collector).take(stream, request));
    let outcome = task.await.unwrap_or_else(|failure| {
        tracing::error!(%failure, "a request failed by a bug; the client is answered 503");
        Err(Refusal::Internal)
    });
    match outcome {
        Ok(accepted) => answer::accepted(&accepted),
        Err(refusal) => answer::refused(&refusal, version, &collector.limits),
    }
}

async fn other_method(State(collector): State<Arc<Collector>>, method: Method, version: Version) -> Response {
    let refusal = Refusal::MethodNotAllowed { method: method.as_str().chars().take(100).collect() };
    answer::refused(&refusal, version, &collector.limits)
}
