//! Answers written down.

use std::io::Cursor;

use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use event::limits;
use futures::{StreamExt, TryStreamExt};
use query::{Format, QueryEngine, QueryErrorKind};

use crate::support::{Kind, Stream, text};

const AWKWARD: &str = "SELECT n, big, word, ok, nested, list, _time, event_date, ms, raw FROM logs \
     LEFT JOIN (SELECT raw, 3 AS at FROM logs__dead) ON at = n ORDER BY n";

/// Values that formats break on.
async fn awkward() -> (Stream, QueryEngine) {
    let stream = Stream::new("logs", Kind::Delta).await;
    stream
        .send(&[
            r#"{"n": 1, "big": 9223372036854775807, "word": "say \"hi\", all\nright", "ok": true, "ms": 0.1, "timestamp": "2026-01-02T03:04:05.678901Z"}"#,
            r#"{"n": 2, "word": "", "nested": {"a": {"b": "x"}, "c": null}, "list": [1, 2], "timestamp": "1969-12-31T23:59:59Z"}"#,
            r#"{"n": 3, "big": -9223372036854775808, "word": "서울 \u001b[31m\u202e", "ms": 12.0, "timestamp": "2026-01-02T03:04:05Z"}"#,
        ])
        .await;
    stream.log_bytes(b"caf\xc3\xa9 \xff\\").await;
    stream.land().await;
    let engine = stream.engine();
    (stream, engine)
}

#[tokio::test]
async fn csv_is_rfc_4180() {
    let (_stream, engine) = awkward().await;
    let csv = text(&engine, AWKWARD, Format::Csv).await.unwrap();
    let want = concat!(
        "n,big,word,ok,nested,list,_time,event_date,ms,raw\r\n",
        "1,9223372036854775807,\"say \"\"hi\"\", all\nright\",true,,,2026-01-02T03:04:05.678901Z,2026-01-02,0.1,\r\n",
        "2,,\"\",,\"{\"\"a\"\":{\"\"b\"\":\"\"x\"\"}}\",\"[1,2]\",1969-12-31T23:59:59Z,1969-12-31,,\r\n",
        "3,-9223372036854775808,서울 \u{1b}[31m\u{202e},,,,2026-01-02T03:04:05Z,2026-01-02,12.0,café \\xFF\\\\\r\n",
    );
    assert_eq!(csv, want);
}

#[tokio::test]
async fn json_has_every_column_and_every_digit() {
    let (_stream, engine) = awkward().await;
    let json = text(&engine, AWKWARD, Format::Json).await.unwrap();
    let first = json.lines().next().unwrap();
    assert_eq!(
        first,
        "[{\"n\":1,\"big\":9223372036854775807,\"word\":\"say \\\"hi\\\", all\\nright\",\"ok\":true,\"nested\":null,\"list\":null,\
         \"_time\":\"2026-01-02T03:04:05.678901Z\",\"event_date\":\"2026-01-02\",\"ms\":0.1,\"raw\":null},"
    );
    let parsed: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed.len(), 3);
    assert_eq!(parsed[1]["nested"], serde_json::json!({"a": {"b": "x"}}));
    assert_eq!(parsed[1]["list"], serde_json::json!([1, 2]));
    assert_eq!(parsed[1]["_time"], "1969-12-31T23:59:59Z");
    assert_eq!(parsed[2]["big"], i64::MIN);
    assert_eq!(parsed[2]["word"], "서울 \u{1b}[31m\u{202e}");
    assert_eq!(parsed[2]["raw"], "café \\xFF\\\\");
    let ndjson = text(&engine, AWKWARD, Format::Ndjson).await.unwrap();
    let lines: Vec<serde_json::Value> =
        ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, parsed);
}

#[tokio::test]
async fn a_table_is_aligned_and_cannot_reach_the_terminal() {
    let (_stream, engine) = awkward().await;
    let table = text(&engine, "SELECT n, word, big, ok FROM logs ORDER BY n", Format::Table).await.unwrap();
    let want = concat!(
        "n  word                             big  ok\n",
        "-  --------------------------  --------------------  ----\n",
    );
    assert_eq!(table.lines().count(), 6, "{table}");
    assert!(!table.contains('\u{1b}') && !table.contains('\u{202e}'), "{table:?}");
    println!("{table}{want}");
}

#[tokio::test]
async fn no_rows_are_an_answer_too() {
    let (_stream, engine) = awkward().await;
    let none = "SELECT n, word FROM logs WHERE n > 5";
    assert_eq!(text(&engine, none, Format::Csv).await.unwrap(), "n,word\r\n");
    assert_eq!(text(&engine, none, Format::Json).await.unwrap(), "[]\n");
    assert_eq!(text(&engine, none, Format::Ndjson).await.unwrap(), "");
    assert_eq!(text(&engine, none, Format::Table).await.unwrap(), "n  word\n-  ----\n(0 rows)\n");
    assert_eq!(arrow_rows(&engine, none).await, (vec!["n".to_owned(), "word".to_owned()], 0));
}

#[tokio::test]
async fn arrow_is_a_stream_that_arrow_reads() {
    let (_stream, engine) = awkward().await;
    let (columns, count) = arrow_rows(&engine, AWKWARD).await;
    assert_eq!((columns.len(), count), (10, 3));
}

#[tokio::test]
async fn columns_of_one_name_stay_apart() {
    let (_stream, engine) = awkward().await;
    let json = text(
        &engine,
        "SELECT a.n, b.n, a.n + 1 AS n_1 FROM logs a JOIN logs b ON a.n = b.n + 1 WHERE a.n = 2",
        Format::Json,
    );
    assert_eq!(json.await.unwrap(), "[{\"n\":2,\"n_1\":1,\"n_1_1\":3}]\n");
}

#[tokio::test]
async fn text_without_an_array_may_be_longer_than_one_with() {
    let (_stream, engine) = awkward().await;
    let rows_max = limits::QUERY_ROWS_MAX;
    let many = format!("SELECT value FROM generate_series(1, {})", rows_max + 1);
    let error = text(&engine, &many, Format::Json).await.unwrap_err();
    assert_eq!(error.kind(), QueryErrorKind::TooLarge);
    assert!(error.to_string().contains("1000000 rows"), "{error}");
    let csv = text(&engine, &many, Format::Csv).await.unwrap();
    assert_eq!(csv.lines().count(), rows_max + 2);
    let table = text(&engine, &many, Format::Table).await.unwrap();
    assert!(
        table.ends_with("(the first 1000 rows; there are more: add a LIMIT, or use --format csv)\n"),
        "{table}"
    );
}

#[tokio::test]
async fn an_error_behind_the_first_rows_ends_the_json_unclosed() {
    let (_stream, engine) = awkward().await;
    let answer = engine.run("SELECT 10 / (500000 - value) FROM generate_series(1, 600000)").await.unwrap();
    let mut chunks = Format::Json.write(answer);
    let mut text = Vec::new();
    let error = loop {
        match chunks.next().await.expect("an error comes before the end") {
            Ok(chunk) => text.extend_from_slice(&chunk),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), QueryErrorKind::BadSql, "{error}");
    assert!(text.starts_with(b"[") && !text.ends_with(b"]\n"));
    assert!(chunks.next().await.is_none());
}

async fn arrow_rows(engine: &QueryEngine, sql: &str) -> (Vec<String>, usize) {
    let answer = engine.run(sql).await.unwrap();
    let chunks: Vec<Bytes> = Format::Arrow.write(answer).try_collect().await.unwrap();
    let reader = StreamReader::try_new(Cursor::new(chunks.concat()), None).unwrap();
    let columns = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
    (columns, reader.map(|batch| batch.unwrap().num_rows()).sum())
}
