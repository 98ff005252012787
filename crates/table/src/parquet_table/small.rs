//! Objects with small JSON, created once and never changed.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};

use super::{Place, create_mode};
use crate::TableError;
use crate::lake::Pauses;

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
    let mut pauses = Pauses::default();
    loop {
        let error = match place.lake.store().put_opts(path, bytes.clone().into(), create_mode()).await {
            Ok(_) => return Ok(bytes),
            Err(error) => error,
        };
        match read(place, path).await {
            Ok(Some(stored)) => return Ok(stored),
            Ok(None) => pauses.wait_or(&place.clock, || place.lake.explain(path, &error)).await?,
            Err(error) => pauses.wait_or(&place.clock, || error).await?,
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
