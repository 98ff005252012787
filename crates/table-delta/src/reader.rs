//! What readers see: the files of one version.

use std::collections::BTreeMap;

use deltalake_core::kernel::LogicalFileView;
use event::{LogId, TimestampMicros};
use table::{DataFile, Layout, Snapshot, TableError};

use crate::entry::{EVENT_DATE, days_of};
use crate::log::{self, TableLog};
use crate::place::Place;
use crate::stats;

/// The newest version a reader asked for, so that the next question costs only what is new.
#[derive(Default)]
pub(crate) struct Reader {
    log: Option<TableLog>,
    /// The same version as deltalake sees it: it keeps the live files.
    delta: Option<deltalake_core::DeltaTable>,
    /// Files by their path under the table.
    files: BTreeMap<String, DataFile>,
    files_version: Option<u64>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("version", &self.files_version).finish_non_exhaustive()
    }
}

impl Reader {
    /// The newest version, with the positions of `log` of exactly that version.
    pub(crate) async fn snapshot(
        &mut self,
        place: &Place,
        log: Option<&LogId>,
    ) -> Result<Option<Snapshot>, TableError> {
        log::refresh(&mut self.log, place).await?;
        let Some(version) = self.log.as_ref().map(|log| log.version) else {
            *self = Self::default();
            return Ok(None);
        };
        if self.files_version != Some(version) {
            self.read_files(place, version).await?;
        }
        let Some(known) = &self.log else { return Ok(None) };
        Ok(Some(Snapshot {
            version,
            committed_at: known.committed_at_ms.map(|ms| TimestampMicros(ms.saturating_mul(1000))),
            schema: known.schema.clone(),
            positions: log.map(|log| known.positions(log)).unwrap_or_default(),
            layout: Layout::ByEventDate,
            files: self.files.values().cloned().collect(),
        }))
    }

    async fn read_files(&mut self, place: &Place, version: u64) -> Result<(), TableError> {
        // A table made anew has lower versions than the one it replaces.
        let mut delta = match self.delta.take().filter(|delta| delta.version() < Some(version)) {
            Some(delta) => delta,
            None => deltalake_core::DeltaTable::new(place.log_store()?),
        };
        self.files_version = None;
        delta.update_incremental(Some(version)).await.map_err(|error| place.explain(&error))?;
        let state = delta.snapshot().map_err(|error| place.explain(&error))?;
        let mut known = std::mem::take(&mut self.files);
        for view in state.log_data().iter() {
            let path = view.path().into_owned();
            let file = match known.remove(&path) {
                Some(file) => file,
                None => self.data_file(place, &view)?,
            };
            self.files.insert(path, file);
        }
        self.delta = Some(delta);
        self.files_version = Some(version);
        Ok(())
    }

    fn data_file(&self, place: &Place, view: &LogicalFileView) -> Result<DataFile, TableError> {
        let path = view.path();
        if path.contains("://") || view.deletion_vector_descriptor().is_some() {
            return Err(place.data_error(format!(
                "file {path} is elsewhere or has a deletion vector, which Laker does not read; run REORG … PURGE"
            )));
        }
        let schema = self.log.as_ref().map(|log| log.schema.clone());
        let stats = view.stats().zip(schema);
        let (row_count, column_stats) =
            stats.map(|(stats, schema)| stats::decode(&stats, &schema)).unwrap_or_default();
        let date = view.partition_values_map().remove(EVENT_DATE).flatten();
        Ok(DataFile {
            path: place.path(&path),
            size_bytes: u64::try_from(view.size()).unwrap_or(0),
            row_count,
            event_date: date.as_deref().and_then(days_of),
            column_stats,
        })
    }
}
