//! Entries of a Delta log.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use event::{Clock, LogId};
use table::{Lake, Table};
use table_delta::DeltaTable;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Version 0 of a table of one column.
const CREATED: &str = include_str!("../corpus/created.json");

/// A folder whose table `logs` has a log of two entries.
struct Bench {
    folder: TempDir,
    lake: Lake,
    runtime: Runtime,
}

thread_local! {
    static BENCH: Bench = Bench::new();
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let lake = Lake::open(&format!("file:{}", folder.path().display()), &BTreeMap::new());
        let log = folder.path().join("logs/_delta_log");
        fs::create_dir_all(&log).expect("a folder can be made");
        write(&log.join(format!("{:020}.json", 0)), CREATED.as_bytes());
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        Self { folder, lake: lake.expect("a folder is a lake"), runtime }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file can be written");
}

/// The bytes as version 1 of a log: a state, or an error. A position that is read is one that the
/// entry spells exactly as Laker does.
pub fn run(bytes: &[u8]) {
    BENCH.with(|bench| {
        write(&bench.folder.path().join(format!("logs/_delta_log/{:020}.json", 1)), bytes);
        let table = DeltaTable::new(bench.lake.clone(), "logs", Clock::system());
        let log = LogId::new("kafka:c:t");
        let Ok(Some(state)) = bench.runtime.block_on(table.load(&log)) else { return };
        let text = String::from_utf8_lossy(bytes);
        for (partition, next) in state.positions.iter() {
            assert!(
                text.contains(&format!("{next}"))
                    && (text.contains(&format!("/{partition}\"")) || text.contains('\\')),
                "position {next} of partition {partition}"
            );
        }
    });
}
