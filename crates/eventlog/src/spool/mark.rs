//! Whether the log knows a position of this spool, on disk: a file that is there while it must.
//!
//! Kafka forgets the position of a group that has been silent for a week, and that is what a spool is
//! between two outages. So "no position" is only believed while this file says that none was put
//! there since the spool was last empty.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::LogError;

/// Beside fjall's own files, which it does not touch.
const FOLDER: &str = "forwarding";

/// The mark of one topic.
#[derive(Debug)]
pub struct Mark(PathBuf);

impl Mark {
    /// The mark of `topic` in the spool at `folder`.
    #[must_use]
    pub fn new(folder: &Path, topic: &str) -> Self {
        Self(folder.join(FOLDER).join(topic))
    }

    /// Whether it is set.
    ///
    /// # Errors
    /// What the disk says.
    pub fn is_set(&self) -> Result<bool, LogError> {
        self.0.try_exists().map_err(|error| self.failed(&error))
    }

    /// Sets it, durable when this returns.
    ///
    /// # Errors
    /// What the disk says.
    pub fn set(&self) -> Result<(), LogError> {
        self.make().map_err(|error| self.failed(&error))
    }

    /// Removes it, durable when this returns.
    ///
    /// # Errors
    /// What the disk says.
    pub fn clear(&self) -> Result<(), LogError> {
        self.remove().map_err(|error| self.failed(&error))
    }

    fn make(&self) -> io::Result<()> {
        let folder = self.folder();
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            sync(folder.parent().expect("the folder of marks lies in the spool's"))?;
        }
        File::create(&self.0)?.sync_all()?;
        sync(folder)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync(self.folder()),
        }
    }

    fn folder(&self) -> &Path {
        self.0.parent().expect("a mark lies in the folder of marks")
    }

    fn failed(&self, error: &io::Error) -> LogError {
        let (place, reason) = (self.0.display().to_string(), error.to_string());
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => LogError::Full { place, reason },
            _ => LogError::Unavailable { place, reason },
        }
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_there_from_set_to_clear() {
        let folder = tempfile::tempdir().unwrap();
        let (mark, other) = (Mark::new(folder.path(), "logs"), Mark::new(folder.path(), "clicks"));
        assert!(!mark.is_set().unwrap());
        mark.clear().unwrap();
        mark.set().unwrap();
        mark.set().unwrap();
        assert!(mark.is_set().unwrap() && !other.is_set().unwrap());
        mark.clear().unwrap();
        assert!(!mark.is_set().unwrap());
    }
}
