//! A simulated object store: conditional creates are atomic, everything else may go wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

use crate::clock::START;
use crate::executor::{Executor, ProcessId, is_simulated};
use crate::network::{Network, NoAnswer};

const STORE: &str = "simulated";

/// One object, as it is now.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its bytes.
    pub bytes: Bytes,
    /// When it was written.
    pub written: Duration,
    e_tag: u64,
}

/// What the auditor is told of: each change of an object, in the order they happen.
#[derive(Debug, Clone)]
pub enum Change {
    /// It was not there before.
    Created(Path, Bytes),
    /// It was there, and has other bytes now.
    Replaced(Path),
    /// It is gone.
    Deleted(Path),
}

type Observer = Arc<dyn Fn(&Change) + Send + Sync>;

/// The store itself. Clones are the same one.
#[derive(Clone)]
pub struct StoreServer {
    objects: Arc<Mutex<Objects>>,
    executor: Executor,
    observer: Arc<Mutex<Option<Observer>>>,
}

#[derive(Debug, Default)]
struct Objects {
    by_path: BTreeMap<Path, Object>,
    last_e_tag: u64,
}

impl fmt::Debug for StoreServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreServer")
    }
}

impl StoreServer {
    /// An empty store.
    #[must_use]
    pub fn new(executor: &Executor) -> Self {
        Self { objects: Arc::default(), executor: executor.clone(), observer: Arc::default() }
    }

    /// Tells `observer` of every change from now on.
    pub fn observe(&self, observer: impl Fn(&Change) + Send + Sync + 'static) {
        *self.observer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(observer));
    }

    /// Tells nobody any more, so that an observer may hold the store.
    pub fn forget_observer(&self) {
        let observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(observer);
    }

    /// The store as `process` reaches it over `network`.
    #[must_use]
    pub fn client(&self, process: ProcessId, network: &Network) -> Arc<dyn ObjectStore> {
        Arc::new(StoreClient { server: self.clone(), process, network: network.clone() })
    }

    /// Everything there is.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<Path, Object> {
        self.objects().by_path.clone()
    }

    /// One object.
    #[must_use]
    pub fn object(&self, path: &Path) -> Option<Object> {
        self.objects().by_path.get(path).cloned()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: Change) {
        let observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(observer) = observer {
            observer(&change);
        }
    }

    fn put(&self, path: &Path, bytes: Bytes, mode: &PutMode) -> Result<PutResult> {
        let (change, e_tag) = {
            let objects = &mut *self.objects();
            let before = objects.by_path.get(path);
            check_put(path, before, mode)?;
            let existed = before.is_some();
            objects.last_e_tag += 1;
            let e_tag = objects.last_e_tag;
            let object = Object { bytes: bytes.clone(), written: self.executor.now(), e_tag };
            objects.by_path.insert(path.clone(), object);
            let change =
                if existed { Change::Replaced(path.clone()) } else { Change::Created(path.clone(), bytes) };
            (change, e_tag)
        };
        self.tell(change);
        Ok(PutResult { e_tag: Some(e_tag.to_string()), version: None })
    }

    fn delete(&self, path: &Path) {
        let removed = self.objects().by_path.remove(path);
        if removed.is_some() {
            self.tell(Change::Deleted(path.clone()));
        }
    }

    /// The object as it was `ago`; objects are seldom replaced, so one written since was not there.
    fn get(&self, path: &Path, ago: Duration) -> Result<(ObjectMeta, Bytes)> {
        let until = self.executor.now().saturating_sub(ago);
        let objects = self.objects();
        let object = objects.by_path.get(path).filter(|object| object.written <= until);
        let object = object.ok_or_else(|| not_found(path))?;
        Ok((meta(path, object), object.bytes.clone()))
    }

    fn list(&self, prefix: Option<&Path>, after: Option<&Path>, ago: Duration) -> Vec<ObjectMeta> {
        let until = self.executor.now().saturating_sub(ago);
        let objects = self.objects();
        let is_within = |path: &Path| match prefix {
            None => true,
            // As S3 lists: by whole parts of the path, the object of the prefix itself left out.
            Some(prefix) => path.prefix_match(prefix).is_some_and(|mut rest| rest.next().is_some()),
        };
        let listed = objects.by_path.iter().filter(|(path, object)| {
            object.written <= until && is_within(path) && after.is_none_or(|after| *path > after)
        });
        listed.map(|(path, object)| meta(path, object)).collect()
    }
}

fn check_put(path: &Path, before: Option<&Object>, mode: &PutMode) -> Result<()> {
    match (mode, before) {
        (PutMode::Create, Some(_)) => Err(exists(path)),
        (PutMode::Update(wanted), Some(object))
            if wanted.e_tag.as_deref() == Some(&*object.e_tag.to_string()) =>
        {
            Ok(())
        }
        (PutMode::Update(_), Some(_)) => {
            Err(Error::Precondition { path: path.to_string(), source: "its ETag is another".into() })
        }
        (PutMode::Update(_), None) => {
            Err(Error::Precondition { path: path.to_string(), source: "there is no such object".into() })
        }
        (PutMode::Create, None) | (PutMode::Overwrite, _) => Ok(()),
    }
}

fn meta(path: &Path, object: &Object) -> ObjectMeta {
    let written = i64::try_from(object.written.as_micros()).unwrap_or(0);
    ObjectMeta {
        location: path.clone(),
        last_modified: DateTime::<Utc>::from_timestamp_micros(START.0 + written).unwrap_or_default(),
        size: object.bytes.len() as u64,
        e_tag: Some(object.e_tag.to_string()),
        version: None,
    }
}

fn exists(path: &Path) -> Error {
    Error::AlreadyExists { path: path.to_string(), source: "the key exists".into() }
}

fn not_found(path: &Path) -> Error {
    Error::NotFound { path: path.to_string(), source: "there is no such key".into() }
}

fn no_answer(_: NoAnswer) -> Error {
    Error::Generic { store: STORE, source: "no answer, or one of 5xx".into() }
}

/// The store as one process reaches it. Threads that nobody simulates are answered at once.
#[derive(Debug, Clone)]
struct StoreClient {
    server: StoreServer,
    process: ProcessId,
    network: Network,
}

impl fmt::Display for StoreClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STORE)
    }
}

impl StoreClient {
    async fn change<T: Send + 'static>(
        &self,
        what: String,
        apply: impl Fn(&StoreServer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let server = self.server.clone();
        if !is_simulated() {
            return apply(&server);
        }
        let trace = self.server.executor.clone();
        let (process, told) = (self.process, what.clone());
        let apply = move || {
            let outcome = apply(&server);
            if let Err(error) = &outcome {
                trace.trace(process, || format!("{told}: {error}"));
            }
            outcome
        };
        self.network.send(self.process, what, apply).await.map_err(no_answer)?
    }

    async fn read<T: Send + 'static>(
        &self,
        what: String,
        read: impl Fn(&StoreServer, Duration) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let server = self.server.clone();
        if !is_simulated() {
            return read(&server, Duration::ZERO);
        }
        let ago = self.draw_staleness();
        let what = if ago.is_zero() { what } else { format!("{what} as of {ago:?} ago") };
        self.network.ask(self.process, what, move || read(&server, ago)).await.map_err(no_answer)?
    }

    fn draw_staleness(&self) -> Duration {
        if !self.network.is_struck(|rates| rates.stale) {
            return Duration::ZERO;
        }
        self.server.executor.draw(|chance| Duration::from_millis(chance.within(10..5_000)))
    }

    async fn create(&self, location: &Path, bytes: Bytes) -> Result<PutResult> {
        let what = format!("create {location} ({} bytes)", bytes.len());
        if is_simulated() && self.network.is_struck(|rates| rates.unsure) {
            let works = self.server.executor.draw(|chance| chance.is_lucky(500));
            if works {
                // The client's second attempt meets what its first one made.
                let (path, bytes) = (location.clone(), bytes);
                self.change(format!("{what}, sent twice"), move |server| {
                    server.put(&path, bytes.clone(), &PutMode::Create)
                })
                .await?;
            }
            return Err(exists(location));
        }
        let path = location.clone();
        self.change(what, move |server| server.put(&path, bytes.clone(), &PutMode::Create)).await
    }
}

#[async_trait]
impl ObjectStore for StoreClient {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let bytes = Bytes::from(payload);
        if opts.mode == PutMode::Create {
            return self.create(location, bytes).await;
        }
        let (path, mode) = (location.clone(), opts.mode);
        let what = format!("put {location} ({} bytes)", bytes.len());
        self.change(what, move |server| server.put(&path, bytes.clone(), &mode)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload { client: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let verb = if options.head { "head" } else { "get" };
        let path = location.clone();
        let (meta, bytes) =
            self.read(format!("{verb} {location}"), move |server, ago| server.get(&path, ago)).await?;
        options.check_preconditions(&meta)?;
        let range = wanted_range(&options, meta.size)?;
        let wanted = bytes.slice(usize_of(range.start)..usize_of(range.end));
        let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(wanted) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: object_store::Attributes::default() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let client = self.clone();
        let delete = move |location: Result<Path>| {
            let client = client.clone();
            async move {
                let location = location?;
                let path = location.clone();
                client
                    .change(format!("delete {location}"), move |server| {
                        server.delete(&path);
                        Ok(())
                    })
                    .await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let all: Vec<ObjectMeta> = self.list(prefix).try_collect().await?;
        let depth = prefix.map_or(0, |prefix| prefix.parts().count());
        let (mut objects, mut folders) = (Vec::new(), std::collections::BTreeSet::new());
        for meta in all {
            let parts: Vec<_> = meta.location.parts().collect();
            if parts.len() == depth + 1 {
                objects.push(meta);
            } else {
                folders.insert(parts.into_iter().take(depth + 1).collect::<Path>());
            }
        }
        Ok(ListResult { common_prefixes: folders.into_iter().collect(), objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let mode = if options.mode == CopyMode::Create { PutMode::Create } else { PutMode::Overwrite };
        let (from, to) = (from.clone(), to.clone());
        self.change(format!("copy {from} to {to}"), move |server| {
            let (_, bytes) = server.get(&from, Duration::ZERO)?;
            server.put(&to, bytes, &mode).map(|_| ())
        })
        .await
    }
}

impl StoreClient {
    fn listing(&self, prefix: Option<&Path>, after: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (client, prefix, after) = (self.clone(), prefix.cloned(), after.cloned());
        let listed = async move {
            let what = format!("list {}", prefix.as_ref().map_or("", |prefix| prefix.as_ref()));
            let read = move |server: &StoreServer, ago: Duration| {
                Ok(server.list(prefix.as_ref(), after.as_ref(), ago))
            };
            client.read(what, read).await
        };
        listed
            .map(|listed| listed.map(|l| futures::stream::iter(l.into_iter().map(Ok))))
            .try_flatten_stream()
            .boxed()
    }
}

fn wanted_range(options: &GetOptions, size: u64) -> Result<Range<u64>> {
    match &options.range {
        None => Ok(0..size),
        Some(range) => {
            range.as_range(size).map_err(|error| Error::Generic { store: STORE, source: Box::new(error) })
        }
    }
}

fn usize_of(offset: u64) -> usize {
    usize::try_from(offset).expect("an object in memory is as long as memory at most")
}

/// Parts kept until the object is whole.
#[derive(Debug)]
struct Upload {
    client: StoreClient,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        futures::future::ready(Ok(())).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload: PutPayload = std::mem::take(&mut self.parts).into_iter().flatten().collect();
        self.client.put_opts(&self.location, payload, PutOptions::default()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
