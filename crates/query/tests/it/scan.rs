//! What reads from files, and what does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use query::{Format, QueryEngine, QuerySource};

use crate::support::{KINDS, Kind, Stream, engine, rows, text};

/// A store that counts what is read from it.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn ObjectStore>,
    reads: AtomicUsize,
}

impl std::fmt::Display for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// An engine over `stream` whose reads of data files are counted.
fn counted(stream: &Stream) -> (QueryEngine, Arc<Counting>) {
    let store = Arc::new(Counting { inner: stream.lake.store().clone(), reads: AtomicUsize::new(0) });
    (engine(vec![QuerySource { store: store.clone(), ..stream.source() }]), store)
}

/// Files that `EXPLAIN` says are read.
async fn files_read(engine: &QueryEngine, sql: &str) -> usize {
    let plan = text(engine, &format!("EXPLAIN {sql}"), Format::Table).await.unwrap();
    let physical = plan.split("physical_plan").nth(1).unwrap_or_else(|| panic!("{plan}"));
    physical.matches(".parquet").count()
}

/// Five days of events, a file each.
async fn five_days(kind: Kind) -> Stream {
    let stream = Stream::new("logs", kind).await;
    for n in 1..=5 {
        let event =
            format!(r#"{{"n": {n}, "share": {n}.5, "word": "w{n}", "timestamp": "2026-01-0{n}T10:00:00Z"}}"#);
        stream.send(&[&event]).await;
        stream.land().await;
    }
    stream
}

#[tokio::test]
async fn columns_and_nested_fields_younger_than_a_file_read_as_null() {
    for kind in KINDS {
        let stream = Stream::new("logs", kind).await;
        let engine = stream.engine();
        for event in [
            r#"{"n": 1, "device": {"os": "ios"}, "items": [{"id": 1}, {"id": 2}]}"#,
            r#"{"n": 2, "device": {"os": "android", "screen": {"w": 9}}, "items": [{"id": 3, "seat": {"row": "A"}}], "price": 1.5}"#,
            r#"{"n": 3, "device": {"screen": {"w": 8, "h": 7}}, "tags": ["x"]}"#,
        ] {
            stream.send(&[event]).await;
            stream.land().await;
        }
        stream.send(&[r#"{"n": 4, "device": {"touch": true}, "items": [{"id": 4, "new": 1}]}"#]).await;
        let all = "SELECT n, device, items, price, tags FROM logs ORDER BY n";
        let items = |id: u32| format!(r#""[{{""id"":{id}"#);
        let answer = rows(&engine, all).await;
        let lines: Vec<&str> = answer.split('|').collect();
        assert_eq!(lines.len(), 4, "{answer}");
        assert!(
            lines[0].starts_with(r#"1,"{""os"":""ios""}","#) && lines[0].contains(&items(1)),
            "{}",
            lines[0]
        );
        assert!(lines[1].contains(r#"""seat"":{""row"":""A""}"#) && lines[1].contains("1.5"), "{}", lines[1]);
        assert!(lines[2].contains(r#"""w"":8,""h"":7"#) && lines[2].contains(r#"[""x""]"#), "{}", lines[2]);
        assert!(lines[3].contains(r#"""touch"":true"#) && lines[3].contains(r#"""new"":1"#), "{}", lines[3]);
        for (sql, want) in [
            ("SELECT n, device.screen.h FROM logs ORDER BY n", "1,|2,|3,7|4,"),
            ("SELECT n FROM logs WHERE device.screen.w > 8", "2"),
            ("SELECT n FROM logs WHERE device.screen.h IS NULL ORDER BY n", "1|2|4"),
            ("SELECT n FROM logs WHERE device.touch", "4"),
            ("SELECT n FROM logs WHERE price > 1", "2"),
            ("SELECT n, items[1].seat.row FROM logs ORDER BY n", "1,|2,A|3,|4,"),
            (
                "SELECT n, u.id FROM (SELECT n, unnest(items) AS u FROM logs) ORDER BY n, u.id",
                "1,1|1,2|2,3|4,4",
            ),
            ("SELECT count(tags), count(price), count(device.os) FROM logs", "1,1,2"),
        ] {
            assert_eq!(rows(&engine, sql).await, want, "{kind:?}: {sql}");
        }
    }
}

#[tokio::test]
async fn files_whose_day_or_bounds_rule_them_out_are_not_read() {
    let stream = five_days(Kind::Delta).await;
    let engine = stream.engine();
    for (filter, files) in [
        ("true", 5),
        ("event_date = DATE '2026-01-03'", 1),
        ("event_date = '2026-01-03'", 1),
        ("event_date BETWEEN '2026-01-02' AND '2026-01-03'", 2),
        ("n = 3", 1),
        ("n > 3", 2),
        ("n IN (1, 5)", 2),
        ("share < 2", 1),
        ("word = 'w4'", 1),
        ("word LIKE 'w4%'", 2),
        ("_time >= '2026-01-04T00:00:00Z'", 2),
        ("_time < TIMESTAMP '2026-01-02 00:00:00'", 1),
        ("_time > now() - INTERVAL '1 hour'", 0),
        ("n = 3 AND event_date = '2026-01-04'", 0),
    ] {
        let read = files_read(&engine, &format!("SELECT word FROM logs WHERE {filter}")).await;
        assert_eq!(read, files, "{filter}");
    }
    assert_eq!(rows(&engine, "SELECT word FROM logs WHERE n IN (1, 5) ORDER BY n").await, "w1|w5");
    assert_eq!(rows(&engine, "SELECT n FROM logs WHERE event_date = '2026-01-03'").await, "3");
}

#[tokio::test]
async fn bounds_that_cannot_be_trusted_for_a_zero_lose_no_row() {
    let stream = Stream::new("logs", Kind::Delta).await;
    stream.send(&[r#"{"x": -0.0}"#, r#"{"x": 1.5}"#]).await;
    stream.land().await;
    let engine = stream.engine();
    assert_eq!(rows(&engine, "SELECT count(*) FROM logs WHERE x <= 0.0").await, "1");
    assert_eq!(rows(&engine, "SELECT count(*) FROM logs WHERE x >= -0.0").await, "2");
}

#[tokio::test]
async fn counting_rows_reads_no_file_where_the_table_knows_them() {
    let stream = five_days(Kind::Delta).await;
    let (engine, store) = counted(&stream);
    stream.send(&[r#"{"n": 6}"#]).await;
    assert_eq!(rows(&engine, "SELECT count(*) FROM logs").await, "6");
    assert_eq!(store.reads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn smallest_and_largest_come_from_rows_and_not_from_bounds() {
    let stream = five_days(Kind::Delta).await;
    let (engine, store) = counted(&stream);
    assert_eq!(rows(&engine, "SELECT min(word), max(n) FROM logs").await, "w1,5");
    assert!(store.reads.load(Ordering::SeqCst) >= 5);
}

#[tokio::test]
async fn a_footer_is_read_once() {
    for kind in KINDS {
        let stream = five_days(kind).await;
        let (engine, store) = counted(&stream);
        let sql = "SELECT sum(n) FROM logs";
        assert_eq!(rows(&engine, sql).await, "15");
        let first = store.reads.swap(0, Ordering::SeqCst);
        assert_eq!(rows(&engine, sql).await, "15");
        let second = store.reads.load(Ordering::SeqCst);
        assert!(second + 5 <= first, "{kind:?}: {first} reads, then {second}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_a_passing_error() {
    let stream = five_days(Kind::Delta).await;
    let engine = stream.engine();
    std::fs::remove_dir_all(stream.folder().join("lake/logs/event_date=2026-01-03")).unwrap();
    let error = crate::support::refusal(&engine, "SELECT sum(n) FROM logs").await;
    assert_eq!(error.code(), "unavailable", "{error}");
    assert!(error.to_string().contains("run the statement again"), "{error}");
}
