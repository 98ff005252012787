//! Finds the very rows, once it is known that something is wrong with some of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow_array::RecordBatch;
use bytes::Bytes;
use decode::{columns, law};
use event::{Offset, OffsetRange, PartitionId, Positions, limits};
use eventlog::{EventLog, LogError};
use futures::StreamExt;
use parquet::errors::ParquetError;
use table::rows::{Source, read};
use table::{DataFile, StatValue, TableError};

use crate::files::{Examiner, PLACE, Places, Unread, Which, raw};
use crate::report::{Kind, Problem, Problems, Ranges};

/// Where to look.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    pub(crate) examiner: &'a Examiner,
    pub(crate) files: &'a [DataFile],
}

/// Rows that are wrong in the same way: partition, file, field.
type Changed = BTreeMap<(PartitionId, String, String), Ranges>;

impl Search<'_> {
    /// Which files hold each of `places`.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub(crate) async fn holders(
        &self,
        places: &BTreeMap<PartitionId, BTreeSet<Offset>>,
        holders: &mut BTreeMap<(PartitionId, Offset), Vec<String>>,
    ) -> Result<(), TableError> {
        for file in self.files {
            let is_wanted = |batch: &RecordBatch, at: usize| {
                let place = Places::of(batch).ok()?.get(at).ok()?;
                places.get(&place.0)?.contains(&place.1).then_some(place)
            };
            self.each_row(file, Some(&PLACE), |batch, at| {
                if let Some(place) = is_wanted(batch, at) {
                    holders.entry(place).or_default().push(file.path.to_string());
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Rows of `range` that are not what `payloads` has at their places.
    async fn changed(
        &self,
        partition: PartitionId,
        range: OffsetRange,
        payloads: &HashMap<Offset, Bytes>,
        changed: &mut Changed,
    ) -> Result<(), TableError> {
        for file in self.files.iter().filter(|file| may_hold(file, range)) {
            self.each_row(file, None, |batch, at| {
                let place = Places::of(batch).ok().and_then(|places| places.get(at).ok());
                let Some((of, offset)) =
                    place.filter(|(of, offset)| *of == partition && range.contains(*offset))
                else {
                    return;
                };
                let payload = payloads.get(&offset);
                if let Some(field) = payload.and_then(|payload| self.difference(payload, batch, at)) {
                    changed.entry((of, file.path.to_string(), field)).or_default().push(offset);
                }
            })
            .await?;
        }
        Ok(())
    }

    fn difference(&self, payload: &[u8], batch: &RecordBatch, at: usize) -> Option<String> {
        match self.examiner.which {
            Which::Dead => (raw(batch, at).ok()? != payload).then(|| columns::RAW.to_owned()),
            Which::Rows => {
                let replayed_at = batch.column_by_name(columns::REPLAYED_AT);
                if replayed_at.is_some_and(|column| arrow_array::Array::is_valid(column, at)) {
                    return None;
                }
                // Which field fills `_id` may have been set otherwise when the row was written.
                let of = |own_id| law::difference(payload, batch, at, own_id);
                of(self.examiner.own_id).and_then(|field| of(!self.examiner.own_id).map(|_| field))
            }
        }
    }

    /// Shows every row of a file. One that cannot be read was reported before.
    async fn each_row(
        &self,
        file: &DataFile,
        columns: Option<&[&str]>,
        mut show: impl FnMut(&RecordBatch, usize),
    ) -> Result<(), TableError> {
        let store = std::sync::Arc::clone(self.examiner.lake.store());
        let source = Source::Stored { store, path: file.path.clone(), size_bytes: file.size_bytes };
        let unread = |error: ParquetError| match Unread::from(error) {
            Unread::Store(object_store::Error::NotFound { .. }) | Unread::Damaged(_) => Ok(()),
            Unread::Store(error) => Err(self.examiner.lake.explain(&file.path, &error)),
        };
        let mut batches = match read(source, columns).await {
            Ok(batches) => batches,
            Err(error) => return unread(error),
        };
        while let Some(batch) = batches.next().await {
            match batch {
                Ok(batch) => (0..batch.num_rows()).for_each(|at| show(&batch, at)),
                Err(error) => return unread(error),
            }
        }
        Ok(())
    }
}

/// Whether the file's statistics allow rows of `range`.
fn may_hold(file: &DataFile, range: OffsetRange) -> bool {
    let stats = file.column_stats.iter().find(|stats| stats.column == columns::OFFSET);
    let bound = |of: Option<&StatValue>| match of {
        Some(StatValue::Long(bound)) => u64::try_from(*bound).ok(),
        _ => None,
    };
    let min = bound(stats.and_then(|stats| stats.min.as_ref()));
    let max = bound(stats.and_then(|stats| stats.max.as_ref()));
    min.is_none_or(|min| min < range.end().0) && max.is_none_or(|max| max >= range.start().0)
}

/// Looks into stretches whose sums differ from the log's, and reports each row that does.
///
/// # Errors
/// When log or lake cannot be read.
pub(crate) async fn report_changed(
    searches: &[Search<'_>],
    log: (&dyn EventLog, &str),
    stretches: &[(PartitionId, OffsetRange)],
    problems: &mut Problems,
) -> Result<(), SearchError> {
    for search in searches {
        let mut changed = Changed::new();
        for (partition, range) in stretches.iter().take(limits::VERIFY_SEARCHED_MAX) {
            let payloads = payloads(log, *partition, *range).await?;
            search.changed(*partition, *range, &payloads, &mut changed).await?;
        }
        let table = &search.examiner.table;
        for ((partition, file, field), offsets) in changed {
            let text = format!(
                "field {field:?} of {} rows is not what the log has at their places",
                offsets.count()
            );
            let problem = Problem::new(Kind::Changed, table, text).file(file);
            problems.push(problem.at(partition, offsets.into_vec()));
        }
    }
    for (partition, range) in stretches.iter().skip(limits::VERIFY_SEARCHED_MAX) {
        let text = "somewhere here contents differ from the log; too much does for naming each row";
        let table = searches.first().map_or("", |search| &search.examiner.table);
        problems.push(Problem::new(Kind::Changed, table, text).at(*partition, [*range]));
    }
    Ok(())
}

/// Payloads of the log at `range`.
async fn payloads(
    (log, topic): (&dyn EventLog, &str),
    partition: PartitionId,
    range: OffsetRange,
) -> Result<HashMap<Offset, Bytes>, LogError> {
    let mut payloads = HashMap::new();
    let mut at = range.start();
    while at < range.end() {
        let from = Positions::from_iter([(partition, at)]);
        let mut ahead = log.read(topic, &from, limits::VERIFY_LOG_BYTES_MAX).await?;
        let Some((read, records)) = ahead.partitions.remove(&partition) else { break };
        for record in records.iter().filter(|record| range.contains(record.offset)) {
            payloads.extend(record.payload.map(|payload| (record.offset, Bytes::copy_from_slice(payload))));
        }
        if read.end() <= at {
            break;
        }
        at = read.end();
    }
    Ok(payloads)
}

/// Why a search ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Reports places that are there more than once, with all files that have them.
pub(crate) fn report_doubled(
    table: &str,
    count: u64,
    holders: BTreeMap<(PartitionId, Offset), Vec<String>>,
    problems: &mut Problems,
) {
    let mut together: BTreeMap<(PartitionId, Vec<String>), Ranges> = BTreeMap::new();
    for ((partition, offset), mut files) in holders {
        files.dedup();
        together.entry((partition, files)).or_default().push(offset);
    }
    for ((partition, files), offsets) in together {
        let text = format!(
            "these offsets of partition {partition} are there more than once ({count} rows too many in all)"
        );
        let problem = Problem::new(Kind::Doubled, table, text).at(partition, offsets.into_vec());
        problems.push(files.into_iter().fold(problem, |problem, file| problem.file(file)));
    }
}
