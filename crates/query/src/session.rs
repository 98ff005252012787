//! DataFusion, set up so that it can only read what it is given.
//!
//! Its catalog holds the tables of one statement, its object stores are the lakes of the sources,
//! spilling to disk is off, and no setting can be changed by SQL.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use chrono::DateTime;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
};
use datafusion::catalog::{CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::datasource::object_store::ObjectStoreRegistry;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use event::TimestampMicros;
use object_store::ObjectStore;
use url::Url;

use crate::engine::QueryOptions;
use crate::error::QueryError;
use crate::statement::PLACE;

/// The engine behind all statements.
#[derive(Debug)]
pub(crate) struct Session {
    state: SessionState,
}

/// A lake as DataFusion addresses it.
#[derive(Debug, Clone)]
pub(crate) struct Lake {
    pub(crate) url: ObjectStoreUrl,
    pub(crate) store: Arc<dyn ObjectStore>,
}

impl Lake {
    /// The lake of the stream number `index`: no SQL can spell this address.
    pub(crate) fn new(index: usize, store: Arc<dyn ObjectStore>) -> Result<Self, QueryError> {
        Ok(Self { url: ObjectStoreUrl::parse(format!("lake-{index}://lake"))?, store })
    }
}

impl Session {
    /// An engine that reads from `lakes` and from nowhere else.
    pub(crate) fn new(lakes: &[Lake], options: &QueryOptions) -> Result<Self, QueryError> {
        let stores = lakes.iter().map(|lake| (lake.url.as_str().to_owned(), lake.store.clone())).collect();
        let runtime = runtime(OnlyThese { stores }, options)?;
        let state = SessionStateBuilder::new_with_default_features()
            .with_config(config(options))
            .with_runtime_env(runtime)
            .build();
        Ok(Self { state })
    }

    /// State for one statement that starts `now` and can name `tables`.
    pub(crate) fn statement(
        &self,
        now: TimestampMicros,
        tables: Vec<(String, Arc<dyn TableProvider>)>,
    ) -> Result<SessionState, QueryError> {
        let mut state = self.state.clone();
        state.mark_start_execution();
        if let Some(now) = DateTime::from_timestamp_micros(now.0) {
            let props = state.execution_props().clone();
            *state.execution_props_mut() = props.with_query_execution_start_time(now);
        }
        state.register_catalog_list(catalog(tables)?);
        Ok(state)
    }
}

fn config(options: &QueryOptions) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(PLACE[0], PLACE[1])
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false);
    if let Some(threads) = options.threads {
        config = config.with_target_partitions(threads.get());
    }
    let settings = config.options_mut();
    settings.sql_parser.enable_ident_normalization = false;
    settings.sql_parser.map_string_types_to_utf8view = false;
    config
}

fn runtime(stores: OnlyThese, options: &QueryOptions) -> Result<Arc<RuntimeEnv>, QueryError> {
    let no_spilling = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(stores))
        .with_disk_manager_builder(no_spilling)
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(options.memory_bytes)))
        .build_arc()?;
    Ok(runtime)
}

fn catalog(
    tables: Vec<(String, Arc<dyn TableProvider>)>,
) -> Result<Arc<dyn CatalogProviderList>, QueryError> {
    let schema = MemorySchemaProvider::new();
    for (name, table) in tables {
        schema.register_table(name, table)?;
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(PLACE[1], Arc::new(schema))?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(PLACE[0].to_owned(), Arc::new(catalog));
    Ok(Arc::new(list))
}

/// The object stores of the lakes. Unlike DataFusion's own registry it holds no local file system.
struct OnlyThese {
    stores: HashMap<String, Arc<dyn ObjectStore>>,
}

impl fmt::Debug for OnlyThese {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.stores.keys()).finish()
    }
}

impl ObjectStoreRegistry for OnlyThese {
    fn register_store(&self, _url: &Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, DataFusionError> {
        let store = self.stores.get(url.as_str()).cloned();
        store.ok_or_else(|| DataFusionError::Plan(format!("{url} is not one of the lakes")))
    }
}
