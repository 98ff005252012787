//! SQL over HTTP, on a real engine.

use arrow::ipc::reader::StreamReader;
use axum::body::{Body, to_bytes};
use axum::http::{Response, StatusCode, header};
use event::limits::SQL_BYTES_MAX;
use live::run_sql;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::engine;
use crate::support::{self, Served, post, start, text};

/// A server with three events that have not landed.
async fn serve_sql() -> (Served, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let served = support::start_with(1, |log, clock| Some(run_sql(engine(log, folder.path(), clock))));
    for event in [r#"{"action":"buy","n":9007199254740993}"#, r#"{"action":"b,\"y","n":2}"#, r#"{"n":3}"#] {
        served.log.put(0, Some(event.as_bytes()));
    }
    (served, folder)
}

async fn ask(served: &Served, accept: Option<&str>, sql: &str) -> Response<Body> {
    served.request(post("/sql", "application/sql", accept, sql.to_owned())).await
}

const ALL: &str = "SELECT action, n FROM logs ORDER BY n DESC";

#[tokio::test]
async fn the_answer_comes_in_the_format_that_is_asked_for() {
    let (served, _folder) = serve_sql().await;
    let rows = json!([
        {"action": "buy", "n": 9_007_199_254_740_993_u64}, {"action": null, "n": 3}, {"action": "b,\"y", "n": 2},
    ]);
    for accept in [None, Some("*/*"), Some("application/json")] {
        let response = ask(&served, accept, ALL).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(support::json(response).await, (StatusCode::OK, rows.clone()), "{accept:?}");
    }
    let response = ask(&served, Some("application/x-ndjson"), ALL).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    let lines: Vec<Value> =
        text(response).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::from(lines), rows);
    let response = ask(&served, Some("text/csv"), ALL).await;
    assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/csv"));
    assert_eq!(text(response).await, "action,n\r\nbuy,9007199254740993\r\n,3\r\n\"b,\"\"y\",2\r\n");
}

#[tokio::test]
async fn an_arrow_stream_is_read_by_arrow() {
    let (served, _folder) = serve_sql().await;
    let response = ask(&served, Some("application/vnd.apache.arrow.stream"), ALL).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/vnd.apache.arrow.stream");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let reader = StreamReader::try_new(&*bytes, None).unwrap();
    assert_eq!(
        reader.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["action", "n"]
    );
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 3);
}

#[tokio::test]
async fn every_answer_says_how_fresh_it_is() {
    let (served, _folder) = serve_sql().await;
    let response = ask(&served, None, "SELECT count(*) AS n FROM logs").await;
    let freshness: Value =
        serde_json::from_str(response.headers()["laker-freshness"].to_str().unwrap()).unwrap();
    let logs = &freshness[0];
    assert_eq!(
        (&logs["table"], &logs["version"], &logs["from_log"]),
        (&json!("logs"), &Value::Null, &json!(3))
    );
    assert_eq!(logs["incomplete"], false);
    assert!(logs["text"].as_str().unwrap().contains("3 events from the log"), "{logs}");
}

#[tokio::test]
async fn a_wrong_statement_is_refused_with_its_reason() {
    let (served, _folder) = serve_sql().await;
    for (sql, part) in [
        ("SELEC 1", "SELEC"),
        ("SELECT acton FROM logs", "action"),
        ("SELECT * FROM lgos", "logs"),
        ("DROP TABLE logs", ""),
        ("", ""),
        ("SELECT 1; SELECT 2", ""),
        ("SELECT CAST('x' AS INT)", "x"),
    ] {
        let (status, body) = support::json(ask(&served, None, sql).await).await;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("bad_sql")), "{sql}: {body}");
        assert!(body["message"].as_str().unwrap().contains(part), "{sql}: {body}");
    }
}

#[tokio::test]
async fn an_error_of_the_first_rows_has_a_status_in_every_format() {
    let (served, _folder) = serve_sql().await;
    for accept in
        ["application/json", "application/x-ndjson", "text/csv", "application/vnd.apache.arrow.stream"]
    {
        let response = ask(&served, Some(accept), "SELECT CAST(action AS BIGINT) FROM logs").await;
        assert_eq!(support::json(response).await.0, StatusCode::BAD_REQUEST, "{accept}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_statement_is_refused() {
    let (served, _folder) = serve_sql().await;
    let long = format!("SELECT '{}'", "x".repeat(SQL_BYTES_MAX));
    let (status, body) = support::json(ask(&served, None, &long).await).await;
    assert_eq!((status, &body["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("too_large")));
    let broken = served.request(post("/sql", "text/plain", None, vec![b'S', 0xff])).await;
    let (status, body) = support::json(broken).await;
    assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("bad_sql")));
}

#[tokio::test]
async fn an_unavailable_log_is_said_in_the_answer_or_refuses_it() {
    let (served, _folder) = serve_sql().await;
    served.log.fail(Some("the disk is on fire"));
    let response = ask(&served, None, "SELECT count(*) AS n FROM logs").await;
    let said = response.headers().get("laker-freshness").map(|json| json.to_str().unwrap().to_owned());
    let (status, body) = support::json(response).await;
    match status {
        StatusCode::OK => assert!(said.unwrap().contains("the disk is on fire")),
        refused => {
            assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE, "{body}");
            assert!(body["message"].as_str().unwrap().contains("the disk is on fire"), "{body}");
        }
    }
}

#[tokio::test]
async fn a_process_without_sql_says_where_to_ask() {
    let served = start(1);
    let (status, body) = support::json(ask(&served, None, "SELECT 1").await).await;
    assert_eq!((status, &body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("no_sql")));
    assert!(body["message"].as_str().unwrap().contains("laker serve"));
}

#[tokio::test]
async fn the_page_is_told_that_there_is_sql() {
    let (served, _folder) = serve_sql().await;
    assert_eq!(served.json("/live/streams").await["sql"], true);
}
