//! What was found: proven, or exactly what is wrong.

use std::collections::BTreeMap;

use event::{Offset, OffsetRange, PartitionId, limits};
use serde::Serialize;

/// The outcome of a verification.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The table.
    pub table: String,
    /// The version that was verified.
    pub version: u64,
    /// Whether nothing is wrong.
    pub proven: bool,
    /// Partitions of the log, in order.
    pub partitions: Vec<PartitionReport>,
    /// Files of the table and of its dead letters.
    pub files: FilesReport,
    /// Records without a value that commits say they skipped.
    pub skipped: u64,
    /// Dead letters that were replayed, and so are rows as well.
    pub replayed: u64,
    /// The comparison with the log.
    pub log: LogReport,
    /// What is wrong, the first of it.
    pub problems: Vec<Problem>,
    /// How often each kind of problem was found, the ones above included.
    pub problem_counts: BTreeMap<&'static str, u64>,
    /// What is not wrong, and good to know.
    pub notes: Vec<String>,
}

/// One partition of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// Its number.
    pub partition: u32,
    /// First offset of its chain.
    pub first: u64,
    /// First offset that has not landed.
    pub next: u64,
    /// Commits that moved it.
    pub commits: u64,
    /// Rows.
    pub rows: u64,
    /// Dead letters.
    pub dead: u64,
    /// Offsets in gaps that a person accepted: `[from, to)`.
    pub gaps: Vec<[u64; 2]>,
    /// Offsets whose contents were compared with the log: `[from, to)`.
    pub compared: Option<[u64; 2]>,
}

/// The files that readers see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FilesReport {
    /// How many.
    pub count: u64,
    /// Bytes of all.
    pub bytes: u64,
    /// How many of them had a checksum to hold them to.
    pub with_checksum: u64,
}

/// The comparison with the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogReport {
    /// Records whose contents were compared.
    pub records: u64,
    /// Records without a value among them.
    pub tombstones: u64,
    /// Why there was nothing to compare with, if so.
    pub not_compared: Option<String>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What kind of thing.
    pub kind: Kind,
    /// The table it is in.
    pub table: String,
    /// The partition of the log, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// The offsets, in ranges `[from, to)`; the first ones if there are very many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<[u64; 2]>,
    /// Version of the table whose commit it is about, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The files, where it is about files: paths in the lake.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// What is wrong, for a person.
    pub message: String,
}

/// Kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A file that the table names is not there.
    FileMissing,
    /// A file is not what was written: its size, its checksum, or that it is Parquet.
    FileDamaged,
    /// A file was added to the table twice.
    FileDoubled,
    /// Readers see a file that no commit brought.
    FileStray,
    /// Between two commits of a partition offsets are left out.
    Gap,
    /// Two commits of a partition cover the same offsets.
    Overlap,
    /// A commit's own words contradict each other, or the chain.
    Commit,
    /// Rows that a commit brought are not there.
    RowsMissing,
    /// Dead letters that a commit counted are not there.
    DeadMissing,
    /// More rows than the commits brought.
    RowsUnexpected,
    /// A place of the log is there more than once.
    Doubled,
    /// An event of the log is neither a row nor a dead letter.
    Lost,
    /// A row or dead letter is not what the log has at its place.
    Changed,
}

impl Kind {
    /// Its name in reports.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::FileMissing => "file_missing",
            Self::FileDamaged => "file_damaged",
            Self::FileDoubled => "file_doubled",
            Self::FileStray => "file_stray",
            Self::Gap => "gap",
            Self::Overlap => "overlap",
            Self::Commit => "commit",
            Self::RowsMissing => "rows_missing",
            Self::DeadMissing => "dead_missing",
            Self::RowsUnexpected => "rows_unexpected",
            Self::Doubled => "doubled",
            Self::Lost => "lost",
            Self::Changed => "changed",
        }
    }
}

impl Problem {
    pub(crate) fn new(kind: Kind, table: &str, message: impl Into<String>) -> Self {
        let (table, message) = (table.to_owned(), message.into());
        Self { kind, table, partition: None, offsets: vec![], version: None, files: vec![], message }
    }

    pub(crate) fn at(
        mut self,
        partition: PartitionId,
        offsets: impl IntoIterator<Item = OffsetRange>,
    ) -> Self {
        self.partition = Some(partition.0);
        let ranges = offsets.into_iter().take(limits::VERIFY_TOLD_MAX);
        self.offsets = ranges.map(pair).collect();
        self
    }

    pub(crate) fn version(mut self, version: Option<u64>) -> Self {
        self.version = version;
        self
    }

    pub(crate) fn file(mut self, path: impl ToString) -> Self {
        self.files.push(path.to_string());
        self
    }
}

/// A range as reports write it.
pub(crate) fn pair(range: OffsetRange) -> [u64; 2] {
    [range.start().0, range.end().0]
}

/// Problems as they are found: all are counted, the first of them kept.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    pub(crate) kept: Vec<Problem>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        *self.counts.entry(problem.kind.code()).or_default() += 1;
        if self.kept.len() < limits::VERIFY_TOLD_MAX {
            self.kept.push(problem);
        }
    }
}

/// Offsets that come one by one, kept as ranges: all are counted, the first of them kept.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ranges {
    kept: Vec<OffsetRange>,
    count: u64,
}

impl Ranges {
    pub(crate) fn push(&mut self, offset: Offset) {
        self.count += 1;
        let has_room = self.kept.len() < limits::VERIFY_TOLD_MAX;
        match self.kept.last_mut() {
            Some(last) if last.end() == offset => *last = OffsetRange::new(last.start(), offset.next()),
            _ if has_room => self.kept.push(OffsetRange::new(offset, offset.next())),
            _ => {}
        }
    }

    /// How many offsets came.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn into_vec(mut self) -> Vec<OffsetRange> {
        self.kept.sort_by_key(|range| range.start());
        self.kept
    }
}
