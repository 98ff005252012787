//! One stream's section.

use std::collections::BTreeSet;
use std::sync::Arc;

use decode::{ColumnType, DecodeOptions};
use event::StreamName;
use loader::{FlushLimits, StartPolicy};

use super::SettingsError;
use super::layers::Layered;

/// Settings of one stream: topic in the log, table on the lake.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// Its name.
    pub name: StreamName,
    /// Topic in the log.
    pub topic: String,
    /// Table on the lake.
    pub table: String,
    /// Kind of table.
    pub format: TableFormat,
    /// How bytes become columns.
    pub decode: Arc<DecodeOptions>,
    /// When a batch is cut.
    pub flush: FlushLimits,
    /// Where a new table begins.
    pub start: StartPolicy,
}

/// Kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Delta Lake.
    Delta,
    /// Plain Parquet files.
    Parquet,
}

impl StreamSettings {
    pub(super) fn read(name: StreamName, layered: &Layered) -> Result<Self, SettingsError> {
        let key = |setting: &str| format!("streams.{name}.{setting}");
        let table = layered.optional_text(&key("table"))?.unwrap_or_else(|| name.to_string());
        StreamName::new(&table)
            .map_err(|error| layered.refuse(&key("table"), &format!("cannot be: {error}")))?;
        if layered.texts(&key("partition_by"))? != ["event_date"] {
            return Err(layered.refuse(
                &key("partition_by"),
                "must be [\"event_date\"]; other partitions are not built yet",
            ));
        }
        Ok(Self {
            topic: layered.optional_text(&key("topic"))?.unwrap_or_else(|| name.to_string()),
            table,
            format: choice(
                layered,
                &key("format"),
                &[("delta", TableFormat::Delta), ("parquet", TableFormat::Parquet)],
            )?,
            decode: Arc::new(decode_options(layered, &key)?),
            flush: FlushLimits {
                rows_max: layered.integer(&key("flush_rows"), 1, 100_000_000)?,
                bytes_max: layered.bytes(&key("flush_bytes"))?.max(1),
                age_max: layered.duration(&key("flush_after"))?,
            },
            start: choice(
                layered,
                &key("start"),
                &[("earliest", StartPolicy::Earliest), ("latest", StartPolicy::Latest)],
            )?,
            name,
        })
    }
}

fn decode_options(layered: &Layered, key: &dyn Fn(&str) -> String) -> Result<DecodeOptions, SettingsError> {
    let zone = layered.text(&key("time_zone"))?;
    let time_zone = zone.parse().map_err(|_| {
        layered.refuse(
            &key("time_zone"),
            &format!("is {zone:?}, which is no IANA time zone such as \"Europe/Berlin\""),
        )
    })?;
    let columns = layered.below(&key("columns"))?;
    let columns = columns.into_iter().map(|(column, type_name)| {
        let fixed: Result<ColumnType, _> = type_name.parse();
        let fixed = fixed.map_err(|error| {
            layered.refuse(&format!("{}.{column}", key("columns")), &format!("cannot be: {error}"))
        })?;
        Ok((column, fixed))
    });
    let options = DecodeOptions {
        event_time: layered.optional_text(&key("event_time"))?.filter(|field| !field.is_empty()),
        time_zone,
        event_id: layered.optional_text(&key("event_id"))?.filter(|field| !field.is_empty()),
        columns: columns.collect::<Result<_, _>>()?,
        columns_max: layered.integer(&key("columns_max"), 1, 10_000)?,
        depth_max: layered.integer(&key("depth_max"), 1, 64)?,
        ..DecodeOptions::default()
    };
    options.check().map_err(|error| layered.refuse(&key("columns"), &format!("cannot be: {error}")))?;
    Ok(options)
}

fn choice<T: Copy>(layered: &Layered, key: &str, choices: &[(&str, T)]) -> Result<T, SettingsError> {
    let text = layered.text(key)?;
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        layered.refuse(key, &format!("is {text:?}, but must be {}", names.join(" or ")))
    })
}

/// Two streams must not fill one table, and a topic's records must not be taken for two streams'.
pub(super) fn check_distinct(streams: &[StreamSettings]) -> Result<(), SettingsError> {
    let (mut tables, mut topics) = (BTreeSet::new(), BTreeSet::new());
    for stream in streams {
        if !tables.insert(stream.table.to_ascii_lowercase()) {
            return Err(SettingsError(format!(
                "stream {:?} has the table {:?} of another stream; give it one of its own",
                stream.name.as_str(),
                stream.table
            )));
        }
        if !topics.insert(&stream.topic) {
            return Err(SettingsError(format!(
                "stream {:?} reads the topic {:?} of another stream; give it one of its own",
                stream.name.as_str(),
                stream.topic
            )));
        }
    }
    Ok(())
}
