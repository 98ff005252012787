//! Where the table is, and how Delta gets there.
//!
//! Delta never builds a client of its own: it sees the lake's store. To it the table's URL is
//! `memory:///<path in the store>`, a scheme it takes as it is.

use bytes::Bytes;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::logstore::{CommitOrBytes, LogStore, LogStoreRef, StorageConfig, default_logstore};
use event::Clock;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _, PutMode};
use table::lake::Pauses;
use table::{Lake, TableError};
use url::Url;

/// Where a table is, and the means to get there.
#[derive(Debug)]
pub(crate) struct Place {
    lake: Lake,
    name: String,
    pub(crate) clock: Clock,
}

/// What became of creating an entry of the log.
pub(crate) enum Created {
    /// It is ours.
    Ours,
    /// There is one, or the store was not sure; reading tells.
    Exists,
}

impl Place {
    pub(crate) fn new(lake: Lake, name: &str, clock: Clock) -> Self {
        Self { lake, name: name.to_owned(), clock }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn lake(&self) -> &Lake {
        &self.lake
    }

    /// Full path of `relative` in the lake's store.
    pub(crate) fn path(&self, relative: &str) -> Path {
        let relative = Path::parse(relative).unwrap_or_else(|_| Path::from(relative));
        self.lake.table_path(&self.name).parts().chain(relative.parts()).collect()
    }

    /// What is stored contradicts itself or what Laker can write.
    pub(crate) fn data_error(&self, reason: impl Into<String>) -> TableError {
        let place = self.lake.table_url(&self.name);
        TableError::Data { table: self.name.clone(), place, reason: reason.into() }
    }

    /// It failed in a way that may pass.
    pub(crate) fn unavailable(&self, reason: String) -> TableError {
        TableError::Unavailable { place: self.lake.table_url(&self.name), reason }
    }

    /// What an error of deltalake means: that of the store below it, if there is one.
    pub(crate) fn explain(&self, error: &DeltaTableError) -> TableError {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<Error>() {
                return self.lake.explain(&self.path(""), error);
            }
            cause = error.source();
        }
        match error {
            DeltaTableError::InvalidJsonLog { .. } | DeltaTableError::InvalidStatsJson { .. } => {
                self.data_error(error.to_string())
            }
            _ => {
                TableError::Unavailable { place: self.lake.table_url(&self.name), reason: error.to_string() }
            }
        }
    }

    /// Delta's way to the table's log.
    pub(crate) fn log_store(&self) -> Result<LogStoreRef, TableError> {
        let path = self.path("");
        let url = Url::parse(&format!("memory:///{path}/"));
        let url = url.map_err(|e| self.data_error(format!("its path cannot be a URL: {e}")))?;
        let store = self.lake.store();
        let table = PrefixStore::new(std::sync::Arc::clone(store), path);
        let (table, root) = (std::sync::Arc::new(table), std::sync::Arc::clone(store));
        Ok(default_logstore(table, root, &url, &StorageConfig::default()))
    }

    /// The bytes of version `version` of the log, if it exists.
    pub(crate) async fn read_entry(&self, version: u64) -> Result<Option<Bytes>, TableError> {
        let entry = self.log_store()?.read_commit_entry(version).await;
        entry.map_err(|error| self.explain(&error))
    }

    /// Whether version `version` of the log exists.
    pub(crate) async fn has_entry(&self, version: u64) -> Result<bool, TableError> {
        let path = self.path(&format!("_delta_log/{version:020}.json"));
        match self.lake.store().head(&path).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.lake.explain(&path, &error)),
        }
    }

    /// Creates version `version` of the log, unless it exists.
    ///
    /// # Errors
    /// Why it is not known whether it was created.
    pub(crate) async fn create_entry(&self, version: u64, bytes: Bytes) -> Result<Created, TableError> {
        let store = self.log_store()?;
        let entry = CommitOrBytes::LogBytes(bytes);
        match store.write_commit_entry(version, entry, operation_id(&self.clock)).await {
            Ok(()) => Ok(Created::Ours),
            Err(TransactionError::VersionAlreadyExists(_)) => Ok(Created::Exists),
            Err(error) => Err(self.explain(&error.into())),
        }
    }

    /// Stores a data file. Its name is unique, so one that is there is of an earlier attempt.
    pub(crate) async fn store_file(&self, relative: &str, bytes: Bytes) -> Result<(), TableError> {
        let path = self.path(relative);
        let mut pauses = Pauses::default();
        loop {
            let put = self.lake.store().put_opts(&path, bytes.clone().into(), PutMode::Create.into()).await;
            let Err(error) = put else { return Ok(()) };
            match self.lake.store().head(&path).await {
                Ok(stored) if stored.size == bytes.len() as u64 => return Ok(()),
                Ok(stored) => {
                    let (have, want) = (stored.size, bytes.len());
                    return Err(
                        self.data_error(format!("{path} has {have} bytes instead of {want}; who wrote it?"))
                    );
                }
                Err(_) => pauses.wait_or(&self.clock, || self.lake.explain(&path, &error)).await?,
            }
        }
    }
}

/// An id that the log store wants and the default one ignores.
fn operation_id(clock: &Clock) -> uuid::Uuid {
    clock.new_id().parse().unwrap_or_default()
}
