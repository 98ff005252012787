//! Whether the store keeps conditional writes: the promise everything else rests on.
//!
//! Some S3 servers accept `If-None-Match: *` and let several writers win (MinIO 21603, SeaweedFS
//! 8800, RustFS 1659, s3s-fs). On such a store rows would be lost or doubled without a trace, so
//! it is asked before anything is written.

use std::sync::Arc;
use std::time::Duration;

use event::{Clock, limits};
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, UpdateVersion};

use super::Lake;
use crate::TableError;

/// Folder of the probe's keys under the lake's prefix. It is empty again afterwards.
pub const PROBE_FOLDER: &str = "_laker_probe";

/// How hard to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounds {
    /// Creates of one key at the same time.
    pub parallel: usize,
    /// How many keys.
    pub rounds: usize,
}

impl Rounds {
    /// At every start: well under a second on a near store.
    pub const START: Self = Self { parallel: 8, rounds: 3 };
    /// For judging a store: `laker check`.
    pub const THOROUGH: Self = Self { parallel: 32, rounds: 20 };
}

/// What was asked, all of it answered as it must be.
#[derive(Debug, Clone, Copy)]
pub struct ProbeReport {
    /// How hard it was asked.
    pub rounds: Rounds,
    /// How long all of it took.
    pub took: Duration,
}

impl Lake {
    /// Whether the lake answers at all: one listing.
    ///
    /// # Errors
    /// Why not, within [`limits::CONNECT_DEADLINE`], and what to do.
    pub async fn reach(&self, clock: &Clock) -> Result<(), TableError> {
        let prefix = self.prefix().clone().join(PROBE_FOLDER);
        let mut listing = self.store().list(Some(&prefix));
        match clock.timeout(limits::CONNECT_DEADLINE, listing.next()).await {
            None => Err(self.too_slow()),
            Some(Some(Err(error))) => Err(self.explain(&prefix, &error)),
            Some(_) => Ok(()),
        }
    }

    /// Asks the store for what exactly once needs: of parallel creates of one key exactly one
    /// wins, none on an existing key, and a replacement with a wrong ETag fails.
    ///
    /// # Errors
    /// [`TableError::NotAtomic`] with what failed, or why the lake could not be asked.
    pub async fn probe(&self, rounds: Rounds, clock: &Clock) -> Result<ProbeReport, TableError> {
        let started = clock.monotonic();
        self.reach(clock).await?;
        let folder = self.prefix().clone().join(PROBE_FOLDER).join(clock.new_id());
        for round in 0..rounds.rounds {
            let path = folder.clone().join(format!("{round}"));
            let asked = clock.timeout(limits::CONNECT_DEADLINE, self.ask(&path, rounds.parallel)).await;
            self.clean(&path, clock).await;
            asked.ok_or_else(|| self.too_slow())??;
        }
        Ok(ProbeReport { rounds, took: clock.monotonic() - started })
    }

    async fn ask(&self, path: &Path, parallel: usize) -> Result<(), TableError> {
        let winners = self.race(path, parallel, b"first").await?;
        if winners.len() > 1 {
            return Err(
                self.not_atomic(format!("{} of {parallel} parallel creates of one key won", winners.len()))
            );
        }
        let stored = self.read(path).await?;
        let Some(stored) = stored.filter(|s| s.starts_with(b"first")) else {
            return Err(self.not_atomic("after a create the key does not hold what was created".to_owned()));
        };
        if winners.first().is_some_and(|winner| payload(b"first", *winner) != stored) {
            return Err(self.not_atomic("the key holds the bytes of a create that was refused".to_owned()));
        }
        let winners = self.race(path, parallel, b"second").await?;
        if !winners.is_empty() || self.read(path).await?.as_deref() != Some(&*stored) {
            return Err(self.not_atomic("a create of an existing key won".to_owned()));
        }
        self.ask_with_wrong_etag(path).await
    }

    async fn ask_with_wrong_etag(&self, path: &Path) -> Result<(), TableError> {
        let wrong = || UpdateVersion {
            e_tag: Some("\"00000000000000000000000000000000\"".to_owned()),
            version: None,
        };
        let missing = missing_key(path);
        for (path, what) in [(path, "whose ETag is another"), (&missing, "that does not exist")] {
            let replaced = self.store().put_opts(path, "x".into(), PutMode::Update(wrong()).into()).await;
            match replaced {
                Ok(_) => {
                    return Err(self.not_atomic(format!("a replacement with If-Match won on a key {what}")));
                }
                // A folder cannot replace on condition at all; nothing here relies on it.
                Err(Error::Precondition { .. } | Error::NotFound { .. } | Error::NotImplemented { .. }) => {}
                Err(Error::AlreadyExists { .. } | Error::NotModified { .. }) => {}
                Err(error) => return Err(self.explain(path, &error)),
            }
        }
        Ok(())
    }

    /// Which of `parallel` creates were told that they won.
    async fn race(&self, path: &Path, parallel: usize, text: &[u8]) -> Result<Vec<usize>, TableError> {
        let create = |number: usize| {
            let store = Arc::clone(self.store());
            let payload = PutPayload::from(payload(text, number));
            async move { (number, store.put_opts(path, payload, PutMode::Create.into()).await) }
        };
        let mut winners = Vec::new();
        for (number, outcome) in join_all((0..parallel).map(create)).await {
            match outcome {
                Ok(_) => winners.push(number),
                Err(Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(self.explain(path, &error)),
            }
        }
        Ok(winners)
    }

    async fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, TableError> {
        let found = match self.store().get(path).await {
            Ok(found) => found.bytes().await,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        found.map(|bytes| Some(bytes.to_vec())).map_err(|e| self.explain(path, &e))
    }

    /// What stays after a failure is a few bytes in a folder of its own.
    async fn clean(&self, path: &Path, clock: &Clock) {
        let paths: Vec<_> = vec![Ok(path.clone()), Ok(missing_key(path))];
        let deleted = self.store().delete_stream(futures::stream::iter(paths).boxed());
        let deleted = deleted.filter(|d| futures::future::ready(!matches!(d, Err(Error::NotFound { .. }))));
        match clock.timeout(limits::CONNECT_DEADLINE, deleted.try_collect::<Vec<_>>()).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::warn!(%path, %error, "a key of the start-up probe stays in the lake")
            }
            None => tracing::warn!(%path, "a key of the start-up probe stays in the lake"),
        }
    }

    fn not_atomic(&self, reason: String) -> TableError {
        let reason = format!("{reason}; use a store with atomic conditional writes (If-None-Match: *)");
        TableError::NotAtomic { place: self.url().to_owned(), reason }
    }

    fn too_slow(&self) -> TableError {
        TableError::Unavailable {
            place: self.url().to_owned(),
            reason: format!(
                "it did not answer within {} s; check AWS_ENDPOINT_URL and the network",
                limits::CONNECT_DEADLINE.as_secs()
            ),
        }
    }
}

fn payload(text: &[u8], number: usize) -> Vec<u8> {
    [text, format!(" by {number}").as_bytes()].concat()
}

/// A key that nobody made. It is not below `path`, which is a file where the lake is a folder.
fn missing_key(path: &Path) -> Path {
    Path::from(format!("{path}-missing"))
}
