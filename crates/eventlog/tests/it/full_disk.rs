//! On a full disk the log says so, keeps what it acknowledged, and goes on by itself when there is room.
//!
//! The disk is a small tmpfs in a mount namespace of its own, in which this test binary runs again.

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use event::{Clock, ErrorKind, Offset, PartitionId, Positions};
use eventlog::embedded::EmbeddedOptions;
use eventlog::{EmbeddedLog, EventLog, LogError, Placement};

const FOLDER: &str = "EVENTLOG_SMALL_DISK";
const TOPIC: &str = "logs";
const MIB: usize = 1024 * 1024;
/// Room that is given free when the disk is full.
const BALLAST_BYTES: usize = 30 * MIB;
const SAID: &str = "the log was full and went on";

#[test]
fn a_full_disk_is_said_and_survived() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let probe = Command::new("unshare").args(["-Urm", "true"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("skipped: no mount namespaces here (util-linux `unshare -Urm`), so no small disk");
        return;
    }
    let test = std::env::current_exe().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=90m small '{path}' && exec '{}' full_disk::child --exact --nocapture",
        test.display()
    );
    let output = Command::new("unshare")
        .args(["-Urm", "sh", "-c", &script])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains(SAID),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Does nothing unless the test above starts it.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let (folder, ballast) = (Path::new(&folder).join("log"), Path::new(&folder).join("ballast"));
    fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();
    let log = EmbeddedLog::open(EmbeddedOptions::new(&folder), Clock::system()).unwrap();
    log.create_topic(TOPIC).await.unwrap();

    let mut acknowledged = Vec::new();
    let error = fill(&log, &mut acknowledged, 1_000).await.expect("the disk is smaller than that");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    // However often it is tried, and whatever fails first, it stays one of the two errors that pass.
    for _ in 0..20 {
        if let Some(error) = fill(&log, &mut acknowledged, 1).await {
            assert!(matches!(error, LogError::Full { .. } | LogError::Unavailable { .. }), "{error}");
        }
    }
    let full_at = acknowledged.len();
    assert!(full_at > 10, "only {full_at} were taken before the disk was full");

    fs::remove_file(&ballast).unwrap();
    let clock = Clock::system();
    let deadline = clock.monotonic() + std::time::Duration::from_secs(60);
    while acknowledged.len() < full_at + 10 {
        fill(&log, &mut acknowledged, 1).await;
        assert!(clock.monotonic() < deadline, "it did not go on by itself");
    }
    check(&log, &acknowledged).await;
    drop(log);
    let log = EmbeddedLog::open(EmbeddedOptions::new(&folder), clock).unwrap();
    check(&log, &acknowledged).await;
    println!("{SAID}");
}

fn event(number: usize) -> Bytes {
    let mut event = vec![b'x'; 200_000];
    event[..8].copy_from_slice(&number.to_le_bytes());
    Bytes::from(event)
}

/// Appends until something fails, at most `count` times.
async fn fill(log: &EmbeddedLog, acknowledged: &mut Vec<Placement>, count: usize) -> Option<LogError> {
    for _ in 0..count {
        match log.append(TOPIC, vec![event(acknowledged.len())]).await {
            Ok(placements) => acknowledged.extend(placements),
            Err(error) => return Some(error),
        }
    }
    None
}

/// Everything acknowledged is there, each at its place.
async fn check(log: &EmbeddedLog, acknowledged: &[Placement]) {
    let from: Positions = (0..4).map(|partition| (PartitionId(partition), Offset::ZERO)).collect();
    let ahead = log.read(TOPIC, &from, usize::MAX).await.unwrap();
    for (number, placement) in acknowledged.iter().enumerate() {
        let (range, records) = &ahead.partitions[&placement.partition];
        let index = usize::try_from(placement.offset.0 - range.start().0).unwrap();
        assert_eq!(records.get(index).unwrap().payload, Some(&event(number)[..]), "{placement:?}");
    }
}
