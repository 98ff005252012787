//! Headers and paths of requests.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Uri};

use crate::requests::Bench;

thread_local! {
    static BENCH: Bench = Bench::new();
}

/// Whatever method, path, content type and encoding a request has, one to a line, it is answered in
/// the agreed form, and an event is taken with 200 only.
pub fn run(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (Ok(method), Ok(path)) =
        (Method::from_bytes(line()), Uri::try_from([&b"/events"[..], line()].concat()))
    else {
        return;
    };
    if method == Method::HEAD {
        // Its answer has no body.
        return;
    }
    let mut request = Request::new(Body::from("{\"k\":1}"));
    *request.method_mut() = method;
    *request.uri_mut() = path;
    for name in ["content-type", "content-encoding", "content-encoding", "content-length", "expect"] {
        match HeaderValue::from_bytes(line()) {
            Ok(value) if !value.is_empty() => request.headers_mut().append(name, value),
            _ => continue,
        };
    }
    let outcome = BENCH.with(|bench| bench.send(request));
    match outcome.status {
        200 => assert_eq!((outcome.json["accepted"].as_u64(), outcome.logged.len()), (Some(1), 1)),
        204 => assert!(outcome.logged.is_empty(), "a pre-flight takes nothing"),
        400 | 404 | 405 | 408 | 413 | 415 => {
            assert!(outcome.logged.is_empty(), "what is refused is not taken");
            // A path that is none of ours is axum's to answer.
            assert!(outcome.json["code"].is_string() || outcome.status == 404, "{}", outcome.json);
        }
        other => panic!("{other} {}", outcome.json),
    }
}
