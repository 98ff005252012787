//! The live page on believable events that are made up, to work on the page without the rest:
//! `cargo run --release -p live --example page -- [events per second] [port]`.

/// The tests' log; it is as good as any for looking at the page.
#[path = "../tests/it/memory_log.rs"]
mod memory_log;
/// SQL over it.
#[path = "../tests/it/engine.rs"]
mod engine;

use std::sync::Arc;
use std::time::Duration;

use event::{Clock, Offset, PartitionId, StreamName};
use live::{Live, LiveOptions, LiveStream, Progress, StreamProgress, run_sql};
use memory_log::MemoryLog;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const PARTITIONS: usize = 4;
const TICKS_PER_SECOND: u64 = 20;
const COMMIT_EVERY: Duration = Duration::from_secs(10);

const CATEGORIES: &[&str] = &["concert", "musical", "theatre", "sport", "exhibition"];
const REGIONS: &[&str] = &["Seoul", "Busan", "Berlin", "Lyon", "São Paulo"];
const KEYWORDS: &[&str] = &["jazz", "hamlet", "cup final", "orchestra", "<script>alert(1)</script>", "monet"];

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rate = arguments.next().and_then(|rate| rate.parse().ok()).unwrap_or(30);
    let port: u16 = arguments.next().and_then(|port| port.parse().ok()).unwrap_or(7778);
    let clock = Clock::system();
    let log = Arc::new(MemoryLog::new(PARTITIONS, clock.clone()));
    let (progress, told) = watch::channel(Progress::new());
    let name = StreamName::new("logs").expect("a valid name");
    let options = LiveOptions { streams: vec![LiveStream::new(name.clone())] };
    let lake = tempfile::tempdir()?;
    let sql = run_sql(engine::engine(log.clone(), lake.path(), &clock));
    let live = Live::new(options, log.clone(), told, Some(sql), clock.clone());
    tokio::spawn(live.clone().run(CancellationToken::new()));
    tokio::spawn(make_events(log.clone(), clock.clone(), rate));
    tokio::spawn(land(log, clock, progress, name));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, live.router()).await
}

async fn make_events(log: Arc<MemoryLog>, clock: Clock, rate: u64) {
    let mut owed = 0.0;
    loop {
        // A gentle wave, so that there is something to see.
        let phase = clock.monotonic().as_secs_f64() / 40.0;
        let wave = 1.0 + 0.5 * phase.sin();
        owed += rate as f64 * wave / TICKS_PER_SECOND as f64 * (0.5 + clock.random_below(100) as f64 / 100.0);
        while owed >= 1.0 {
            owed -= 1.0;
            let partition = clock.random_below(PARTITIONS as u64) as usize;
            log.put(partition, Some(ticket_event(&clock).to_string().as_bytes()));
        }
        clock.sleep(Duration::from_secs(1) / TICKS_PER_SECOND as u32).await;
    }
}

fn ticket_event(clock: &Clock) -> serde_json::Value {
    let pick = |from: &[&'static str]| from[clock.random_below(from.len() as u64) as usize];
    let dice = clock.random_below(100);
    let user = match clock.random_below(10) {
        0 => "anonymous".to_owned(),
        n => format!("user-{}", n * 37 + clock.random_below(30)),
    };
    let mut event = serde_json::json!({
        "_id": clock.new_id(), "timestamp": clock.now().0 / 1_000_000, "user_id": user,
        "device": pick(&["Mobile", "Desktop", "Tablet"]), "action": "search",
        "category": pick(CATEGORIES), "region": pick(REGIONS),
    });
    match dice {
        0..55 => event["keyword"] = pick(KEYWORDS).into(),
        55..85 => {
            event["action"] = "view_show".into();
            event["show"] = serde_json::json!({"id": clock.random_below(900), "title": pick(KEYWORDS)});
        }
        85..95 => {
            event["action"] = "add_to_cart".into();
            event["seats"] = serde_json::json!(["A1", "A2"]);
        }
        _ => {
            event["action"] = "purchase".into();
            event["price"] = (clock.random_below(9_000) as f64 / 100.0 + 12.0).into();
        }
    }
    event
}

/// Pretends that everything lands every few seconds.
async fn land(log: Arc<MemoryLog>, clock: Clock, progress: watch::Sender<Progress>, name: StreamName) {
    let mut told = StreamProgress { state: "running".to_owned(), ..StreamProgress::default() };
    loop {
        told.landed =
            log.ends().iter().map(|(partition, end)| (PartitionId(*partition), Offset(*end))).collect();
        told.table_version += 1;
        told.committed_at = Some(clock.now());
        told.conflict_total += clock.random_below(3);
        progress.send_replace(Progress::from([(name.clone(), told.clone())]));
        clock.sleep(COMMIT_EVERY).await;
    }
}
