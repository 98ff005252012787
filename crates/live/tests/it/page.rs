//! The page and its headers.

use std::collections::BTreeSet;
use std::io::Read;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, header};

use crate::support::{Served, start, text};

async fn get_with(served: &Served, path: &str, name: header::HeaderName, value: &str) -> Response<Body> {
    served.request(Request::get(path).header(name, value).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn no_script_but_ours_can_run_and_nothing_is_loaded_from_elsewhere() {
    let served = start(1);
    for path in ["/", "/assets/page.js", "/assets/plotly.min.js"] {
        let response = served.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let headers = response.headers();
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
        assert!(!policy.contains("unsafe-eval") && !policy.contains("http"), "{policy}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
    }
}

#[tokio::test]
async fn every_module_the_page_imports_is_served_as_a_script() {
    let served = start(1);
    let mut waiting = vec!["page.js".to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let response = served.get(&format!("/assets/{name}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        let script = text(response).await;
        let imports = script.lines().filter_map(|line| line.split_once(" from \"./")?.1.split('"').next());
        waiting.extend(imports.map(str::to_owned));
    }
    assert!(seen.len() > 5, "{seen:?}");
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again() {
    let served = start(1);
    let first = served.get("/assets/page.css").await;
    let etag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
    let again = get_with(&served, "/assets/page.css", header::IF_NONE_MATCH, &etag).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert!(to_bytes(again.into_body(), usize::MAX).await.unwrap().is_empty());
    let other = get_with(&served, "/assets/page.css", header::IF_NONE_MATCH, "\"other\"").await;
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_chart_library_is_the_same_with_and_without_gzip() {
    let served = start(1);
    let zipped = get_with(&served, "/assets/plotly.min.js", header::ACCEPT_ENCODING, "gzip, br").await;
    assert_eq!(zipped.headers()[header::CONTENT_ENCODING], "gzip");
    let zipped = to_bytes(zipped.into_body(), usize::MAX).await.unwrap();
    let mut unzipped = String::new();
    flate2::read::GzDecoder::new(&*zipped).read_to_string(&mut unzipped).unwrap();
    let plain = served.get("/assets/plotly.min.js").await;
    assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
    let plain = text(plain).await;
    assert!(plain.contains("window.Plotly = Plotly") && plain == unzipped);
}

#[tokio::test]
async fn an_unknown_file_is_refused() {
    let served = start(1);
    for path in ["/assets/nope.js", "/assets/..%2fCargo.toml", "/assets/index.html"] {
        assert_eq!(served.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
