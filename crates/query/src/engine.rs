//! Statements from text to stream.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::execution::cache::cache_manager::{CacheManager, CacheManagerConfig};
use datafusion::prelude::SQLOptions;
use datafusion::sql::parser::Statement as DataFusionStatement;
use decode::DecodeOptions;
use event::{Clock, limits, stream};
use eventlog::EventLog;
use object_store::ObjectStore;
use table::{Layout, Table};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::answer::{Answer, Bounds, Freshness, died};
use crate::describe;
use crate::error::{QueryError, QueryErrorKind};
use crate::scan::LakeTable;
use crate::seam::{Seam, Seen};
use crate::session::{Lake, Session};
use crate::statement::{QueryStatement, Statement};
use crate::workers::{with_pauses, workers};

/// A stream that can be asked: its table, its dead letters, and the log behind both.
#[derive(Clone)]
pub struct QuerySource {
    /// The table's name in SQL. That of its dead letters follows from it: `logs__dead`.
    pub name: String,
    /// The table. It need not exist yet.
    pub table: Arc<dyn Table>,
    /// The table of the dead letters. It need not exist yet.
    pub dead: Arc<dyn Table>,
    /// The store that the paths of both tables' files belong to. Sources that share a lake share it.
    pub store: Arc<dyn ObjectStore>,
    /// The log and the topic in it, where there is one to be read.
    pub log: Option<(Arc<dyn EventLog>, String)>,
    /// How the loader decodes this stream's records.
    pub decode: Arc<DecodeOptions>,
}

impl fmt::Debug for QuerySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuerySource")
            .field("name", &self.name)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

/// What statements may take.
#[derive(Debug, Clone)]
pub struct QueryOptions {
    /// Memory for the intermediate results of all statements together.
    pub memory_bytes: usize,
    /// Memory for footers of Parquet files, kept between statements.
    pub footer_bytes: usize,
    /// Log that one look reads beyond a table.
    pub seam_bytes_max: usize,
    /// Time for one statement, until its last row.
    pub deadline: Duration,
    /// Partitions one statement is spread over; as many as there are cores when `None`.
    pub threads: Option<NonZeroUsize>,
    /// Statements that run at a time.
    pub running_max: usize,
    /// Statements that wait for their turn; the next one is refused.
    pub waiting_max: usize,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            memory_bytes: limits::QUERY_MEMORY_BYTES,
            footer_bytes: limits::QUERY_FOOTER_BYTES,
            seam_bytes_max: limits::SEAM_BYTES_MAX,
            deadline: limits::QUERY_DEADLINE,
            threads: None,
            running_max: limits::QUERY_RUNNING_MAX,
            waiting_max: limits::QUERY_WAITING_MAX,
        }
    }
}

/// SQL over a set of streams.
#[derive(Debug)]
pub struct QueryEngine {
    inner: Arc<Inner>,
    running: Arc<Semaphore>,
    waiting: Semaphore,
}

#[derive(Debug)]
struct Inner {
    streams: Vec<Stream>,
    /// Names of all tables: that of stream `n` at `2n`, that of its dead letters behind it.
    tables: Vec<String>,
    session: Session,
    allowed: Duration,
    clock: Clock,
}

#[derive(Debug)]
struct Stream {
    seam: Seam,
    lake: Lake,
    reader: Arc<CachedParquetFileReaderFactory>,
}

impl QueryEngine {
    /// An engine over `sources`.
    ///
    /// # Errors
    /// When two sources have one name, or DataFusion refuses the options.
    pub fn new(sources: Vec<QuerySource>, options: QueryOptions, clock: Clock) -> Result<Self, QueryError> {
        let running = Arc::new(Semaphore::new(options.running_max));
        let waiting = Semaphore::new(options.waiting_max);
        Ok(Self { inner: Arc::new(Inner::new(sources, &options, clock)?), running, waiting })
    }

    /// Runs one statement. It sees every event that was acknowledged before the call, once, unless
    /// the answer's freshness says otherwise.
    ///
    /// # Errors
    /// [`QueryError`] says whose turn it is. Errors that happen while rows are computed come in
    /// their stream.
    pub async fn run(&self, sql: &str) -> Result<Answer, QueryError> {
        let Inner { clock, allowed, .. } = &*self.inner;
        let deadline = clock.monotonic() + *allowed;
        let answer = clock.timeout(*allowed, self.run_until(deadline, sql)).await;
        answer.unwrap_or_else(|| Err(QueryError::timeout(*allowed)))
    }

    async fn run_until(&self, deadline: Duration, sql: &str) -> Result<Answer, QueryError> {
        if sql.len() > limits::SQL_BYTES_MAX {
            let message = format!("the statement is longer than {} bytes", limits::SQL_BYTES_MAX);
            return Err(QueryError::new(QueryErrorKind::TooLarge, message));
        }
        let permit = self.permit().await?;
        let Inner { clock, allowed, .. } = &*self.inner;
        let bounds = Bounds { clock: clock.clone(), deadline, allowed: *allowed, permit };
        let (inner, sql) = (self.inner.clone(), sql.to_owned());
        let task = workers()?.spawn(async move { inner.answer(&sql, bounds).await });
        AbortOnDropHandle::new(task).await.unwrap_or_else(|_| Err(died()))
    }

    /// The right to run, at once or after waiting in a queue that has an end.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        if let Ok(permit) = self.running.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let busy =
            |_| QueryError::new(QueryErrorKind::Unavailable, "too many statements are waiting; try again");
        let _waiting = self.waiting.try_acquire().map_err(busy)?;
        let permit = self.running.clone().acquire_owned().await;
        Ok(permit.expect("this semaphore is never closed"))
    }
}

impl Inner {
    fn new(sources: Vec<QuerySource>, options: &QueryOptions, clock: Clock) -> Result<Self, QueryError> {
        let tables = table_names(&sources)?;
        let lakes = sources.iter().enumerate().map(|(index, source)| Lake::new(index, source.store.clone()));
        let lakes = lakes.collect::<Result<Vec<_>, _>>()?;
        let session = Session::new(&lakes, options)?;
        let mut streams: Vec<Stream> = Vec::new();
        for (source, lake) in sources.into_iter().zip(lakes) {
            let reader = reader(&streams, &lake, options.footer_bytes)?;
            let seam = Seam::new(source, options.seam_bytes_max, clock.clone());
            streams.push(Stream { seam, lake, reader });
        }
        Ok(Self { streams, tables, session, allowed: options.deadline, clock })
    }

    async fn answer(&self, sql: &str, bounds: Bounds) -> Result<Answer, QueryError> {
        match Statement::parse(sql, &self.tables)? {
            Statement::ShowTables => Ok(Answer::ready(describe::tables(&self.tables), Vec::new())),
            Statement::Describe(table) => self.describe(table).await,
            Statement::Query(query) => self.query(query, bounds).await,
        }
    }

    async fn describe(&self, table: usize) -> Result<Answer, QueryError> {
        let seen = self.see([table].into_iter()).await?;
        let batch = describe::columns(&seen[&table].schema);
        Ok(Answer::ready(batch, self.freshness(&seen)))
    }

    async fn query(&self, query: QueryStatement, bounds: Bounds) -> Result<Answer, QueryError> {
        let seen = self.see(query.tables().iter().copied()).await?;
        let freshness = self.freshness(&seen);
        let schemas: Vec<SchemaRef> = seen.values().map(|seen| seen.schema.clone()).collect();
        let ast = query.into_ast(&self.tables, &schemas);
        let tables =
            seen.into_iter().map(|(table, seen)| (self.tables[table].clone(), self.provider(table, seen)));
        let state = self.session.statement(self.clock.now(), tables.collect())?;
        let plan = state.statement_to_plan(DataFusionStatement::Statement(ast)).await;
        let plan = plan.map_err(|error| QueryError::from_planner(error, &schemas))?;
        read_only().verify_plan(&plan)?;
        let plan = with_pauses(state.create_physical_plan(&plan).await?)?;
        Ok(Answer::running(plan, state.task_ctx(), bounds, freshness))
    }

    /// The tables as they are now, each stream looked at once.
    async fn see(&self, tables: impl Iterator<Item = usize>) -> Result<BTreeMap<usize, Seen>, QueryError> {
        let mut sights = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for table in tables {
            let (index, is_dead) = (table / 2, table % 2 == 1);
            let seam = &self.streams[index].seam;
            let sight = match sights.entry(index) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(seam.look().await?),
            };
            seen.insert(table, if is_dead { seam.dead(sight).await? } else { seam.rows(sight) });
        }
        Ok(seen)
    }

    fn freshness(&self, seen: &BTreeMap<usize, Seen>) -> Vec<Freshness> {
        let entries = seen.iter().map(|(table, seen)| Freshness {
            table: self.tables[*table].clone(),
            version: seen.snapshot.as_ref().map(|snapshot| snapshot.version),
            committed_at: seen.snapshot.as_ref().and_then(|snapshot| snapshot.committed_at),
            log: seen.log.clone(),
            newest_received_at: seen.newest_received_at,
        });
        entries.collect()
    }

    fn provider(&self, table: usize, seen: Seen) -> Arc<dyn TableProvider> {
        let stream = &self.streams[table / 2];
        let (files, layout) = match seen.snapshot {
            Some(snapshot) => (snapshot.files, snapshot.layout),
            None => (Vec::new(), Layout::ByLogPartition),
        };
        let (url, reader) = (stream.lake.url.clone(), stream.reader.clone());
        Arc::new(LakeTable { schema: seen.schema, files, layout, tail: seen.tail, url, reader })
    }
}

fn table_names(sources: &[QuerySource]) -> Result<Vec<String>, QueryError> {
    let mut names: Vec<String> = Vec::new();
    for source in sources {
        if names.iter().any(|name| name.eq_ignore_ascii_case(&source.name)) {
            let message =
                format!("two streams have tables named {:?}; change one in the settings", source.name);
            return Err(QueryError::new(QueryErrorKind::Internal, message));
        }
        names.extend([source.name.clone(), stream::dead_letter_table(&source.name)]);
    }
    Ok(names)
}

/// A reader with a cache of footers. Lakes do not share one, since their paths may be the same.
fn reader(
    streams: &[Stream],
    lake: &Lake,
    footer_bytes: usize,
) -> Result<Arc<CachedParquetFileReaderFactory>, QueryError> {
    if let Some(same) = streams.iter().find(|stream| Arc::ptr_eq(&stream.lake.store, &lake.store)) {
        return Ok(same.reader.clone());
    }
    let caches =
        CacheManager::try_new(&CacheManagerConfig::default().with_metadata_cache_limit(footer_bytes))?;
    let footers = caches.get_file_metadata_cache();
    Ok(Arc::new(CachedParquetFileReaderFactory::new(lake.store.clone(), footers)))
}

fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}
