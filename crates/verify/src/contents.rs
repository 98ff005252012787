//! Whether rows and dead letters are what the log has at their places, as far back as it goes.
//!
//! The log is read once, in order. Each record must be a row or a dead letter; what it holds is
//! added up by stretches of offsets, and so was what the tables hold. Stretches whose sums differ
//! are looked into row by row (`search`).

use std::collections::BTreeMap;

use decode::law;
use event::{Offset, OffsetRange, PartitionId, Positions, Record, limits};
use eventlog::{Ahead, EventLog, LogError};

use crate::files::dead_digest;
use crate::offsets::{OffsetSet, STRETCH_BITS};
use crate::progress::{Stage, Watch};
use crate::report::{Kind, LogReport, Problem, Problems, Ranges, pair};
use crate::seen::{Seen, Sums, add};

/// What of the log is compared.
pub(crate) type Spans = BTreeMap<PartitionId, OffsetRange>;

/// The log against what is seen of the tables.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    pub(crate) log: &'a dyn EventLog,
    pub(crate) topic: &'a str,
    pub(crate) table: &'a str,
    pub(crate) seen: &'a Seen,
    /// What is still to be compared, or was: its start moves on when the log drops what is there.
    pub(crate) spans: Spans,
    found: Found,
}

/// What was found in the log.
#[derive(Debug, Default)]
struct Found {
    sums: Sums,
    records: BTreeMap<PartitionId, OffsetSet>,
    lost: BTreeMap<PartitionId, Ranges>,
    report: LogReport,
}

impl<'a> Contents<'a> {
    pub(crate) fn new(
        log: &'a dyn EventLog,
        topic: &'a str,
        table: &'a str,
        seen: &'a Seen,
        spans: Spans,
    ) -> Self {
        Self { log, topic, table, seen, spans, found: Found::default() }
    }

    /// Reads all of the spans.
    ///
    /// # Errors
    /// When the log cannot be read; what was compared before is lost.
    pub(crate) async fn read(&mut self, watch: &dyn Watch) -> Result<(), LogError> {
        let total: u64 = self.spans.values().map(|span| span.offset_count()).sum();
        let mut at: Positions = self.spans.iter().map(|(p, span)| (*p, span.start())).collect();
        loop {
            let left: Positions = at.iter().filter(|(p, next)| *next < self.spans[p].end()).collect();
            let open: u64 = left.iter().map(|(p, next)| self.spans[&p].end().0 - next.0).sum();
            watch.at(Stage::Log, total - open, total);
            if left.is_empty() {
                return Ok(());
            }
            let ahead = self.log.read(self.topic, &left, limits::VERIFY_LOG_BYTES_MAX).await?;
            if !self.take(ahead, &mut at) {
                return Err(LogError::Unavailable {
                    place: self.topic.to_owned(),
                    reason: "it gives no more records, and has not come to its end".to_owned(),
                });
            }
        }
    }

    /// Takes what was read into account; whether anything was.
    fn take(&mut self, ahead: Ahead, at: &mut Positions) -> bool {
        let mut moved = false;
        for (partition, (range, records)) in ahead.partitions {
            let Some(before) = at.get(partition) else { continue };
            let Some(span) = self.spans.get_mut(&partition) else { continue };
            let span_end = span.end();
            if range.start() > before {
                // The log dropped its oldest records meanwhile.
                *span = OffsetRange::new(range.start().min(span_end), span_end);
            }
            for record in records.iter().filter(|record| record.offset < span_end) {
                self.found.take(self.seen, partition, record);
            }
            moved |= range.end() > before;
            at.set(partition, range.end().max(before).min(span_end));
        }
        moved
    }

    /// What is wrong, and the stretches in which contents differ.
    pub(crate) fn judge(
        mut self,
        problems: &mut Problems,
    ) -> (LogReport, Spans, Vec<(PartitionId, OffsetRange)>) {
        for (partition, lost) in std::mem::take(&mut self.found.lost) {
            let text = format!(
                "{} events of partition {partition} are in the log, and neither rows nor dead letters",
                lost.count()
            );
            problems.push(Problem::new(Kind::Lost, self.table, text).at(partition, lost.into_vec()));
        }
        for (partition, span) in &self.spans {
            let extra = self.extra(*partition, *span);
            if !extra.is_empty() {
                let text = format!("rows of partition {partition} have places where the log has no event");
                problems.push(Problem::new(Kind::RowsUnexpected, self.table, text).at(*partition, extra));
            }
        }
        let differing = self.differing();
        (self.found.report, self.spans, differing)
    }

    /// Rows and dead letters that have no record.
    fn extra(&self, partition: PartitionId, span: OffsetRange) -> Vec<OffsetRange> {
        let limit = limits::VERIFY_TOLD_MAX;
        let of_log = self.found.records.get(&partition);
        let in_log = of_log.map_or(0, |records| records.count(span));
        if in_log == self.seen.rows_in(partition, span) + self.seen.dead_in(partition, span) {
            return Vec::new();
        }
        let sets = [self.seen.rows.get(&partition), self.seen.dead.get(&partition)];
        let runs = sets.into_iter().flatten().flat_map(|set| set.runs(span, usize::MAX));
        let without = runs.flat_map(|run| match of_log {
            Some(records) => records.holes(run, limit),
            None => vec![run],
        });
        without.take(limit).collect()
    }

    fn differing(&self) -> Vec<(PartitionId, OffsetRange)> {
        let mut differing = Vec::new();
        for (partition, span) in &self.spans {
            let stretches = span.start().0 >> STRETCH_BITS..=span.end().0 >> STRETCH_BITS;
            for stretch in stretches {
                let key = (*partition, stretch);
                let start = Offset(stretch << STRETCH_BITS).max(span.start());
                let end = Offset((stretch + 1) << STRETCH_BITS).min(span.end());
                let sum = |sums: &Sums| sums.get(&key).copied().unwrap_or(0);
                if start < end && sum(&self.found.sums) != sum(&self.seen.sums) {
                    differing.push((*partition, OffsetRange::new(start, end)));
                }
            }
        }
        differing
    }
}

impl Found {
    fn take(&mut self, seen: &Seen, partition: PartitionId, record: Record<'_>) {
        self.report.records += 1;
        let offset = record.offset;
        let Some(payload) = record.payload else {
            self.report.tombstones += 1;
            return;
        };
        let digest = if seen.is_dead(partition, offset) {
            dead_digest(payload)
        } else if seen.is_row(partition, offset) {
            law::Event::read(payload).map_or(0, |event| event.digest())
        } else {
            return self.lost.entry(partition).or_default().push(offset);
        };
        self.records.entry(partition).or_default().insert(offset);
        add(&mut self.sums, partition, offset, digest);
    }
}

/// Spans as reports write them.
pub(crate) fn compared(spans: &Spans, partition: PartitionId) -> Option<[u64; 2]> {
    spans.get(&partition).copied().filter(|span| !span.is_empty()).map(pair)
}
