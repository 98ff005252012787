//! One step after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::{Offset, OffsetRange, PartitionId, limits};
use eventlog::{EventLog, TopicDescription};
use futures::{StreamExt, TryStreamExt, stream};
use table::{DataFile, History, Past};

use crate::chain::Chains;
use crate::contents::{Contents, Spans, compared};
use crate::counts::Counts;
use crate::files::{Examined, Examiner, Which};
use crate::progress::{Stage, Watch};
use crate::report::{FilesReport, Kind, LogReport, PartitionReport, Problem, Problems, Report};
use crate::search::{Search, report_changed, report_doubled};
use crate::seen::Seen;
use crate::{Subject, VerifyError};

/// One of the two tables, and what its past says.
struct Side {
    examiner: Examiner,
    files: Vec<DataFile>,
    version: u64,
    chains: Chains,
}

/// Where the log can be compared, or why it cannot.
type Comparable<'a> = Result<(&'a dyn EventLog, &'a str, Spans), String>;

pub(crate) async fn verify(subject: &Subject, watch: &dyn Watch) -> Result<Report, VerifyError> {
    // Dead letters land before the rows of the same ranges, so this table is looked at last: it has
    // all that the other is past.
    let described = describe(subject).await;
    let main = side(subject, &subject.main, Which::Rows, watch).await?;
    let Some(mut main) = main else {
        let (stream, table) = (subject.stream.to_string(), subject.main.name().to_owned());
        return Err(VerifyError::NoTable { stream, table });
    };
    let mut dead = side(subject, &subject.dead, Which::Dead, watch).await?;
    let comparable = described.and_then(|(log, topic, description)| {
        spans(&main.chains, &description).map(|spans| (log, topic, spans))
    });
    let compared = Arc::new(comparable.as_ref().map(|(_, _, spans)| spans.clone()).unwrap_or_default());
    for side in [Some(&mut main), dead.as_mut()].into_iter().flatten() {
        side.examiner.compared = Arc::clone(&compared);
    }
    let mut work = Work {
        main,
        dead,
        seen: Seen::default(),
        problems: Problems::default(),
        files: FilesReport::default(),
    };
    work.read_files(watch).await?;
    work.check(comparable, watch).await
}

/// The log as it is now.
async fn describe(subject: &Subject) -> Result<(&dyn EventLog, &str, TopicDescription), String> {
    let (log, topic) = subject.log.as_ref().map_err(Clone::clone)?;
    let description = log.describe(topic).await.map_err(|error| error.to_string())?;
    Ok((&**log, topic, description))
}

/// One table's past; none when there is no table.
async fn side(
    subject: &Subject,
    table: &Arc<dyn History>,
    which: Which,
    watch: &dyn Watch,
) -> Result<Option<Side>, VerifyError> {
    let Some(Past { snapshot, event_count, mut events }) = table.history().await? else { return Ok(None) };
    let mut chains = Chains::of(table.name());
    let mut done = 0;
    while let Some(event) = events.try_next().await? {
        chains.take(event);
        done += 1;
        watch.at(Stage::History, done, event_count.max(done));
    }
    let examiner = Examiner {
        lake: subject.lake.clone(),
        table: table.name().to_owned(),
        which,
        own_id: subject.own_id,
        compared: Arc::default(),
    };
    Ok(Some(Side { examiner, files: snapshot.files, version: snapshot.version, chains }))
}

/// What of the log has landed and is still there.
fn spans(chains: &Chains, log: &TopicDescription) -> Result<Spans, String> {
    if let Some(other) = chains.log().filter(|of| **of != log.id) {
        return Err(format!("the table was filled from another log ({other}, this is {})", log.id));
    }
    let span = |(partition, chain): (PartitionId, &crate::chain::Chain)| {
        let retained = log.partitions.get(&partition)?;
        let (from, to) = (retained.start().max(chain.first), retained.end().min(chain.next));
        (from < to).then(|| (partition, OffsetRange::new(from, to)))
    };
    Ok(chains.of_log().filter_map(span).collect())
}

struct Work {
    main: Side,
    dead: Option<Side>,
    seen: Seen,
    problems: Problems,
    files: FilesReport,
}

impl Work {
    fn sides(&self) -> impl Iterator<Item = &Side> {
        std::iter::once(&self.main).chain(&self.dead)
    }

    async fn read_files(&mut self, watch: &dyn Watch) -> Result<(), VerifyError> {
        let total = self.sides().flat_map(|side| &side.files).map(|file| file.size_bytes).sum();
        let Self { main, dead, seen, problems, files } = self;
        for side in std::iter::once(&*main).chain(&*dead) {
            let mut examined = stream::iter(&side.files)
                .map(|file| {
                    let (examiner, file) = (side.examiner.clone(), file.clone());
                    let told = side.chains.files.get(&file.path).cloned();
                    tokio::spawn(async move { examiner.examine(&file, told.as_ref()).await })
                })
                .buffer_unordered(limits::VERIFY_FILES_MAX);
            while let Some(one) = examined.try_next().await? {
                take(side.examiner.which, one?, seen, problems, files);
                watch.at(Stage::Files, files.bytes, total);
            }
        }
        Ok(())
    }

    async fn check(mut self, comparable: Comparable<'_>, watch: &dyn Watch) -> Result<Report, VerifyError> {
        self.check_doubled().await?;
        for side in [Some(&mut self.main), self.dead.as_mut()].into_iter().flatten() {
            std::mem::take(&mut side.chains.problems.kept).into_iter().for_each(|p| self.problems.push(p));
        }
        self.check_counts();
        let (log, spans) = self.compare(comparable, watch).await?;
        Ok(self.report(log, &spans))
    }

    async fn check_doubled(&mut self) -> Result<(), VerifyError> {
        if self.seen.doubled.is_empty() {
            return Ok(());
        }
        let mut holders = BTreeMap::new();
        for side in self.sides() {
            let search = Search { examiner: &side.examiner, files: &side.files };
            search.holders(&self.seen.doubled, &mut holders).await?;
        }
        report_doubled(&self.main.examiner.table, self.seen.doubled_count, holders, &mut self.problems);
        Ok(())
    }

    fn check_counts(&mut self) {
        let none = Chains::default();
        let dead_name = event::stream::dead_letter_table(&self.main.examiner.table);
        let counts = Counts {
            main: &self.main.chains,
            dead: self.dead.as_ref().map_or(&none, |dead| &dead.chains),
            seen: &self.seen,
            main_name: &self.main.examiner.table,
            dead_name: &dead_name,
        };
        counts.check(&mut self.problems);
    }

    /// Compares contents with the log. Where that fails, it is said; all else stays proven.
    async fn compare(
        &mut self,
        comparable: Comparable<'_>,
        watch: &dyn Watch,
    ) -> Result<(LogReport, Spans), VerifyError> {
        let not =
            |reason: String| (LogReport { not_compared: Some(reason), ..LogReport::default() }, Spans::new());
        let (log, topic, spans) = match comparable {
            Ok(comparable) => comparable,
            Err(reason) => return Ok(not(reason)),
        };
        let mut contents = Contents::new(log, topic, &self.main.examiner.table, &self.seen, spans);
        if let Err(error) = contents.read(watch).await {
            return Ok(not(error.to_string()));
        }
        let (report, spans, differing) = contents.judge(&mut self.problems);
        self.check_skipped(&report, &spans);
        let searches: Vec<_> = std::iter::once(&self.main)
            .chain(&self.dead)
            .map(|side| Search { examiner: &side.examiner, files: &side.files })
            .collect();
        match report_changed(&searches, (log, topic), &differing, &mut self.problems).await {
            Ok(()) => Ok((report, spans)),
            Err(crate::search::SearchError::Table(error)) => Err(error.into()),
            Err(crate::search::SearchError::Log(error)) => Ok(not(error.to_string())),
        }
    }

    /// Where all that landed was compared, as many records must have been skipped as have no value.
    fn check_skipped(&mut self, log: &LogReport, spans: &Spans) {
        let is_whole = |(partition, chain): (PartitionId, &crate::chain::Chain)| {
            let landed = OffsetRange::new(chain.first, chain.next);
            landed.is_empty()
                || spans
                    .get(&partition)
                    .is_some_and(|span| span.start() == chain.first && span.end() == chain.next)
        };
        let (said, found) = (self.main.chains.skipped_count, log.tombstones);
        if said != found && self.main.chains.of_log().all(is_whole) {
            let text =
                format!("commits say they skipped {said} records, and {found} in the log have no value");
            self.problems.push(Problem::new(Kind::Commit, &self.main.examiner.table, text));
        }
    }

    fn report(mut self, log: LogReport, spans: &Spans) -> Report {
        let partitions = self.main.chains.of_log().map(|(partition, chain)| {
            let landed = OffsetRange::new(chain.first, chain.next);
            PartitionReport {
                partition: partition.0,
                first: chain.first.0,
                next: chain.next.0,
                commits: chain.commits,
                rows: self.seen.rows_in(partition, landed),
                dead: self.seen.dead_in(partition, landed),
                gaps: chain.gaps.iter().copied().map(crate::report::pair).collect(),
                compared: compared(spans, partition),
            }
        });
        let partitions: Vec<_> = partitions.collect();
        let mut notes = std::mem::take(&mut self.main.chains.notes);
        notes.extend(
            self.dead.as_mut().map(|dead| std::mem::take(&mut dead.chains.notes)).unwrap_or_default(),
        );
        notes.extend(self.ahead());
        Report {
            table: self.main.examiner.table.clone(),
            version: self.main.version,
            proven: self.problems.counts.is_empty(),
            partitions,
            files: self.files,
            skipped: self.main.chains.skipped_count,
            replayed: self.seen.replayed_count,
            log,
            problems: self.problems.kept,
            problem_counts: self.problems.counts,
            notes,
        }
    }

    /// Dead letters whose rows have not landed: a loader was between its two commits.
    fn ahead(&self) -> Option<String> {
        let behind = |(partition, chain): (PartitionId, &crate::chain::Chain)| {
            self.seen.dead_in(partition, OffsetRange::new(chain.next, Offset(u64::MAX)))
        };
        let count: u64 = self.main.chains.of_log().map(behind).sum();
        (count > 0).then(|| {
            format!("{count} dead letters have landed before the rows beside them, as they do; a loader goes on there")
        })
    }
}

fn take(which: Which, one: Examined, seen: &mut Seen, problems: &mut Problems, files: &mut FilesReport) {
    files.count += 1;
    files.bytes += one.bytes;
    files.with_checksum += u64::from(one.has_checksum);
    match which {
        Which::Rows => seen.take_rows(&one),
        Which::Dead => seen.take_dead(&one),
    }
    one.problems.into_iter().for_each(|problem| problems.push(problem));
}
