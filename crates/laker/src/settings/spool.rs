//! Events on disk while Kafka is gone.

use std::path::PathBuf;
use std::time::Duration;

use event::limits;

use super::layers::Layered;
use super::{LogUrl, SettingsError, units};

/// Less than what one request may bring would refuse it for ever.
const BYTES_MIN: u64 = limits::BODY_DECOMPRESSED_BYTES_MAX as u64;
const AFTER_MIN: Duration = Duration::from_millis(100);
/// Below what a request may wait for the log in all, so that there is time left for the disk.
const AFTER_MAX: Duration = Duration::from_secs(20);

/// How a collector spools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The folder, of one process alone.
    pub folder: PathBuf,
    /// Bytes of events that may wait in it.
    pub bytes_max: u64,
    /// How long Kafka may not acknowledge before events go there.
    pub after: Duration,
}

impl SpoolSettings {
    /// The settings, if there is to be a spool.
    pub(super) fn read(layered: &Layered, log: &LogUrl) -> Result<Option<Self>, SettingsError> {
        if !layered.flag("spool")? {
            return Ok(None);
        }
        if let LogUrl::Folder(_) = log {
            return Err(layered.refuse(
                "spool",
                "is true, but `log` is a folder: events are on this disk already; remove it, or let `log` be kafka://…",
            ));
        }
        let folder = layered.text("spool_folder")?;
        let folder = units::folder_of(&folder)
            .and_then(|folder| {
                folder.ok_or_else(|| "must be a folder such as \"file:./laker-data/spool\"".to_owned())
            })
            .map_err(|reason| layered.refuse("spool_folder", &reason))?;
        let bytes_max = layered.bytes("spool_bytes")?;
        if bytes_max < BYTES_MIN {
            return Err(layered.refuse(
                "spool_bytes",
                &format!("must be at least {BYTES_MIN} bytes, which one request may bring"),
            ));
        }
        let after = layered.duration("spool_after")?;
        if !(AFTER_MIN..=AFTER_MAX).contains(&after) {
            return Err(
                layered.refuse("spool_after", &format!("must be from {AFTER_MIN:?} to {AFTER_MAX:?}"))
            );
        }
        Ok(Some(Self { folder, bytes_max, after }))
    }
}
