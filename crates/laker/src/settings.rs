//! What a process is told: layers of settings, each value with the place it came from.

/// The layers and how they are read.
mod layers;
/// Sizes, durations and addresses as people write them.
pub mod units;
/// Known keys, and the nearest one to an unknown.
mod keys;
/// One stream's section.
mod stream;
/// Events on disk while Kafka is gone.
mod spool;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use layers::{Origin, Sources};
pub use spool::SpoolSettings;
pub use stream::{StreamSettings, TableFormat};

use event::StreamName;
use layers::Layered;

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of the HTTP port.
    pub listen: String,
    /// Where `listen` came from.
    pub listen_origin: Origin,
    /// The event log.
    pub log: LogUrl,
    /// URL of the lake.
    pub lake: String,
    /// Partitions of a topic in the embedded log.
    pub log_partitions: u32,
    /// Landed bytes the embedded log keeps per topic.
    pub log_retention_bytes: u64,
    /// Where a collector's events go while Kafka is gone, if anywhere.
    pub spool: Option<SpoolSettings>,
    /// Kafka group of the loaders.
    pub group: String,
    /// librdkafka properties.
    pub kafka: BTreeMap<String, String>,
    /// The streams, the first one being the default of `POST /events`.
    pub streams: Vec<StreamSettings>,
    /// The environment, `.env` included: where S3 finds its `AWS_*` variables.
    pub environment: BTreeMap<String, String>,
    layered: Layered,
}

/// Where events are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogUrl {
    /// The embedded log in this folder.
    Folder(PathBuf),
    /// Kafka at these brokers (`host:port,host:port`).
    Kafka(String),
}

/// A setting that cannot be used. The message names it, where it came from, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub String);

impl Settings {
    /// Reads all layers and checks every value.
    ///
    /// # Errors
    /// [`SettingsError`] for an unreadable file, an unknown key or a value that cannot be.
    pub fn load(sources: Sources) -> Result<Self, SettingsError> {
        let layered = Layered::read(&sources)?;
        let log = LogUrl::parse(&layered.text("log")?).map_err(|reason| layered.refuse("log", &reason))?;
        let listen = layered.text("listen")?;
        units::check_address(&listen).map_err(|reason| layered.refuse("listen", &reason))?;
        let lake = layered.text("lake")?;
        units::check_lake(&lake).map_err(|reason| layered.refuse("lake", &reason))?;
        let streams = layered.streams()?;
        stream::check_distinct(&streams)?;
        let spool = SpoolSettings::read(&layered, &log)?;
        Ok(Self {
            listen,
            listen_origin: layered.origin("listen"),
            log,
            lake,
            log_partitions: layered.integer("log_partitions", 1, 1024)?,
            log_retention_bytes: layered.bytes("log_retention")?,
            spool,
            group: layered.text("group")?,
            kafka: layered.kafka()?,
            streams,
            environment: sources.environment,
            layered,
        })
    }

    /// Every value with its origin, secrets hidden, one line each.
    #[must_use]
    pub fn describe(&self) -> String {
        self.layered.describe(&self.environment)
    }

    /// The stream named `name`.
    #[cfg(test)]
    pub fn stream(&self, name: &str) -> Option<&StreamSettings> {
        self.streams.iter().find(|stream| stream.name.as_str() == name)
    }

    /// The stream named `name`, as somebody typed it.
    ///
    /// # Errors
    /// [`SettingsError`] when there is none, with those there are.
    pub fn named_stream(&self, name: &str) -> Result<&StreamSettings, SettingsError> {
        let found = self.streams.iter().find(|stream| stream.name.as_str() == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.streams.iter().map(|stream| stream.name.as_str()).collect();
            SettingsError(format!("there is no stream {name:?}; the streams are: {}", names.join(", ")))
        })
    }

    /// The stream `POST /events` goes to: `logs` where there is one, else the first.
    #[must_use]
    pub fn default_stream(&self) -> &StreamName {
        let logs = self.streams.iter().find(|stream| stream.name.as_str() == "logs");
        &logs.unwrap_or(&self.streams[0]).name
    }
}

impl LogUrl {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(brokers) = text.strip_prefix("kafka://") {
            let brokers = brokers.trim_end_matches('/');
            units::check_brokers(brokers)?;
            return Ok(Self::Kafka(brokers.to_owned()));
        }
        if let Some(folder) = units::folder_of(text)? {
            return Ok(Self::Folder(folder));
        }
        Err(format!(
            "is {text:?}, but must be a folder such as \"file:./laker-data/log\" or brokers such as \"kafka://host:9092\""
        ))
    }
}

impl std::fmt::Display for LogUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Kafka(brokers) => write!(f, "kafka://{brokers}"),
        }
    }
}

#[cfg(test)]
mod tests;
