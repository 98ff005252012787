//! Whether the commits of a table are one chain per partition, and what they say they brought.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use event::{LogId, Offset, OffsetRange, PartitionId, Positions};
use object_store::path::Path;
use table::{PastCommit, PastEvent, PastFile};

use crate::report::{Kind, Problem, Problems};

/// What the history of one table says.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    /// Chains of the log and of its replays, by log and partition.
    pub(crate) links: BTreeMap<(LogId, PartitionId), Chain>,
    /// What each commit of rows says it brought, to be compared with what is there.
    pub(crate) told: Vec<Told>,
    /// What was written down of each file.
    pub(crate) files: HashMap<Path, PastFile>,
    /// Records that commits say were skipped.
    pub(crate) skipped_count: u64,
    /// Rows that replays say they landed.
    pub(crate) replayed_count: u64,
    /// Whether another program says that it changed rows.
    pub(crate) changed_by_others: bool,
    pub(crate) notes: Vec<String>,
    pub(crate) problems: Problems,
    forgotten: bool,
    name: String,
}

/// The chain of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) first: Offset,
    pub(crate) next: Offset,
    pub(crate) commits: u64,
    pub(crate) gaps: Vec<OffsetRange>,
}

impl From<Offset> for Chain {
    /// A chain that begins at `first`.
    fn from(first: Offset) -> Self {
        Self { first, next: first, commits: 0, gaps: Vec::new() }
    }
}

/// What one commit says it brought.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) version: Option<u64>,
    pub(crate) ranges: Box<[(PartitionId, OffsetRange)]>,
    pub(crate) row_count: u64,
    pub(crate) dead_count: u64,
    /// Its file, where one object is the commit.
    pub(crate) file: Option<Path>,
}

impl Chains {
    pub(crate) fn of(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Takes the next event into account.
    pub(crate) fn take(&mut self, event: PastEvent) {
        match event {
            PastEvent::Shaped => {}
            PastEvent::Began { log, starts } => self.begin(&log, &starts),
            PastEvent::Landed(commit) => self.landed(commit),
            PastEvent::Foreign { version, operation, changes_rows, removed } => {
                self.changed_by_others |= changes_rows;
                let changed =
                    if changes_rows { "and says that it changed rows" } else { "no rows by its word" };
                self.notes.push(format!(
                    "{}: version {version} is {operation} of another program, {} files taken away, {changed}",
                    self.name,
                    removed.len()
                ));
            }
            PastEvent::Forgotten { before } => {
                self.forgotten = true;
                self.notes.push(format!(
                    "{}: commits before version {before} are no longer written down; rows of them are held to the log alone",
                    self.name
                ));
            }
            PastEvent::Unreadable { path, reason } => {
                let problem = Problem::new(Kind::FileStray, &self.name, format!("{path}: {reason}"));
                self.problems.push(problem.file(path));
            }
        }
    }

    fn begin(&mut self, log: &LogId, starts: &Positions) {
        for (partition, start) in starts.iter() {
            match self.links.entry((log.clone(), partition)) {
                Entry::Vacant(new) => {
                    new.insert(Chain::from(start));
                }
                Entry::Occupied(known) => {
                    let next = known.get().next;
                    let said =
                        format!("partition {partition} begins at {start}, and stood at {next} already");
                    self.problems.push(Problem::new(Kind::Commit, &self.name, said).at(partition, []));
                }
            }
        }
    }

    fn landed(&mut self, commit: PastCommit) {
        for (partition, range) in commit.ranges.iter() {
            self.link(&commit, partition, range);
        }
        for file in &commit.files {
            if self.files.insert(file.path.clone(), file.clone()).is_some() {
                let said = format!("{} was added to the table twice", file.path);
                let problem = Problem::new(Kind::FileDoubled, &self.name, said);
                self.problems.push(problem.version(commit.version).file(&file.path));
            }
        }
        self.check_file_counts(&commit);
        if commit.log.is_replays() {
            self.replayed_count += commit.row_count;
            return;
        }
        self.skipped_count += commit.skipped_count;
        self.check_record_count(&commit);
        self.told.push(Told {
            version: commit.version,
            ranges: commit.ranges.iter().collect(),
            row_count: commit.row_count,
            dead_count: commit.dead_count,
            file: if commit.version.is_none() {
                commit.files.into_iter().next().map(|file| file.path)
            } else {
                None
            },
        });
    }

    fn check_file_counts(&mut self, commit: &PastCommit) {
        let in_files: Option<u64> = commit.files.iter().map(|file| file.row_count).sum();
        if let Some(in_files) = in_files.filter(|in_files| *in_files != commit.row_count) {
            let said = format!(
                "batch {} says it has {} rows, and its files {in_files} together",
                commit.batch_id, commit.row_count
            );
            self.problems.push(Problem::new(Kind::Commit, &self.name, said).version(commit.version));
        }
    }

    /// Offsets may have holes, so a commit may have fewer records than it covers offsets, never more.
    fn check_record_count(&mut self, commit: &PastCommit) {
        let records = commit.row_count + commit.dead_count + commit.skipped_count;
        let covered: u64 = commit.ranges.iter().map(|(_, range)| range.offset_count()).sum();
        if records > covered {
            let said =
                format!("batch {} says it has {records} records at {covered} offsets", commit.batch_id);
            self.problems.push(Problem::new(Kind::Commit, &self.name, said).version(commit.version));
        }
    }

    /// Whether `range` is the next of its partition's chain, and the position was put to its end.
    fn link(&mut self, commit: &PastCommit, partition: PartitionId, range: OffsetRange) {
        let chain = match self.links.entry((commit.log.clone(), partition)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                if !self.forgotten {
                    let said = format!("{range} of partition {partition} follows no start of that partition");
                    let problem = Problem::new(Kind::Commit, &self.name, said).version(commit.version);
                    self.problems.push(problem.at(partition, [range]));
                }
                new.insert(Chain::from(range.start()))
            }
        };
        let expected = chain.next;
        chain.next = expected.max(range.end());
        chain.commits += 1;
        if commit.gap {
            chain.gaps.push(range);
        }
        let moved_to = commit.next.get(partition);
        let problem = if range.start() > expected {
            let hole = OffsetRange::new(expected, range.start());
            Some((
                Kind::Gap,
                hole,
                format!("partition {partition} stood at {expected}, and the next commit covers {range}"),
            ))
        } else if range.start() < expected {
            let twice = OffsetRange::new(range.start(), expected.min(range.end()));
            Some((
                Kind::Overlap,
                twice,
                format!("partition {partition} stood at {expected}, and a commit covers {range}"),
            ))
        } else if moved_to.is_some_and(|next| next != range.end()) {
            let next = moved_to.unwrap_or(range.end());
            Some((
                Kind::Commit,
                range,
                format!("a commit covers {range} of partition {partition}, and puts its position to {next}"),
            ))
        } else {
            None
        };
        if let Some((kind, offsets, said)) = problem {
            let said = format!("{said} (batch {})", commit.batch_id);
            let problem = Problem::new(kind, &self.name, said).version(commit.version);
            let problem = commit.files.iter().take(1).fold(problem, |problem, file| problem.file(&file.path));
            self.problems.push(problem.at(partition, [offsets]));
        }
    }

    /// The log whose rows the table has: where several have chains, the one with the most commits.
    pub(crate) fn log(&self) -> Option<&LogId> {
        let mut commits: BTreeMap<&LogId, u64> = BTreeMap::new();
        for ((log, _), chain) in self.links.iter().filter(|((log, _), _)| !log.is_replays()) {
            *commits.entry(log).or_default() += 1 + chain.commits;
        }
        commits.into_iter().max_by_key(|(_, count)| *count).map(|(log, _)| log)
    }

    /// The chains of [`Chains::log`].
    pub(crate) fn of_log(&self) -> impl Iterator<Item = (PartitionId, &Chain)> {
        let log = self.log();
        self.links.iter().filter(move |((of, _), _)| Some(of) == log).map(|((_, p), chain)| (*p, chain))
    }
}

#[cfg(test)]
mod tests {
    use event::OffsetRanges;

    use super::*;

    const P0: PartitionId = PartitionId(0);

    fn log() -> LogId {
        LogId::new("test:log:topic")
    }

    fn begun() -> Chains {
        let mut chains = Chains::of("logs");
        let starts = Positions::from_iter([(P0, Offset(5))]);
        chains.take(PastEvent::Began { log: log(), starts });
        chains
    }

    fn commit(start: u64, end: u64) -> PastCommit {
        PastCommit {
            version: Some(start),
            committed_at: None,
            batch_id: "batch".to_owned(),
            log: log(),
            ranges: OffsetRanges::from_iter([(P0, OffsetRange::new(Offset(start), Offset(end)))]),
            next: Positions::from_iter([(P0, Offset(end))]),
            row_count: end - start,
            dead_count: 0,
            skipped_count: 0,
            gap: false,
            files: Vec::new(),
        }
    }

    fn found(commits: Vec<PastCommit>) -> Vec<(Kind, Vec<[u64; 2]>)> {
        let mut chains = begun();
        for commit in commits {
            chains.take(PastEvent::Landed(PastCommit { row_count: 0, ..commit }));
        }
        chains.problems.kept.into_iter().map(|problem| (problem.kind, problem.offsets)).collect()
    }

    #[test]
    fn a_chain_without_gap_or_overlap_is_no_problem() {
        assert_eq!(found(vec![commit(5, 9), commit(9, 9), commit(9, 12)]), []);
    }

    #[test]
    fn a_range_that_was_skipped_or_covered_twice_is_named() {
        assert_eq!(found(vec![commit(6, 9)]), [(Kind::Gap, vec![[5, 6]])]);
        assert_eq!(found(vec![commit(5, 9), commit(7, 12), commit(12, 13)]), [(Kind::Overlap, vec![[7, 9]])]);
    }

    #[test]
    fn a_position_that_is_not_where_its_commit_ends_is_named() {
        let next = Positions::from_iter([(P0, Offset(10))]);
        assert_eq!(found(vec![PastCommit { next, ..commit(5, 9) }]), [(Kind::Commit, vec![[5, 9]])]);
    }

    #[test]
    fn an_accepted_gap_is_told_and_no_problem() {
        let mut chains = begun();
        chains.take(PastEvent::Landed(PastCommit { gap: true, row_count: 0, ..commit(5, 100) }));
        assert!(chains.problems.kept.is_empty());
        let (_, chain) = chains.of_log().next().unwrap();
        assert_eq!((chain.gaps.len(), chain.next), (1, Offset(100)));
    }

    #[test]
    fn commits_that_are_forgotten_are_told_and_the_rest_is_held_to_the_chain() {
        let mut chains = Chains::of("logs");
        chains.take(PastEvent::Forgotten { before: 7 });
        chains.take(PastEvent::Landed(PastCommit { row_count: 0, ..commit(50, 60) }));
        chains.take(PastEvent::Landed(PastCommit { row_count: 0, ..commit(61, 62) }));
        let kinds: Vec<_> = chains.problems.kept.iter().map(|problem| problem.kind).collect();
        assert_eq!((kinds, chains.notes.len()), (vec![Kind::Gap], 1));
    }
}
