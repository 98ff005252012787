//! A folder whose writes are on disk when they return.
//!
//! `object_store`'s own `LocalFileSystem` never syncs: after a power failure an object it had
//! acknowledged may be missing or, worse, be there and empty. The embedded log drops what has
//! landed, so here the bytes are synced before the object gets its name, and the name before the
//! call returns.

use std::collections::HashSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

/// [`LocalFileSystem`], with puts that are durable.
#[derive(Debug, Clone)]
pub struct DurableFolder {
    inner: Arc<LocalFileSystem>,
    root: PathBuf,
    synced: Arc<Synced>,
}

/// Distinguishes what this process has in the making.
static STAGED: AtomicU64 = AtomicU64::new(0);

impl DurableFolder {
    /// Objects are files under `root`, which exists.
    ///
    /// # Errors
    /// When `root` cannot be resolved.
    pub fn open(root: &FilePath) -> Result<Self> {
        let inner = Arc::new(LocalFileSystem::new_with_prefix(root)?);
        Ok(Self { inner, root: root.to_owned(), synced: Arc::default() })
    }

    async fn put_durably(&self, location: &Path, payload: PutPayload, mode: PutMode) -> Result<PutResult> {
        let file = self.inner.path_to_filesystem(location)?;
        let (root, synced) = (self.root.clone(), Arc::clone(&self.synced));
        let written = tokio::task::spawn_blocking(move || {
            make_folders(&root, &file, &synced)?;
            write(&file, &payload, &mode)
        });
        written.await.map_err(|e| generic(Box::new(e)))?.map_err(|e| explain(location, e))?;
        let meta = self.inner.get_opts(location, GetOptions::new().with_head(true)).await?.meta;
        Ok(PutResult { e_tag: meta.e_tag, version: None })
    }

    async fn sync(&self, location: &Path) -> Result<()> {
        let file = self.inner.path_to_filesystem(location)?;
        let synced = tokio::task::spawn_blocking(move || {
            File::open(&file)?.sync_all().and_then(|()| sync_parent(&file))
        });
        synced.await.map_err(|e| generic(Box::new(e)))?.map_err(|e| explain(location, e))
    }
}

/// Writes and syncs the bytes beside `file`, gives them its name, and syncs the folder.
fn write(file: &FilePath, payload: &PutPayload, mode: &PutMode) -> io::Result<()> {
    let (staged, out) = stage(file)?;
    let named = write_staged(out, payload).and_then(|()| match mode {
        PutMode::Create => std::fs::hard_link(&staged, file),
        _ => std::fs::rename(&staged, file),
    });
    if named.is_err() || matches!(mode, PutMode::Create) {
        // A leftover is never listed and harms nobody.
        let _ = std::fs::remove_file(&staged);
    }
    named?;
    sync_parent(file)
}

/// A new file under a name that no listing shows: `LocalFileSystem` skips `#` and digits at the
/// end. The name may be taken: by a leftover, or by a process of the same number on another machine.
fn stage(file: &FilePath) -> io::Result<(PathBuf, File)> {
    loop {
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        let mut staged = file.as_os_str().to_owned();
        staged.push(format!("#{:010}{number:010}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            opened => return opened.map(|out| (staged.into(), out)),
        }
    }
}

fn write_staged(mut out: File, payload: &PutPayload) -> io::Result<()> {
    payload.iter().try_for_each(|part| out.write_all(part))?;
    out.sync_all()
}

/// Makes the folders between `root` and `file`, and sees to it that each one's name is on disk:
/// one that is there may be another process's, not synced yet.
fn make_folders(root: &FilePath, file: &FilePath, synced: &Synced) -> io::Result<()> {
    let Some(folder) = file.parent() else { return Ok(()) };
    if folder == root || (synced.lock().contains(folder) && folder.is_dir()) {
        return Ok(());
    }
    make_folders(root, folder, synced)?;
    match std::fs::create_dir(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        _ => sync_parent(folder)?,
    }
    synced.lock().insert(folder.to_owned());
    Ok(())
}

/// Folders whose names are known to be on disk.
#[derive(Debug, Default)]
struct Synced(Mutex<HashSet<PathBuf>>);

impl Synced {
    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        // What is in the set is true whatever became of the thread that put it there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sync_parent(path: &FilePath) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn explain(location: &Path, error: io::Error) -> Error {
    let path = location.to_string();
    match error.kind() {
        ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: Box::new(error) },
        ErrorKind::NotFound => Error::NotFound { path, source: Box::new(error) },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::PermissionDenied { path, source: Box::new(error) }
        }
        _ => generic(Box::new(error)),
    }
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "DurableFolder", source }
}

/// Sorted by path, as S3 lists: Delta's reader of the log relies on it.
fn in_order(listing: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
    let sorted = listing.try_collect::<Vec<_>>().map_ok(|mut listed| {
        listed.sort_by(|a, b| a.location.cmp(&b.location));
        futures::stream::iter(listed.into_iter().map(Ok))
    });
    sorted.try_flatten_stream().boxed()
}

impl fmt::Display for DurableFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableFolder({})", self.root.display())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for DurableFolder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) || !opts.attributes.is_empty() {
            // The folder can do neither; let it say so itself.
            return self.inner.put_opts(location, payload, opts).await;
        }
        self.put_durably(location, payload, opts.mode).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(HeldUpload { folder: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        in_order(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        in_order(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.sync(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.sync(to).await
    }
}

/// Parts kept in memory until the object is whole: what we store is, anyway.
#[derive(Debug)]
struct HeldUpload {
    folder: DurableFolder,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for HeldUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        futures::future::ready(Ok(())).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload: PutPayload = std::mem::take(&mut self.parts).into_iter().flatten().collect();
        self.folder.put_durably(&self.location, payload, PutMode::Overwrite).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;

    use super::*;

    fn folder() -> (tempfile::TempDir, DurableFolder) {
        let root = tempfile::tempdir().unwrap();
        let store = DurableFolder::open(&root.path().canonicalize().unwrap()).unwrap();
        (root, store)
    }

    #[tokio::test]
    async fn of_many_creates_one_wins_and_its_bytes_stay() {
        let (_root, store) = folder();
        let path = Path::from("a/b/c.bin");
        let create = |n: u8| {
            let (store, path) = (store.clone(), path.clone());
            async move { (n, store.put_opts(&path, vec![n; 100_000].into(), PutMode::Create.into()).await) }
        };
        let results = futures::future::join_all((0..16).map(create)).await;
        let winners: Vec<u8> = results.iter().filter(|(_, r)| r.is_ok()).map(|(n, _)| *n).collect();
        assert_eq!(winners.len(), 1);
        assert!(results.iter().filter(|(_, r)| matches!(r, Err(Error::AlreadyExists { .. }))).count() == 15);
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), vec![winners[0]; 100_000]);
    }

    #[tokio::test]
    async fn nothing_half_written_is_listed_or_left() {
        let (root, store) = folder();
        let path = Path::from("x/y.bin");
        store.put(&path, "1".into()).await.unwrap();
        store.put_opts(&path, "2".into(), PutMode::Create.into()).await.unwrap_err();
        store.put(&path, "3".into()).await.unwrap();
        std::fs::write(root.path().join("x/z.bin#00000000010000000002"), "left by a crash").unwrap();
        let listed: Vec<_> = store.list(None).map_ok(|m| m.location).try_collect().await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&path));
        assert_eq!(std::fs::read_dir(root.path().join("x")).unwrap().count(), 2);
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "3");
    }

    #[tokio::test]
    async fn an_upload_in_parts_appears_whole() {
        let (_root, store) = folder();
        let path = Path::from("parts");
        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part("one,".into()).await.unwrap();
        assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
        upload.put_part("two".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one,two");
    }
}
