//! Log, lake and tables as the settings name them.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use event::Clock;
use eventlog::embedded::{EmbeddedLog, EmbeddedOptions};
use eventlog::spool::{Primary, SpoolOptions};
use eventlog::{EventLog, SpooledLog};
use eventlog_kafka::{KafkaLog, KafkaOptions};
use loader::{Loader, LoaderOptions};
use query::{QueryEngine, QueryOptions, QuerySource};
use table::lake::Rounds;
use table::{History, Lake, ParquetTable, Table};
use table_delta::DeltaTable;

use crate::settings::{LogUrl, Settings, SpoolSettings, StreamSettings, TableFormat};

/// The two tables of a stream.
#[derive(Debug, Clone)]
pub struct StreamTables {
    /// Rows.
    pub main: Arc<dyn Table>,
    /// Dead letters.
    pub dead: Arc<dyn Table>,
}

/// Opens the event log, and makes the topics of an embedded one.
///
/// # Errors
/// When it cannot be reached, a topic is missing in Kafka, or the settings don't fit it.
pub async fn open_log(settings: &Settings, clock: &Clock) -> Result<Arc<dyn EventLog>> {
    match &settings.log {
        LogUrl::Folder(folder) => {
            let log = open_folder(folder, settings, clock)?;
            for stream in &settings.streams {
                log.create_topic(&stream.topic).await?;
            }
            Ok(Arc::new(log))
        }
        LogUrl::Kafka(brokers) => {
            let log = connect(brokers, settings, clock)?;
            for stream in &settings.streams {
                log.describe(&stream.topic).await?;
            }
            Ok(Arc::new(log))
        }
    }
}

/// The event log as it is, its topics neither made nor asked for.
///
/// # Errors
/// When it cannot be reached, or the settings don't fit it.
pub fn look_at_log(settings: &Settings, clock: &Clock) -> Result<Arc<dyn EventLog>> {
    match &settings.log {
        LogUrl::Folder(folder) => Ok(Arc::new(open_folder(folder, settings, clock)?)),
        LogUrl::Kafka(brokers) => Ok(Arc::new(connect(brokers, settings, clock)?)),
    }
}

fn open_folder(folder: &Path, settings: &Settings, clock: &Clock) -> Result<EmbeddedLog> {
    let options = EmbeddedOptions {
        partition_count: settings.log_partitions,
        keep_landed_bytes: settings.log_retention_bytes,
        ..EmbeddedOptions::new(folder)
    };
    Ok(tokio::task::block_in_place(|| EmbeddedLog::open(options, clock.clone()))?)
}

fn connect(brokers: &str, settings: &Settings, clock: &Clock) -> Result<KafkaLog> {
    let options = kafka_options(settings, brokers);
    Ok(tokio::task::block_in_place(|| KafkaLog::connect(options, clock.clone()))?)
}

fn kafka_options(settings: &Settings, brokers: &str) -> KafkaOptions {
    KafkaOptions { properties: settings.kafka.clone(), ..KafkaOptions::new(brokers) }
}

/// Opens the event log with the spool in front of it that the settings ask for; `None` when they ask
/// for none. Kafka need not answer: what it cannot take waits in the spool.
///
/// # Errors
/// When the spool's folder cannot be used, or a property can't be.
pub async fn open_spooled_log(
    settings: &Settings,
    clock: &Clock,
) -> Result<Option<(Arc<dyn EventLog>, Arc<SpooledLog>)>> {
    let (Some(spool), LogUrl::Kafka(brokers)) = (&settings.spool, &settings.log) else { return Ok(None) };
    let options = KafkaOptions { append_patience: Some(spool.after), ..kafka_options(settings, brokers) };
    let kafka = Arc::new(KafkaLog::open(options, clock.clone())?);
    let topics: Vec<String> = settings.streams.iter().map(|stream| stream.topic.clone()).collect();
    let primary: Arc<dyn Primary> = Arc::clone(&kafka) as _;
    let spooled = SpooledLog::open(spool_options(spool), &topics, primary, clock.clone()).await?;
    Ok(Some((kafka, Arc::new(spooled))))
}

/// The spool's options, as the settings say.
#[must_use]
pub fn spool_options(spool: &SpoolSettings) -> SpoolOptions {
    SpoolOptions { folder: spool.folder.clone(), bytes_max: spool.bytes_max }
}

/// Opens the lake and tries its conditional writes.
///
/// # Errors
/// When it cannot be used, or does not keep them.
pub async fn open_lake(settings: &Settings, clock: &Clock) -> Result<Lake> {
    let lake = Lake::open(&settings.lake, &settings.environment)?;
    lake.probe(Rounds::START, clock).await?;
    Ok(lake)
}

/// The two tables of a stream, as ones that can say how they came to be.
#[derive(Debug, Clone)]
pub struct StreamHistories {
    /// Rows.
    pub main: Arc<dyn History>,
    /// Dead letters.
    pub dead: Arc<dyn History>,
}

/// The tables of `stream` on `lake`, as ones that can say how they came to be. Touches nothing yet.
#[must_use]
pub fn histories(lake: &Lake, stream: &StreamSettings, clock: &Clock) -> StreamHistories {
    let open = |name: &str| -> Arc<dyn History> {
        match stream.format {
            TableFormat::Delta => Arc::new(DeltaTable::new(lake.clone(), name, clock.clone())),
            TableFormat::Parquet => Arc::new(ParquetTable::new(lake.clone(), name, clock.clone())),
        }
    };
    StreamHistories {
        main: open(&stream.table),
        dead: open(&event::stream::dead_letter_table(&stream.table)),
    }
}

/// The tables of `stream` on `lake`. Touches nothing yet.
#[must_use]
pub fn tables(lake: &Lake, stream: &StreamSettings, clock: &Clock) -> StreamTables {
    let open = |name: &str| -> Arc<dyn Table> {
        match stream.format {
            TableFormat::Delta => Arc::new(DeltaTable::new(lake.clone(), name, clock.clone())),
            TableFormat::Parquet => Arc::new(ParquetTable::new(lake.clone(), name, clock.clone())),
        }
    };
    StreamTables { main: open(&stream.table), dead: open(&event::stream::dead_letter_table(&stream.table)) }
}

/// A loader for `stream`, sharing its topic with the loaders of `group`.
#[must_use]
pub fn loader(
    stream: &StreamSettings,
    group: &str,
    log: &Arc<dyn EventLog>,
    tables: &StreamTables,
    clock: &Clock,
) -> Loader {
    let options = LoaderOptions {
        stream: stream.name.clone(),
        topic: stream.topic.clone(),
        group: group.to_owned(),
        decode: Arc::clone(&stream.decode),
        flush: stream.flush,
        start: stream.start,
    };
    Loader::new(options, Arc::clone(log), Arc::clone(&tables.main), Arc::clone(&tables.dead), clock.clone())
}

/// SQL over all streams; with `log`, over what has not landed as well.
///
/// # Errors
/// When the engine cannot be set up.
pub fn query_engine(
    settings: &Settings,
    lake: &Lake,
    log: Option<&Arc<dyn EventLog>>,
    clock: &Clock,
) -> Result<QueryEngine> {
    let sources = settings.streams.iter().map(|stream| {
        let tables = tables(lake, stream, clock);
        QuerySource {
            name: stream.table.clone(),
            table: tables.main,
            dead: tables.dead,
            store: Arc::clone(lake.store()),
            log: log.map(|log| (Arc::clone(log), stream.topic.clone())),
            decode: Arc::clone(&stream.decode),
        }
    });
    Ok(QueryEngine::new(sources.collect(), QueryOptions::default(), clock.clone())?)
}
