use std::sync::Arc;

use async_trait::async_trait;
use event::Clock;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use table::lake::Rounds;
use table::{Lake, TableError};

use crate::lakes;

#[tokio::test]
async fn a_folder_keeps_conditional_writes_and_is_left_clean() {
    let (folder, lake) = lakes::folder();
    lake.probe(Rounds::THOROUGH, &Clock::system()).await.unwrap();
    let files = walk(folder.path());
    assert!(files.is_empty(), "{files:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn the_test_server_keeps_conditional_writes() {
    let Some(lake) = lakes::bucket() else { return };
    lake.probe(Rounds::THOROUGH, &Clock::system()).await.unwrap();
}

/// Each wrong setting is told apart from the others, with what to change.
#[tokio::test]
async fn a_lake_that_cannot_be_reached_says_why_and_what_to_do() {
    let Some((bucket, variables)) = lakes::s3_environment() else { return };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closed = format!("http://{closed}");
    for (bucket, name, value, said) in [
        ("laker-no-such-bucket", "AWS_REGION", "us-east-1", "the bucket does not exist"),
        (&*bucket, "AWS_ACCESS_KEY_ID", "nobody", "correct AWS_ACCESS_KEY_ID"),
        (&*bucket, "AWS_SECRET_ACCESS_KEY", "wrong", "correct AWS_SECRET_ACCESS_KEY"),
        (&*bucket, "AWS_ENDPOINT_URL", &closed, "cannot connect"),
    ] {
        let mut variables = variables.clone();
        variables.insert(name.to_owned(), value.to_owned());
        let lake = table::Lake::open(&format!("s3://{bucket}/prefix"), &variables).unwrap();
        let refused = lake.probe(Rounds::START, &Clock::system()).await.unwrap_err();
        assert!(refused.to_string().contains(said), "{refused}");
        let unavailable = matches!(refused, TableError::Unavailable { .. });
        assert_eq!(unavailable, name == "AWS_ENDPOINT_URL", "{refused}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let variables = [
        ("AWS_ENDPOINT_URL", format!("http://{}", silent.local_addr().unwrap())),
        ("AWS_ACCESS_KEY_ID", "key".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    let lake = table::Lake::open("s3://bucket", &variables.into_iter().collect()).unwrap();
    let refused = lake.reach(&Clock::system()).await.unwrap_err();
    assert!(
        matches!(refused, TableError::Unavailable { .. }) && refused.to_string().contains("did not answer"),
        "{refused}"
    );
}

/// What servers were seen to do with conditional writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// Looks whether the key exists, then writes: SeaweedFS 8800, s3s-fs.
    LooksThenWrites,
    /// Takes the condition for a remark: MinIO 21603.
    IgnoresCreate,
    /// Replaces whatever the ETag is: MinIO 21526.
    IgnoresIfMatch,
    /// Says yes and writes nothing.
    WritesNothing,
    /// Refuses every create, also the first.
    RefusesAll,
    /// Tells the loser that it won.
    SwapsAnswers,
}

#[derive(Debug)]
struct BrokenStore(InMemory, Broken);

impl std::fmt::Display for BrokenStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BrokenStore({:?})", self.1)
    }
}

impl BrokenStore {
    async fn create(&self, path: &Path, payload: PutPayload) -> Result<PutResult> {
        let exists = || Error::AlreadyExists { path: path.to_string(), source: "412".into() };
        match self.1 {
            Broken::LooksThenWrites => {
                if self.0.head(path).await.is_ok() {
                    return Err(exists());
                }
                tokio::task::yield_now().await;
                self.0.put(path, payload).await
            }
            Broken::IgnoresCreate => self.0.put(path, payload).await,
            Broken::WritesNothing => Ok(PutResult { e_tag: None, version: None }),
            Broken::RefusesAll => Err(exists()),
            Broken::SwapsAnswers => match self.0.put_opts(path, payload, PutMode::Create.into()).await {
                Ok(_) => Err(exists()),
                Err(_) if self.0.head(&path.clone().join("told")).await.is_err() => {
                    self.0.put(&path.clone().join("told"), "".into()).await
                }
                other => other,
            },
            Broken::IgnoresIfMatch => self.0.put_opts(path, payload, PutMode::Create.into()).await,
        }
    }
}

#[async_trait]
impl ObjectStore for BrokenStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match opts.mode {
            PutMode::Create => self.create(path, payload).await,
            PutMode::Update(_) if self.1 == Broken::IgnoresIfMatch => self.0.put(path, payload).await,
            _ => self.0.put_opts(path, payload, opts).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(path, opts).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_store_that_breaks_conditional_writes_is_refused_by_name_of_what_it_broke() {
    for (broken, said) in [
        (Broken::LooksThenWrites, "parallel creates of one key won"),
        (Broken::IgnoresCreate, "parallel creates of one key won"),
        (Broken::IgnoresIfMatch, "If-Match"),
        (Broken::WritesNothing, "parallel creates of one key won"),
        (Broken::RefusesAll, "does not hold what was created"),
        (Broken::SwapsAnswers, "of a create that was refused"),
    ] {
        let store = Arc::new(BrokenStore(InMemory::new(), broken));
        let lake = Lake::on(store, Path::from("prefix"), "s3://bucket/prefix");
        let refused = lake.probe(Rounds::START, &Clock::system()).await.unwrap_err();
        assert!(matches!(refused, TableError::NotAtomic { .. }), "{broken:?}: {refused}");
        assert!(refused.to_string().contains(said), "{broken:?}: {refused}");
    }
    let sound = Lake::on(Arc::new(InMemory::new()), Path::default(), "memory");
    sound.probe(Rounds::START, &Clock::system()).await.unwrap();
}
