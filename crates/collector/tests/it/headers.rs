//! Paths, methods and headers.

use axum::body::Body;
use axum::http::{Method, Request};

use crate::support::{Answer, Fixture};

async fn request(method: Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).body(Body::from("{}")).unwrap();
    Fixture::new().send(request).await
}

#[tokio::test]
async fn content_types_that_cannot_be_json_are_refused() {
    for content_type in ["multipart/form-data; boundary=x", "image/png", "application/x-protobuf", "text/xml"]
    {
        let fixture = Fixture::new();
        let answer = fixture.post_with(&[("content-type", content_type)], "{}").await;
        answer.assert_error(415, "unsupported_media_type");
        assert!(fixture.logged().is_empty());
    }
}

#[tokio::test]
async fn encodings_that_are_unknown_or_several_are_refused_with_the_ones_that_work() {
    for encoding in ["br", "deflate", "gzip, zstd", "gzip,gzip"] {
        let fixture = Fixture::new();
        let answer = fixture.post_with(&[("content-encoding", encoding)], "{}").await;
        answer.assert_error(415, "unsupported_encoding");
        assert_eq!(answer.header("accept-encoding"), Some("gzip, zstd, identity"));
    }
    let twice = [("content-encoding", "gzip"), ("content-encoding", "gzip")];
    Fixture::new().post_with(&twice, "{}").await.assert_error(415, "unsupported_encoding");
}

#[tokio::test]
async fn an_unknown_stream_is_told_the_known_ones_and_the_nearest() {
    let answer = request(Method::POST, "/events/click").await;
    answer.assert_error(404, "unknown_stream");
    assert!(answer.message().contains(r#"did you mean "clicks"?"#), "{}", answer.message());
    assert!(answer.message().contains("clicks, logs"), "{}", answer.message());

    let answer = request(Method::POST, "/events/something-else").await;
    answer.assert_error(404, "unknown_stream");
    assert!(!answer.message().contains("did you mean"), "{}", answer.message());
}

#[tokio::test]
async fn paths_below_events_that_are_no_stream_are_unknown_streams() {
    for path in ["/events/logs/1", "/events/LOGS", "/events/logs%2F", "/events/%FF", "/events/logs__dead"] {
        request(Method::POST, path).await.assert_error(404, "unknown_stream");
    }
}

#[tokio::test]
async fn the_default_stream_is_reached_with_and_without_its_name() {
    for path in ["/events", "/events/", "/events/logs", "/events?source=beacon"] {
        assert_eq!(request(Method::POST, path).await.accepted(), 1, "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_told_to_post() {
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        for path in ["/events", "/events/clicks"] {
            let answer = request(method.clone(), path).await;
            answer.assert_error(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
        }
    }
}

#[tokio::test]
async fn pages_of_any_origin_may_send() {
    let preflight = request(Method::OPTIONS, "/events/logs").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("POST, OPTIONS"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("*, Authorization"));

    for body in ["{}", "broken"] {
        let answer = Fixture::new().post_with(&[("origin", "https://shop.example")], body).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
}
