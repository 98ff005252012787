//! The compare-and-swap.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use deltalake_core::kernel::Action;
use event::limits;
use table::TableError;
use table::lake::Pauses;

use crate::log::{TableLog, refresh};
use crate::place::{Created, Place};
use crate::{checkpoint, entry};

/// What is to be done, seen from one version of the table.
pub(crate) enum Next {
    /// Create the next version with these actions.
    Write(Vec<Action>),
    /// Nothing: it is as it should be.
    Done,
    /// It cannot be done any more.
    Refused(String),
}

/// What was done.
pub(crate) enum Written {
    /// It is as it should be.
    Done,
    /// It could not be done any more.
    Refused(String),
}

/// Brings `known` to the newest version, asks `next` what to do on it, and creates exactly the
/// version after it. When that version is another's, or it is not known whose, again.
///
/// # Errors
/// When the outcome is not known, after some attempts; or the one of `next`.
pub(crate) async fn write(
    known: &mut Option<TableLog>,
    place: &Arc<Place>,
    next: impl Fn(&TableLog) -> Result<Next, TableError>,
) -> Result<Written, TableError> {
    let (mut pauses, mut taken) = (Pauses::default(), None);
    for attempt in 0..limits::COMMIT_ATTEMPTS_MAX {
        if let Err(error) = refresh(known, place).await {
            pauses.wait_or(&place.clock, || error).await?;
            continue;
        }
        let log = known
            .as_mut()
            .ok_or_else(|| place.data_error("there is no table; create it before writing to it"))?;
        let actions = match next(log)? {
            Next::Write(actions) => actions,
            Next::Done => return Ok(Written::Done),
            Next::Refused(reason) => return Ok(Written::Refused(reason)),
        };
        log.check_writable(place)?;
        let version = log.version + 1;
        if taken == Some(version) {
            // The store said it exists and it does not: S3 answers so while requests interfere.
            let reason = format!("version {version} of the log can neither be created nor read");
            pauses.wait_or(&place.clock, || place.unavailable(reason)).await?;
        }
        match place.create_entry(version, entry::encode(place, &actions)?).await {
            Ok(Created::Ours) => {
                log.take(version, &actions, place)?;
                checkpoint::write_if_due(place, version).await;
                return Ok(Written::Done);
            }
            Ok(Created::Exists) => {
                tracing::debug!(version, attempt, "version is another's; checking anew");
                taken = Some(version);
            }
            Err(error) => pauses.wait_or(&place.clock, || error).await?,
        }
    }
    let attempts = limits::COMMIT_ATTEMPTS_MAX;
    Err(place.unavailable(format!("other writers were faster {attempts} times; it is safe to try again")))
}

/// Creates version 0, unless there is a table.
pub(crate) async fn create(
    known: &mut Option<TableLog>,
    place: &Arc<Place>,
    schema: &SchemaRef,
) -> Result<(), TableError> {
    let mut pauses = Pauses::default();
    loop {
        let created = match refresh(known, place).await {
            Ok(()) if known.is_some() => return Ok(()),
            Ok(()) => place.create_entry(0, entry::encode(place, &entry::create(place, schema)?)?).await,
            Err(error) => Err(error),
        };
        // Whose it is does not matter: reading it tells what the table is.
        let error = match (refresh(known, place).await, created) {
            (Ok(()), _) if known.is_some() => return Ok(()),
            (_, Err(error)) | (Err(error), Ok(_)) => error,
            (Ok(()), Ok(_)) => {
                place.unavailable("version 0 of its log was created but cannot be read".to_owned())
            }
        };
        pauses.wait_or(&place.clock, || error).await?;
    }
}
