//! Lakes to test on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use table::Lake;

/// A lake in a folder that goes away with the guard.
pub fn folder() -> (tempfile::TempDir, Lake) {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&format!("file:{}", folder.path().display()), &BTreeMap::new()).unwrap();
    (folder, lake)
}

/// The variables by which the test server is reached, and its bucket; none when there is no server.
pub fn s3_environment() -> Option<(String, BTreeMap<String, String>)> {
    let Ok(text) = std::env::var("LAKER_TEST_S3") else {
        assert!(std::env::var_os("CI").is_none(), "LAKER_TEST_S3 must be set in CI");
        eprintln!("skipped: LAKER_TEST_S3 is not set");
        return None;
    };
    let settings: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    let variables = [
        ("AWS_ENDPOINT_URL", "endpoint"),
        ("AWS_ACCESS_KEY_ID", "access_key_id"),
        ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
        ("AWS_REGION", "region"),
    ];
    let variables = variables.map(|(name, key)| (name.to_owned(), settings[key].clone()));
    Some((settings["bucket"].clone(), variables.into_iter().collect()))
}

/// A lake in a bucket, under a prefix of its own.
pub fn bucket() -> Option<Lake> {
    let (bucket, variables) = s3_environment()?;
    let prefix = event::Clock::system().new_id();
    Some(Lake::open(&format!("s3://{bucket}/test/{prefix}"), &variables).unwrap())
}

/// A store that counts requests.
#[derive(Debug)]
pub struct Counting {
    inner: Arc<dyn ObjectStore>,
    requests: AtomicUsize,
}

impl Counting {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, requests: AtomicUsize::new(0) }
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn count(&self) {
        self.requests.fetch_add(1, Ordering::SeqCst);
    }
}

impl std::fmt::Display for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Counting({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Counting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.count();
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.count();
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.count();
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.count();
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.count();
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count();
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, from: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count();
        self.inner.list_with_offset(prefix, from)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.count();
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.count();
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.count();
        self.inner.rename_opts(from, to, options).await
    }
}
