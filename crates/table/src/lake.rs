//! Where tables live: a folder or a bucket.
//!
//! A lake is an object store and a prefix within it. Everything else of a table rests on one
//! promise of the store: of several creates of one key, exactly one wins. [`Lake::probe`] asks for it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;

use crate::TableError;

/// A folder whose writes are on disk when they return.
mod durable;
/// What the store's errors mean to a person.
mod explain;
/// Pauses between attempts.
mod pauses;
/// Whether conditional writes hold.
mod probe;
/// Keys from a file, read anew for each request.
mod credentials;
/// A bucket, from the standard `AWS_*` variables.
mod s3;

pub use durable::DurableFolder;
pub use pauses::Pauses;
pub use probe::{ProbeReport, Rounds};

/// An object store, and the prefix in it under which tables are folders.
#[derive(Clone)]
pub struct Lake {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: String,
}

impl Lake {
    /// Opens `file:<folder>` (made if missing) or `s3://<bucket>[/<prefix>]`, with the `AWS_*`
    /// variables among `environment`. Does not speak to a bucket yet: [`Lake::probe`] does.
    ///
    /// # Errors
    /// [`TableError::Settings`] when the URL, a variable or the folder's rights are wrong.
    pub fn open(url: &str, environment: &BTreeMap<String, String>) -> Result<Self, TableError> {
        if url.starts_with("s3://") {
            return s3::open(url, environment);
        }
        if let Some(folder) = url.strip_prefix("file:") {
            return Self::open_folder(url, &folder_of(folder));
        }
        Err(TableError::Settings {
            place: url.to_owned(),
            reason: "a lake is file:<folder> or s3://<bucket>/<prefix>; write one of these".to_owned(),
        })
    }

    /// A lake on any store, for tests and tools.
    #[must_use]
    pub fn on(store: Arc<dyn ObjectStore>, prefix: Path, url: &str) -> Self {
        Self { store, prefix, url: url.trim_end_matches('/').to_owned() }
    }

    fn open_folder(url: &str, folder: &FilePath) -> Result<Self, TableError> {
        let refused = |error: &dyn fmt::Display| TableError::Settings {
            place: url.to_owned(),
            reason: format!(
                "folder {} cannot be used: {error}; give this user the right to write there, or name another folder",
                folder.display()
            ),
        };
        std::fs::create_dir_all(folder).map_err(|e| refused(&e))?;
        let root = folder.canonicalize().map_err(|e| refused(&e))?;
        let check = root.join(format!(".laker_write_check#{}", std::process::id()));
        std::fs::write(&check, []).map_err(|e| refused(&e))?;
        // Another process may have the same number, on another machine, and be faster here.
        let _ = std::fs::remove_file(&check);
        let store = DurableFolder::open(&root).map_err(|e| refused(&e))?;
        let url = url::Url::from_directory_path(&root).map_err(|()| refused(&"it has no absolute path"))?;
        Ok(Self::on(Arc::new(store), Path::default(), url.as_str()))
    }

    /// The object store. Paths in it are full: the lake's prefix included.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Where table `name` is, in [`Lake::store`].
    #[must_use]
    pub fn table_path(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }

    /// The prefix of all tables, in [`Lake::store`].
    #[must_use]
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// URL of the lake, without a `/` at its end: `file:///…` or `s3://…`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// URL of table `name`, as readers outside take it.
    #[must_use]
    pub fn table_url(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    /// The same lake with another store in front, for instance one that injects faults.
    #[must_use]
    pub fn with_store(&self, store: Arc<dyn ObjectStore>) -> Self {
        Self { store, ..self.clone() }
    }

    /// What `error`, met at `path`, means to whoever has to act on it.
    #[must_use]
    pub fn explain(&self, path: &Path, error: &object_store::Error) -> TableError {
        explain::explain(&self.url, path, error)
    }
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lake").field(&self.url).finish()
    }
}

/// The folder in `file:<rest>`: `file:./x`, `file:/x`, `file://localhost/x` and `file:///x` are meant.
fn folder_of(rest: &str) -> PathBuf {
    let path = match rest.strip_prefix("//") {
        Some(authority) => authority.strip_prefix("localhost").unwrap_or(authority),
        None => rest,
    };
    PathBuf::from(if path.is_empty() { "." } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_folder_is_understood() {
        for (written, meant) in
            [("./x", "./x"), ("x", "x"), ("/x/y", "/x/y"), ("///x", "/x"), ("//localhost/x", "/x"), ("", ".")]
        {
            assert_eq!(folder_of(written), PathBuf::from(meant), "file:{written}");
        }
    }

    #[test]
    fn a_url_that_is_no_lake_says_what_a_lake_is() {
        let refused = Lake::open("gs://bucket", &BTreeMap::new()).unwrap_err();
        assert!(refused.to_string().contains("file:<folder> or s3://<bucket>/<prefix>"), "{refused}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_the_fix() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = file.path().join("lake");
        let refused = Lake::open(&format!("file:{}", folder.display()), &BTreeMap::new()).unwrap_err();
        assert!(matches!(refused, TableError::Settings { .. }));
        let text = refused.to_string();
        assert!(
            text.contains(&folder.display().to_string()) && text.contains("name another folder"),
            "{text}"
        );
    }

    #[test]
    fn tables_are_folders_of_the_lake() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open(&format!("file:{}", folder.path().display()), &BTreeMap::new()).unwrap();
        assert_eq!(lake.table_path("logs").as_ref(), "logs");
        assert_eq!(lake.table_url("logs"), format!("{}/logs", lake.url()));
        assert!(lake.url().starts_with("file:///"));
    }
}
