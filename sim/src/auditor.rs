//! Recounts, from what lies in the log and in the store, whether every promise is kept.
//!
//! It is told of each object the moment it comes to be, and shares no code with loader and tables:
//! names, footers and Delta's log are read here by the formats' own definitions. What it expects of a
//! record follows from the record's bytes and a JSON parser that is not the loader's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use collector::Receipt;
use event::{Offset, OffsetRange, PartitionId};
use object_store::path::Path;

use crate::events::{EventKey, Fate, fate, key_of};
use crate::executor::Executor;
use crate::log::LogServer;
use crate::rows::{self, Place, Row};
use crate::store::{Change, StoreServer};

/// Tables made of Delta's log.
mod delta;
/// Tables made of plain Parquet files.
mod plain;

/// The folder of all tables.
pub const LAKE: &str = "lake";
/// The stream, its topic, and its table.
pub const STREAM: &str = "logs";
/// Its table of dead letters.
pub const DEAD: &str = "logs__dead";

/// The auditor. Clones share what was seen.
#[derive(Debug, Clone)]
pub struct Auditor {
    executor: Executor,
    log: LogServer,
    store: StoreServer,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    main: Table,
    dead: Table,
    acknowledged: BTreeSet<EventKey>,
    /// Every object the tables rest on, as it was when it came to be.
    objects: BTreeMap<Path, Bytes>,
}

/// What was committed to one table.
#[derive(Debug, Default)]
struct Table {
    next: BTreeMap<u32, u64>,
    places: BTreeSet<Place>,
    commit_count: u64,
    /// The newest version of Delta's log.
    version: Option<u64>,
    files: BTreeSet<String>,
}

/// Ranges and rows that become visible together.
#[derive(Debug, Default)]
struct Commit {
    ranges: BTreeMap<u32, (u64, u64)>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Main,
    Dead,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records in the log.
    pub records: u64,
    /// Rows in the table.
    pub rows: u64,
    /// Rows in the table of dead letters.
    pub dead_letters: u64,
    /// Commits to both.
    pub commits: u64,
    /// Events that a collector acknowledged.
    pub acknowledged: u64,
}

impl Auditor {
    /// An auditor that sees every change of `store` from now on.
    #[must_use]
    pub fn new(executor: &Executor, log: &LogServer, store: &StoreServer) -> Self {
        let auditor =
            Self { executor: executor.clone(), log: log.clone(), store: store.clone(), seen: Arc::default() };
        let observing = auditor.clone();
        store.observe(move |change| observing.see(change));
        auditor
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, change: &Change) {
        let judged = match change {
            Change::Created(path, bytes) => self.created(path, bytes),
            Change::Replaced(path) | Change::Deleted(path) => self.touched(path),
        };
        if let Err(broken) = judged {
            self.executor.fail(broken);
        }
    }

    /// Checkpoints repeat what the log says; nothing else is ever replaced or removed.
    fn touched(&self, path: &Path) -> Result<(), String> {
        let may_change = is_checkpoint(path) || path.as_ref().contains("_laker_probe");
        if may_change { Ok(()) } else { Err(format!("I6 file safety: {path} was replaced or deleted")) }
    }

    fn created(&self, path: &Path, bytes: &Bytes) -> Result<(), String> {
        let parts: Vec<String> = path.parts().map(|part| part.as_ref().to_owned()).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (which, parts) = match parts[..] {
            [LAKE, STREAM, ..] => (Which::Main, &parts[2..]),
            [LAKE, DEAD, ..] => (Which::Dead, &parts[2..]),
            _ => return Ok(()),
        };
        if is_checkpoint(path) {
            return Ok(());
        }
        let seen = &mut *self.seen();
        seen.objects.insert(path.clone(), bytes.clone());
        match parts {
            ["_laker", "start", name] => self.begin_plain(seen, which, name, bytes),
            ["data", folder, name] => {
                let commit = plain::commit(folder, name, bytes).map_err(|why| format!("{path}: {why}"))?;
                self.commit(seen, which, &commit).map_err(|why| format!("{why}, by {path}"))
            }
            ["_delta_log", name] => {
                self.delta(seen, which, name, bytes).map_err(|why| format!("{why}, by {path}"))
            }
            _ => Ok(()),
        }
    }

    fn begin_plain(&self, seen: &mut Seen, which: Which, name: &str, bytes: &Bytes) -> Result<(), String> {
        let (partition, start) = plain::start(name, bytes).ok_or_else(|| format!("{name} is no start"))?;
        begin(seen.table(which), partition, start)
    }

    /// Takes one entry of Delta's log into account.
    fn delta(&self, seen: &mut Seen, which: Which, name: &str, bytes: &Bytes) -> Result<(), String> {
        let entry = delta::Entry::parse(name, bytes)?;
        let table = seen.table(which);
        let expected = table.version.map_or(0, |version| version + 1);
        if entry.version != expected {
            return Err(format!("I3 chain: version {} follows {:?}", entry.version, table.version));
        }
        table.version = Some(entry.version);
        let mut commit = Commit::default();
        for (partition, next) in &entry.transactions {
            match table.next.get(partition).copied() {
                None => begin(table, *partition, *next)?,
                Some(start) => {
                    commit.ranges.insert(*partition, (start, *next));
                }
            }
        }
        entry.check_ranges(&commit.ranges)?;
        for file in &entry.files {
            if !table.files.insert(file.path.clone()) {
                return Err(format!("I2 no duplicate: {} is added again", file.path));
            }
            let folder = if which == Which::Main { STREAM } else { DEAD };
            let path =
                Path::parse(format!("{LAKE}/{folder}/{}", file.path)).map_err(|error| error.to_string())?;
            let object = self.store.object(&path);
            let object = object.ok_or_else(|| format!("I6 file safety: {path} does not exist"))?;
            if object.bytes.len() as u64 != file.size {
                return Err(format!("I6 file safety: {path} has not the size that is recorded"));
            }
            commit.rows.extend(rows::read(&object.bytes)?.rows);
        }
        if commit.ranges.is_empty() && commit.rows.is_empty() {
            return Ok(());
        }
        self.commit(seen, which, &commit)
    }

    /// Rows of a commit are those of its ranges, each once, and its ranges continue the chain.
    fn commit(&self, seen: &mut Seen, which: Which, commit: &Commit) -> Result<(), String> {
        let mut rows = by_place(&commit.rows)?;
        for (partition, (start, end)) in &commit.ranges {
            let next = seen.table(which).next.get(partition).copied();
            if next != Some(*start) || end <= start {
                return Err(format!("I3 chain: [{start}, {end}) of {partition} committed at {next:?}"));
            }
            let range = OffsetRange::new(Offset(*start), Offset(*end));
            self.check_range(seen, which, *partition, range, &mut rows)?;
            seen.table(which).next.insert(*partition, *end);
        }
        if let Some(place) = rows.keys().next() {
            return Err(format!("I2 no duplicate: a row of {place:?}, which its commit does not cover"));
        }
        seen.table(which).commit_count += 1;
        Ok(())
    }

    fn check_range(
        &self,
        seen: &mut Seen,
        which: Which,
        partition: u32,
        range: OffsetRange,
        rows: &mut BTreeMap<Place, &Row>,
    ) -> Result<(), String> {
        let end = self.log.ends(STREAM).get(PartitionId(partition));
        if end.is_none_or(|end| end < range.end()) {
            return Err(format!("I3 chain: {range} of {partition} lies beyond the log's end {end:?}"));
        }
        for entry in self.log.entries(STREAM, PartitionId(partition), range) {
            let place = (partition, entry.offset);
            let (wanted, payload) = (fate(entry.payload.as_deref()), entry.payload.as_deref());
            let wrong = match (which, &wanted) {
                (Which::Main, Fate::Row(_)) => take(rows, place, |row| rows::difference(row, payload)),
                (Which::Dead, Fate::DeadLetter) => {
                    take(rows, place, |row| rows::dead_difference(row, payload))
                }
                (Which::Main, Fate::DeadLetter) if !seen.dead.places.contains(&place) => {
                    Some("is no dead letter yet, and passed by".to_owned())
                }
                _ => continue,
            };
            if let Some(wrong) = wrong {
                return Err(format!("I1 no loss: {place:?} of {which:?} {wrong}"));
            }
            if matches!((which, &wanted), (Which::Main, Fate::Row(_)) | (Which::Dead, _)) {
                seen.table(which).places.insert(place);
            }
        }
        Ok(())
    }

    /// A collector said that it has these events.
    pub fn acknowledged(&self, keys: &[EventKey], receipt: &str) {
        if let Err(broken) = self.check_acknowledged(keys, receipt) {
            self.executor.fail(format!("I9 acknowledged is durable: {broken}"));
        }
    }

    fn check_acknowledged(&self, keys: &[EventKey], receipt: &str) -> Result<(), String> {
        let receipt = receipt.parse::<Receipt>().map_err(|error| error.to_string())?;
        let mut there = BTreeSet::new();
        for span in receipt.spans() {
            let entries = self.log.entries(STREAM, span.partition, span.range);
            let events = entries.iter().filter_map(|entry| match fate(entry.payload.as_deref()) {
                Fate::Row(event) => key_of(&event),
                _ => None,
            });
            there.extend(events);
        }
        if let Some(key) = keys.iter().find(|key| !there.contains(key)) {
            return Err(format!("{key:?} is not where {receipt} says"));
        }
        self.seen().acknowledged.extend(keys.iter().cloned());
        Ok(())
    }

    /// Whether everything in the log is in the tables, and where it is not.
    #[must_use]
    pub fn behind(&self) -> Option<String> {
        let seen = self.seen();
        let ends = self.log.ends(STREAM);
        let behind = ends.iter().find(|(p, end)| seen.main.next.get(&p.0) != Some(&end.0) && end.0 > 0);
        behind.map(|(p, end)| {
            format!("partition {p} ends at {end}, the table goes on at {:?}", seen.main.next.get(&p.0))
        })
    }

    /// Recounts everything at the end, from the objects as they are now.
    ///
    /// # Errors
    /// Which promise is broken.
    pub fn finish(&self) -> Result<Totals, String> {
        if let Some(behind) = self.behind() {
            return Err(format!("I8 liveness: {behind}"));
        }
        let seen = self.seen();
        for (path, bytes) in &seen.objects {
            if self.store.object(path).is_none_or(|object| object.bytes != *bytes) {
                return Err(format!("I6 file safety: {path} is not what it was"));
            }
        }
        let mut totals = Totals {
            commits: seen.main.commit_count + seen.dead.commit_count,
            acknowledged: seen.acknowledged.len() as u64,
            ..Totals::default()
        };
        for (partition, end) in self.log.ends(STREAM).iter() {
            for entry in self.log.entries(STREAM, partition, OffsetRange::new(Offset::ZERO, end)) {
                totals.records += 1;
                let place = (partition.0, entry.offset);
                let wanted = match fate(entry.payload.as_deref()) {
                    Fate::Row(_) => (true, false),
                    Fate::DeadLetter => (false, true),
                    Fate::Skipped => (false, false),
                };
                let found = (seen.main.places.contains(&place), seen.dead.places.contains(&place));
                if wanted != found {
                    return Err(format!(
                        "I1 no loss: {place:?} is (row, dead letter) {found:?}, not {wanted:?}"
                    ));
                }
                totals.rows += u64::from(wanted.0);
                totals.dead_letters += u64::from(wanted.1);
            }
        }
        Ok(totals)
    }

    /// Every place of a row, and of a dead letter, that the auditor counted.
    #[must_use]
    pub fn places(&self) -> (BTreeSet<Place>, BTreeSet<Place>) {
        let seen = self.seen();
        (seen.main.places.clone(), seen.dead.places.clone())
    }
}

impl Seen {
    fn table(&mut self, which: Which) -> &mut Table {
        match which {
            Which::Main => &mut self.main,
            Which::Dead => &mut self.dead,
        }
    }
}

/// Every run begins at the log's first offset, which is 0.
fn begin(table: &mut Table, partition: u32, start: u64) -> Result<(), String> {
    if start != 0 || table.next.insert(partition, start).is_some() {
        return Err(format!("I5 authority: partition {partition} begins at {start}, or begins twice"));
    }
    Ok(())
}

fn by_place(rows: &[Row]) -> Result<BTreeMap<Place, &Row>, String> {
    let mut by_place = BTreeMap::new();
    for row in rows {
        let place = rows::place(row).ok_or_else(|| format!("a row without a place: {row:?}"))?;
        if by_place.insert(place, row).is_some() {
            return Err(format!("I2 no duplicate: {place:?} is twice in one commit"));
        }
    }
    Ok(by_place)
}

/// Takes the row of `place` away, and says what is wrong with it.
fn take(
    rows: &mut BTreeMap<Place, &Row>,
    place: Place,
    difference: impl FnOnce(&Row) -> Option<String>,
) -> Option<String> {
    match rows.remove(&place) {
        None => Some("is missing".to_owned()),
        Some(row) => difference(row),
    }
}

fn is_checkpoint(path: &Path) -> bool {
    let name = path.filename().unwrap_or_default();
    name == "_last_checkpoint" || name.contains(".checkpoint.")
}
