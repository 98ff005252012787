//! Objects with small JSON, created once and never changed.

use bytes::Bytes;
use event::limits;
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};

use super::{Place, create_mode};
use crate::TableError;

/// Where a partition of a log begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) log: String,
    pub(super) start: u64,
}

impl Start {
    pub(super) fn decode(place: &Place, path: &Path, bytes: &[u8]) -> Result<Self, TableError> {
        let start: Self =
            serde_json::from_slice(bytes).map_err(|e| place.data_error(format!("{path}: {e}")))?;
        if start.log.is_empty() || start.log.contains('/') {
            return Err(place.data_error(format!("{path} names log {:?}, which cannot be one", start.log)));
        }
        Ok(start)
    }
}

/// Creates `path` with `bytes`, unless it exists; returns what it holds, ours or another's.
///
/// A create whose answer was lost looks like one that came too late, so in both cases what is
/// stored is read: whoever wrote it, that is the truth.
pub(super) async fn create(place: &Place, path: &Path, bytes: Vec<u8>) -> Result<Bytes, TableError> {
    let bytes = Bytes::from(bytes);
    let mut pauses = Pauses::new();
    loop {
        let error = match place.lake.store().put_opts(path, bytes.clone().into(), create_mode()).await {
            Ok(_) => return Ok(bytes),
            Err(error) => error,
        };
        match read(place, path).await {
            Ok(Some(stored)) => return Ok(stored),
            Ok(None) => pauses.wait_or(place, || place.lake.explain(path, &error)).await?,
            Err(error) => pauses.wait_or(place, || error).await?,
        }
    }
}

/// What `path` holds, if it exists.
pub(super) async fn read(place: &Place, path: &Path) -> Result<Option<Bytes>, TableError> {
    let found = match place.lake.store().get(path).await {
        Ok(found) => found.bytes().await,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(error) => Err(error),
    };
    found.map(Some).map_err(|error| place.lake.explain(path, &error))
}

/// Pauses between attempts: few, and each twice as long.
pub(super) struct Pauses {
    attempts: usize,
    pause: std::time::Duration,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self { attempts: 1, pause: limits::RETRY_PAUSE_MIN }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The given one, when there were [`limits::STORE_ATTEMPTS_MAX`].
    pub(super) async fn wait_or(
        &mut self,
        place: &Place,
        error: impl FnOnce() -> TableError,
    ) -> Result<(), TableError> {
        if self.attempts >= limits::STORE_ATTEMPTS_MAX {
            return Err(error());
        }
        self.attempts += 1;
        place.clock.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(limits::RETRY_PAUSE_MAX);
        Ok(())
    }
}
