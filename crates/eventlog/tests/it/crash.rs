//! Killed at any moment, the log keeps what it acknowledged and gives no offset out twice.
//!
//! The child is this test binary again, running [`child`] alone: it appends from several tasks and
//! says on its standard output what was acknowledged. The parent kills it and looks at the folder.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use event::{Clock, Offset, PartitionId, Positions};
use eventlog::embedded::EmbeddedOptions;
use eventlog::{EmbeddedLog, EventLog, LogError};

const FOLDER: &str = "EVENTLOG_CRASH_FOLDER";
const ROUND: &str = "EVENTLOG_CRASH_ROUND";
const TOPIC: &str = "logs";
const ROUNDS: u64 = 40;

type Events = BTreeMap<(PartitionId, Offset), String>;

fn options(folder: &Path) -> EmbeddedOptions {
    EmbeddedOptions { segment_bytes: 50_000, keep_landed_bytes: 20_000_000, ..EmbeddedOptions::new(folder) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_keeps_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let mut known = Events::new();
    for round in 0..ROUNDS {
        // From before the first event until well into the work.
        let kill_after = clock.random_below(400);
        let acknowledged = run_and_kill(folder.path(), round, kill_after);
        for (place, event) in acknowledged {
            let before = known.insert(place, event);
            assert_eq!(before, None, "round {round}: {place:?} was given out twice");
        }
        let found = read_everything(folder.path()).await;
        for (place, event) in &known {
            assert_eq!(found.get(place), Some(event), "round {round}: {place:?} was acknowledged");
        }
        // What was written but not acknowledged stays as well from now on.
        known = found;
    }
    assert!(known.len() > 1_000, "the rounds were long enough to mean something: {} events", known.len());
}

fn run_and_kill(folder: &Path, round: u64, kill_after: u64) -> Events {
    let mut child = start_child(folder, round);
    let stdout = child.stdout.take().unwrap();
    let mut acknowledged = Events::new();
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok).filter_map(|line| parse(&line));
    for (place, event) in lines.by_ref().take(usize::try_from(kill_after).unwrap()) {
        acknowledged.insert(place, event);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it died counts too.
    acknowledged.extend(lines);
    acknowledged
}

fn start_child(folder: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn parse(line: &str) -> Option<((PartitionId, Offset), String)> {
    let mut words = line.strip_prefix("acknowledged ")?.split(' ');
    let place = (PartitionId(words.next()?.parse().ok()?), Offset(words.next()?.parse().ok()?));
    // A line cut off by the kill lacks its end mark.
    let event = words.next()?.to_owned();
    (words.next() == Some("end")).then_some((place, event))
}

async fn read_everything(folder: &Path) -> Events {
    let log = EmbeddedLog::open(options(folder), Clock::system()).unwrap();
    log.create_topic(TOPIC).await.unwrap();
    let from: Positions = (0..4).map(|partition| (PartitionId(partition), Offset::ZERO)).collect();
    let ahead = log.read(TOPIC, &from, usize::MAX).await.unwrap();
    let events = ahead.partitions.iter().flat_map(|(partition, (_, records))| {
        records.iter().map(|record| {
            let event = String::from_utf8(record.payload.unwrap().to_vec()).unwrap();
            ((*partition, record.offset), event.trim_end_matches('x').to_owned())
        })
    });
    events.collect()
}

/// After a power failure some pages of the last group may be missing, with zeros in their place.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_torn_by_a_power_failure_goes_and_what_was_synced_before_stays() {
    for torn_at in [0.1, 0.5, 0.9] {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(options(folder.path()), Clock::system()).unwrap();
        log.create_topic(TOPIC).await.unwrap();
        let kept = log.append(TOPIC, vec![Bytes::from_static(b"kept")]).await.unwrap();
        let before = journal_end(folder.path());
        let last = vec![Bytes::from(vec![b'l'; 300_000]), Bytes::from(vec![b'm'; 300_000])];
        log.append(TOPIC, last).await.unwrap();
        drop(log);
        tear_page(folder.path(), before, torn_at);

        let found = read_everything(folder.path()).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[&(kept[0].partition, kept[0].offset)], "kept");
        let log = EmbeddedLog::open(options(folder.path()), Clock::system()).unwrap();
        log.append(TOPIC, vec![Bytes::from_static(b"after")]).await.unwrap();
        drop(log);
        assert_eq!(read_everything(folder.path()).await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_page_of_what_was_synced_is_said_and_nothing_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(folder.path()), Clock::system()).unwrap();
    log.create_topic(TOPIC).await.unwrap();
    let before = journal_end(folder.path());
    log.append(TOPIC, vec![Bytes::from(vec![b'l'; 300_000])]).await.unwrap();
    tear_page(folder.path(), before, 0.5);
    log.append(TOPIC, vec![Bytes::from_static(b"after")]).await.unwrap();
    drop(log);
    let end = journal_end(folder.path());
    for _ in 0..2 {
        let refused = EmbeddedLog::open(options(folder.path()), Clock::system()).unwrap_err();
        assert!(matches!(refused, LogError::Damaged { .. }), "{refused}");
    }
    assert_eq!(journal_end(folder.path()), end);
}

fn journal(folder: &Path) -> PathBuf {
    folder.join("0.jnl")
}

/// Where the zeros begin that the journal is made with.
fn journal_end(folder: &Path) -> usize {
    let bytes = std::fs::read(journal(folder)).unwrap();
    bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count()
}

/// Puts zeros over a page between `start` and the journal's end.
fn tear_page(folder: &Path, start: usize, place: f64) {
    let mut bytes = std::fs::read(journal(folder)).unwrap();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = start + ((journal_end(folder) - start) as f64 * place) as usize;
    let page = at - at % 4096;
    bytes[page.max(start)..page + 4096].fill(0);
    let mut file = std::fs::OpenOptions::new().write(true).open(journal(folder)).unwrap();
    file.write_all(&bytes).unwrap();
}

/// Does nothing unless the test above starts it.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) else { return };
    let log = Arc::new(EmbeddedLog::open(options(Path::new(&folder)), Clock::system()).unwrap());
    log.create_topic(TOPIC).await.unwrap();
    let tasks: Vec<_> =
        (0..8).map(|task| tokio::spawn(append_for_ever(log.clone(), round.clone(), task))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn append_for_ever(log: Arc<EmbeddedLog>, round: String, task: u32) {
    for append in 0.. {
        let events: Vec<String> =
            (0..1 + append % 5).map(|event| format!("{round}-{task}-{append}-{event}-")).collect();
        let padding = "x".repeat(append % 700);
        let payloads = events.iter().map(|event| Bytes::from(format!("{event}{padding}"))).collect();
        let placements = log.append(TOPIC, payloads).await.unwrap();
        let mut lines = String::new();
        for (placement, event) in placements.iter().zip(&events) {
            lines += &format!("acknowledged {} {} {event} end\n", placement.partition, placement.offset);
        }
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(lines.as_bytes()).unwrap();
        stdout.flush().unwrap();
    }
}
