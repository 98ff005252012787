//! The language: names, errors, what is refused.

use std::time::Duration;

use event::Clock;
use query::{Format, QueryEngine, QueryErrorKind, QueryOptions};

use crate::support::{Kind, Stream, engine, refusal, rows, text};

async fn tickets() -> (Stream, QueryEngine) {
    let stream = Stream::new("logs", Kind::Delta).await;
    stream
        .send(&[
            r#"{"action": "search", "userId": "u1", "keyword": "opera", "region": "Seoul", "ms": 12, "device": {"osName": "ios"}, "timestamp": "2026-03-01T10:07:31Z"}"#,
            r#"{"action": "search", "userId": "u2", "keyword": "opera", "region": "Busan", "ms": 30, "device": {"osName": "web"}, "timestamp": "2026-03-01T10:59:59.5+09:00"}"#,
        ])
        .await;
    stream.land().await;
    stream.send(&[r#"{"action": "buy", "userId": "u1", "ms": 250, "timestamp": 1772360000}"#, "{"]).await;
    let engine = stream.engine();
    (stream, engine)
}

#[tokio::test]
async fn tables_and_columns_can_be_listed() {
    let (_stream, engine) = tickets().await;
    assert_eq!(rows(&engine, "SHOW TABLES").await, "logs|logs__dead");
    let columns = rows(&engine, "DESCRIBE Logs").await;
    assert!(
        columns.starts_with("_partition,int,NO|_offset,long,NO|_received_at,timestamp,NO|_time,timestamp,NO"),
        "{columns}"
    );
    assert!(columns.contains("event_date,date,NO"), "{columns}");
    assert!(columns.contains("device,struct<osName: string>,YES"), "{columns}");
    assert_eq!(columns, rows(&engine, "SHOW COLUMNS FROM logs").await);
    assert!(rows(&engine, "DESC logs__dead").await.contains("raw,binary,NO"));
}

#[tokio::test]
async fn names_need_no_quotes_and_no_certain_case() {
    let (_stream, engine) = tickets().await;
    for sql in [
        "SELECT userId FROM logs WHERE action = 'buy'",
        "SELECT USERID FROM LOGS WHERE ACTION = 'buy'",
        "select \"userId\" from \"logs\" where \"action\" = 'buy'",
        "SELECT L.userid FROM logs AS l WHERE l.Action = 'buy'",
        "SELECT logs.userId FROM public.logs WHERE Logs.action = 'buy'",
        "WITH Buyers AS (SELECT userId AS Who FROM logs WHERE action = 'buy') SELECT who FROM buyers",
        "SELECT Who FROM (SELECT userid AS who FROM logs WHERE action = 'buy') AS T",
    ] {
        assert_eq!(rows(&engine, sql).await, "u1", "{sql}");
    }
    assert_eq!(
        rows(&engine, "SELECT DISTINCT device.osname FROM logs WHERE Device.OSName IS NOT NULL ORDER BY 1")
            .await,
        "ios|web"
    );
    assert_eq!(
        rows(&engine, "SELECT action, count(*) AS Total FROM logs GROUP BY Action ORDER BY TOTAL DESC").await,
        "search,2|buy,1"
    );
    assert_eq!(rows(&engine, "SELECT l.* FROM logs__dead L").await.split('|').count(), 1);
    let answer = engine.run("SELECT USERID, COUNT(*) FROM logs GROUP BY 1").await.unwrap();
    assert_eq!(answer.schema.field(0).name(), "userId");
    assert_eq!(answer.schema.field(1).name(), "COUNT(*)");
}

#[tokio::test]
async fn a_streams_name_may_have_hyphens_and_capitals() {
    let stream = Stream::new("Search-2-events", Kind::Parquet).await;
    stream.send(&[r#"{"a-b": 5, "a": 7, "b": 3}"#, "x"]).await;
    let engine = stream.engine();
    for sql in [
        "SELECT a-b FROM Search-2-events",
        "SELECT a - b FROM search-2-EVENTS AS s",
        "SELECT \"Search-2-events\".a - 3 FROM \"Search-2-events\"",
        "SELECT count(*) + 3 FROM search-2-events__dead",
    ] {
        assert_eq!(rows(&engine, sql).await, "4", "{sql}");
    }
    assert_eq!(rows(&engine, "SELECT \"a-b\" FROM search-2-events").await, "5");
    assert_eq!(rows(&engine, "SHOW TABLES").await, "Search-2-events|Search-2-events__dead");
    assert!(rows(&engine, "DESCRIBE search-2-events").await.contains("a-b,long,YES"));
}

#[tokio::test]
async fn a_wrong_name_is_answered_with_the_right_one() {
    let (_stream, engine) = tickets().await;
    for (sql, message) in [
        ("SELECT keywrd FROM logs", r#"no column "keywrd" in logs; did you mean "keyword"?"#),
        (
            "SELECT count(*) FROM logs WHERE user_id = 'u1'",
            r#"no column "user_id" in logs; did you mean "userId"?"#,
        ),
        ("SELECT l.regoin FROM logs l", r#"no column "regoin" in l; did you mean "region"?"#),
        (
            "SELECT region FROM logs GROUP BY regions",
            r#"no column "regions" in logs; did you mean "region"?"#,
        ),
        ("SELECT \"USERID\" FROM logs", r#"no column "USERID" in logs; did you mean "userId"?"#),
        ("SELECT zzz FROM logs", r#"no column "zzz" in logs; DESCRIBE lists the columns of a table"#),
        ("SELECT * FROM log", r#"no table "log"; did you mean "logs"?"#),
        (
            "SELECT * FROM logs JOIN orders USING (userId)",
            r#"no table "orders"; SHOW TABLES lists the tables there are"#,
        ),
        ("DESCRIBE logs_dead", r#"no table "logs_dead"; did you mean "logs__dead"?"#),
    ] {
        let error = refusal(&engine, sql).await;
        assert_eq!(error.to_string(), message, "{sql}");
        assert_eq!(error.kind(), QueryErrorKind::BadSql);
    }
    let error = refusal(&engine, "SELECT device.osnaem FROM logs").await;
    assert_eq!(error.to_string(), r#"no field "osnaem" in this struct; did you mean "osName"?"#);
    let error = refusal(&engine, "SELECT date_trnc('day', _time) FROM logs").await;
    assert_eq!(error.to_string(), "Invalid function 'date_trnc'. Did you mean 'date_trunc'?");
    let error = refusal(&engine, "SELECT sum(action) FROM logs").await;
    assert!(
        error.to_string().starts_with("No function matches the given name and argument types 'sum(Utf8)'"),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_but_reading_is_possible() {
    let (stream, engine) = tickets().await;
    let secret = stream.folder().join("secret.csv");
    std::fs::write(&secret, "a\n1\n").unwrap();
    let path = secret.display().to_string();
    for sql in [
        "DROP TABLE logs".to_owned(),
        "INSERT INTO logs (action) VALUES ('x')".to_owned(),
        "CREATE TABLE t AS SELECT * FROM logs".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{path}'"),
        format!("COPY (SELECT 1) TO '{path}'"),
        format!("COPY logs FROM '{path}'"),
        "SET datafusion.catalog.information_schema = true".to_owned(),
        "SHOW ALL".to_owned(),
        "BEGIN".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "SELECT 1 INTO t".to_owned(),
        "EXPLAIN INSERT INTO logs (action) VALUES ('x')".to_owned(),
        "WITH x AS (DELETE FROM logs RETURNING 1) SELECT * FROM x".to_owned(),
        format!("SELECT * FROM '{path}'"),
        format!("SELECT * FROM \"{path}\""),
        format!("SELECT * FROM read_csv('{path}')"),
        "SELECT * FROM information_schema.tables".to_owned(),
    ] {
        let error = refusal(&engine, &sql).await;
        assert_eq!(error.kind(), QueryErrorKind::BadSql, "{sql}: {error}");
    }
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "a\n1\n");
    assert_eq!(rows(&engine, "SHOW TABLES").await, "logs|logs__dead");
}

#[tokio::test]
async fn what_dashboards_need_is_there() {
    let (_stream, engine) = tickets().await;
    for (sql, want) in [
        (
            "SELECT date_trunc('hour', _time) AS hour, count(*) FROM logs GROUP BY hour ORDER BY hour",
            "2026-03-01T01:00:00Z,1|2026-03-01T10:00:00Z,2",
        ),
        (
            "SELECT date_bin(INTERVAL '15 minutes', _time) AS t, count(*) FROM logs GROUP BY t ORDER BY t",
            "2026-03-01T01:45:00Z,1|2026-03-01T10:00:00Z,2",
        ),
        ("SELECT count(DISTINCT userId), approx_distinct(userId) FROM logs", "2,2"),
        ("SELECT round(avg(ms), 1), median(ms), sum(ms), min(ms), max(ms) FROM logs", "97.3,30.0,292,12,250"),
        ("SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FROM logs", "30.0"),
        ("SELECT approx_percentile_cont(ms, 0.5) FROM logs", "30.0"),
        (
            "SELECT keyword, region, row_number() OVER (PARTITION BY keyword ORDER BY region) FROM logs WHERE keyword IS NOT NULL ORDER BY region",
            "opera,Busan,1|opera,Seoul,2",
        ),
        ("SELECT count(*) FROM logs WHERE _received_at > now() - INTERVAL '1 hour'", "3"),
        ("SELECT count(*) FROM logs WHERE _received_at > now() + INTERVAL '1 hour'", "0"),
        (
            "SELECT upper(action), length(userId), coalesce(region, '-') FROM logs WHERE action = 'buy'",
            "BUY,2,-",
        ),
        ("SELECT count(*) FROM logs WHERE keyword ILIKE '%OPER%' AND regexp_like(region, '^S')", "1"),
        (
            "SELECT CASE WHEN ms > 100 THEN 'slow' ELSE 'fast' END AS speed, count(*) FROM logs GROUP BY speed ORDER BY speed",
            "fast,2|slow,1",
        ),
        ("SELECT sum(CASE WHEN action = 'buy' THEN 1 ELSE 0 END) * 100.0 / count(*) > 33 FROM logs", "true"),
        (
            "SELECT extract(hour FROM _time), to_char(_time, '%Y-%m') FROM logs WHERE action = 'buy'",
            "10,2026-03",
        ),
        ("SELECT abs(-1), floor(1.5), power(2, 3), greatest(1, 2), nullif(1, 1)", "1,1.0,8.0,2,"),
        (
            "SELECT a.userId, b.action FROM logs a JOIN logs b ON a.userId = b.userId AND a.action <> b.action WHERE a.action = 'buy'",
            "u1,search",
        ),
        (
            "SELECT count(*) FROM logs l LEFT JOIN logs__dead d ON l._offset = d._offset AND l._partition = d._partition",
            "3",
        ),
        ("SELECT string_agg(action, '+' ORDER BY action) FROM logs", "buy+search+search"),
        ("SELECT * FROM (VALUES (1), (2)) AS v(x) ORDER BY x DESC", "2|1"),
        (
            "SELECT action FROM logs UNION SELECT reason FROM logs__dead ORDER BY 1 LIMIT 2",
            "buy|invalid_json",
        ),
    ] {
        assert_eq!(rows(&engine, sql).await, want, "{sql}");
    }
}

#[tokio::test]
async fn columns_are_called_what_was_written() {
    let (_stream, engine) = tickets().await;
    for (sql, names) in [
        ("SELECT avg(ms), COUNT(*), max(ms) / 2 FROM logs", "avg(ms)|COUNT(*)|max(ms) / 2"),
        ("SELECT device.osName, logs.ms FROM logs", "osName|ms"),
        ("SELECT logs.ms, l2.action FROM logs JOIN logs l2 USING (_id)", "ms|action"),
        (
            "SELECT date_trunc('hour', _time), count(*) FROM logs GROUP BY 1 ORDER BY count(*) DESC, 1",
            "date_trunc('hour', _time)|count(*)",
        ),
        (
            "SELECT action, max(ms) FROM logs GROUP BY action HAVING max(ms) > 1 ORDER BY max(ms)",
            "action|max(ms)",
        ),
        ("SELECT \"sum(ms)\" FROM (SELECT sum(ms) FROM logs)", "sum(ms)"),
        (
            "SELECT max(ms), max(ms) + 1, 1, 'x', upper(action) AS \"max(ms) + 1\" FROM logs GROUP BY action",
            "max(ms)|max(logs.ms) + Int64(1)|1|'x'|max(ms) + 1",
        ),
        ("SELECT ms, action AS n FROM logs UNION ALL SELECT 1, 'b' ORDER BY 1", "ms|n"),
        ("SELECT DISTINCT device.osname FROM logs ORDER BY device.osname", "osname"),
        ("SELECT unnest([1, 2])", "UNNEST(make_array(Int64(1),Int64(2)))"),
    ] {
        let answer = engine.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let got: Vec<&str> = answer.schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(got.join("|"), names, "{sql}");
    }
}

/// Chains of operators become deep trees, and a deep tree must not end the process.
#[tokio::test]
async fn the_deepest_statement_that_is_let_through_fits_the_stack() {
    let (_stream, engine) = tickets().await;
    for (start, link, links) in [
        ("SELECT 1", "+1", 1_900),
        ("SELECT 1 FROM logs WHERE true", " OR ms=1", 900),
        ("SELECT 1 FROM logs WHERE ms=1", " AND ms<>1", 900),
        ("SELECT ''", "||''", 1_900),
        ("SELECT 1", "::int", 900),
        ("SELECT [1]", "[1]", 1_900),
        ("SELECT 1", " UNION ALL SELECT 1", 600),
        ("SELECT 1", " IS NULL", 900),
        ("SELECT * FROM logs", " JOIN logs__dead USING (_offset)", 190),
    ] {
        let sql = format!("{start}{}", link.repeat(links));
        let answer = text(&engine, &sql, Format::Csv).await;
        println!("{link}: {:?}", answer.as_ref().map(String::len).map_err(ToString::to_string));
        assert!(
            answer.is_ok() || answer.is_err_and(|error| error.kind() == QueryErrorKind::BadSql),
            "{link}"
        );
    }
}

#[tokio::test]
async fn a_plan_is_shown_whole() {
    let (_stream, engine) = tickets().await;
    let plan = text(&engine, "EXPLAIN SELECT count(*) FROM logs WHERE ms > 20", Format::Table).await.unwrap();
    assert!(plan.contains("DataSourceExec") && plan.contains("UnionExec"), "{plan}");
    let analyzed = text(&engine, "EXPLAIN ANALYZE SELECT count(*) FROM logs WHERE ms > 20", Format::Table)
        .await
        .unwrap();
    assert!(analyzed.contains("output_rows"), "{analyzed}");
}

#[tokio::test]
async fn errors_of_the_statement_are_the_statements() {
    let (_stream, engine) = tickets().await;
    for sql in [
        "SELECT 1 / 0",
        "SELECT CAST(action AS BIGINT) FROM logs",
        "SELECT action FROM logs GROUP BY region",
        "SELECT sum(action) FROM logs",
        "SELECT * FROM logs WHERE ms",
        "SELECT nosuch(1)",
        "SELECT a.action FROM logs a, logs b WHERE action = 'x'",
    ] {
        let error = refusal(&engine, sql).await;
        assert_eq!(error.kind(), QueryErrorKind::BadSql, "{sql}: {error}");
        assert!(!error.to_string().contains("bug in DataFusion"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_statement_ends_at_its_deadline() {
    let (stream, _) = tickets().await;
    // Long enough for the small statement below, on a machine as busy as it may be.
    let options =
        QueryOptions { deadline: Duration::from_secs(5), running_max: 1, ..QueryOptions::default() };
    let engine = QueryEngine::new(vec![stream.source()], options, Clock::system()).unwrap();
    let endless =
        "SELECT sum(a.value + b.value) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    let error = refusal(&engine, endless).await;
    assert_eq!(error.kind(), QueryErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("5 s"), "{error}");
    let count = text(&engine, "SELECT count(*) FROM logs", Format::Csv).await;
    assert_eq!(count.unwrap(), "count(*)\r\n3\r\n", "the only place to run is free again");
}

#[tokio::test]
async fn a_statement_that_needs_more_memory_than_there_is_says_so() {
    let (stream, _) = tickets().await;
    let options = QueryOptions { memory_bytes: 2_000_000, ..QueryOptions::default() };
    let engine = QueryEngine::new(vec![stream.source()], options, Clock::system()).unwrap();
    let large = "SELECT value, count(*) FROM generate_series(1, 10000000) GROUP BY value ORDER BY 2, 1";
    let error = refusal(&engine, large).await;
    assert_eq!(error.kind(), QueryErrorKind::TooLarge, "{error}");
    assert_eq!(rows(&engine, "SELECT count(*) FROM logs").await, "3", "others still run");
}

#[tokio::test]
async fn a_statement_longer_than_a_book_is_refused() {
    let (_stream, engine) = tickets().await;
    let sql = format!("SELECT '{}'", "x".repeat(event::limits::SQL_BYTES_MAX));
    assert_eq!(refusal(&engine, &sql).await.kind(), QueryErrorKind::TooLarge);
}

#[tokio::test]
async fn streams_are_asked_together() {
    let (tickets, other) =
        (Stream::new("logs", Kind::Delta).await, Stream::new("orders", Kind::Parquet).await);
    tickets.send(&[r#"{"user": "a"}"#, r#"{"user": "b"}"#]).await;
    tickets.land().await;
    other.send(&[r#"{"user": "b", "sum": 3}"#]).await;
    other.land().await;
    let engine = engine(vec![tickets.source(), other.source()]);
    assert_eq!(
        rows(&engine, "SELECT user, sum FROM logs LEFT JOIN orders USING (user) ORDER BY user").await,
        "a,|b,3"
    );
    let twice =
        QueryEngine::new(vec![tickets.source(), tickets.source()], QueryOptions::default(), Clock::system());
    assert!(twice.unwrap_err().to_string().contains("two streams have tables named"));
}
