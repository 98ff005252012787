//! The client everybody has, as it comes.

use std::io::Write;

use serde_json::Value;
use tokio::process::Command;

use crate::support::Fixture;
use crate::tcp::Server;

const MIB: usize = 1024 * 1024;

/// Runs curl with `arguments` against the path of the server; gives the status and the body.
async fn curl(server: &Server, arguments: &[&str]) -> (u64, Value) {
    let url = format!("http://{}/events", server.address());
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--write-out", "\n%{http_code}"])
        .args(arguments)
        .arg(url)
        .output()
        .await
        .expect("curl is installed");
    let printed = String::from_utf8(output.stdout).unwrap();
    let (body, status) = printed.rsplit_once('\n').unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {errors}");
    (status.parse().unwrap(), serde_json::from_str(body).unwrap())
}

fn file_with(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn event_of(bytes: usize) -> String {
    format!("{{\"text\":\"{}\"}}", "x".repeat(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sends_an_event_of_ten_megabytes() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.router.clone()).await;
    let event = event_of(10 * MIB);
    let file = file_with(&event);
    let (status, answer) = curl(&server, &["--data-binary", &format!("@{}", file.path().display())]).await;
    assert_eq!((status, &answer["accepted"]), (200, &1.into()));
    assert!(fixture.logged() == [event]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_told_why_a_body_over_the_limit_is_refused() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.router.clone()).await;
    let file = file_with(&event_of(20 * MIB));
    let data = format!("@{}", file.path().display());
    for asks_first in ["Expect: 100-continue", "Expect:"] {
        let (status, answer) = curl(&server, &["--header", asks_first, "--data-binary", &data]).await;
        assert_eq!((status, &answer["code"]), (413, &"too_large".into()), "{asks_first}");
    }
    let path = file.path().display().to_string();
    let (status, answer) = curl(
        &server,
        &["--request", "POST", "--header", "Transfer-Encoding: chunked", "--upload-file", &path],
    )
    .await;
    assert_eq!((status, &answer["code"]), (413, &"too_large".into()), "chunked");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_told_that_a_form_with_files_holds_no_events() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.router.clone()).await;
    let (status, answer) = curl(&server, &["--form", "event={}"]).await;
    assert_eq!((status, &answer["code"]), (415, &"unsupported_media_type".into()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_may_speak_http2() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.router.clone()).await;
    let (status, answer) = curl(&server, &["--http2-prior-knowledge", "--data", "{}"]).await;
    assert_eq!((status, &answer["accepted"]), (200, &1.into()));
    fixture.collector.stop_accepting();
    let (status, answer) = curl(&server, &["--http2-prior-knowledge", "--data", "{}"]).await;
    assert_eq!((status, &answer["code"]), (503, &"shutting_down".into()));
    server.stop().await;
}
