//! The layers and how they are read.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use event::StreamName;
use toml::Value;

use super::keys::{PROCESS_KEYS, STREAM_KEYS, is_secret, nearest};
use super::stream::StreamSettings;
use super::{SettingsError, units};

/// Every setting with its default, as the user's own manual.
const DEFAULTS: &str = include_str!("../../../../laker.toml");
/// The section whose values are the defaults of every stream.
const TEMPLATE_STREAM: &str = "logs";

/// What there is to read settings from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `key=value` of flags, last one wins.
    pub flags: Vec<(String, String)>,
    /// The environment, `.env` already put under it.
    pub environment: BTreeMap<String, String>,
    /// The file named by `--config`, else `laker.toml` if there is one.
    pub file: Option<PathBuf>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Compiled in.
    Default,
    /// A settings file.
    File(PathBuf),
    /// A variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// Values by dotted key, the strongest layer's each.
#[derive(Debug, Clone)]
pub(super) struct Layered {
    values: BTreeMap<String, (Value, Origin)>,
    streams: Vec<String>,
}

impl Layered {
    pub(super) fn read(sources: &Sources) -> Result<Self, SettingsError> {
        let mut layered = Self { values: BTreeMap::new(), streams: Vec::new() };
        layered.take_toml(DEFAULTS, &Origin::Default)?;
        let template = layered.take_template();
        if let Some(path) = &sources.file {
            let text = read_file(path)?;
            layered.take_toml(&text, &Origin::File(path.clone()))?;
        }
        layered.take_flag_streams(&sources.flags);
        if layered.streams.is_empty() {
            layered.streams.push(TEMPLATE_STREAM.to_owned());
        }
        layered.take_environment(&sources.environment);
        for (key, value) in &sources.flags {
            layered.put(key, Value::String(value.clone()), Origin::Flag)?;
        }
        layered.fill_streams(&template);
        Ok(layered)
    }

    /// The defaults of a stream, by setting. The template itself is no stream.
    fn take_template(&mut self) -> Vec<(String, Value)> {
        self.streams.clear();
        let prefix = format!("streams.{TEMPLATE_STREAM}.");
        let (template, rest) =
            std::mem::take(&mut self.values).into_iter().partition(|(key, _)| key.starts_with(&prefix));
        self.values = rest;
        let template: BTreeMap<String, (Value, Origin)> = template;
        template.into_iter().map(|(key, (value, _))| (key[prefix.len()..].to_owned(), value)).collect()
    }

    fn fill_streams(&mut self, template: &[(String, Value)]) {
        for stream in &self.streams {
            for (setting, value) in template {
                let key = format!("streams.{stream}.{setting}");
                self.values.entry(key).or_insert_with(|| (value.clone(), Origin::Default));
            }
        }
    }

    fn take_toml(&mut self, text: &str, origin: &Origin) -> Result<(), SettingsError> {
        let table: toml::Table =
            text.parse().map_err(|error| SettingsError(format!("{origin} is no valid TOML: {error}")))?;
        self.flatten("", &Value::Table(table), origin)
    }

    fn flatten(&mut self, prefix: &str, value: &Value, origin: &Origin) -> Result<(), SettingsError> {
        if let (Some(name), true) = (stream_of_section(prefix), value.is_table()) {
            self.add_stream(name);
        }
        let Value::Table(table) = value else {
            return self.put(prefix, value.clone(), origin.clone());
        };
        for (key, value) in table {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            self.flatten(&path, value, origin)?;
        }
        Ok(())
    }

    fn add_stream(&mut self, name: &str) {
        if !self.streams.iter().any(|known| known == name) {
            self.streams.push(name.to_owned());
        }
    }

    fn take_flag_streams(&mut self, flags: &[(String, String)]) {
        for (key, _) in flags {
            if let Some((name, _)) = key.strip_prefix("streams.").and_then(|rest| rest.split_once('.')) {
                self.add_stream(name);
            }
        }
    }

    fn put(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), SettingsError> {
        check_key(key).map_err(|reason| SettingsError(format!("{origin}: {reason}")))?;
        self.values.insert(key.to_owned(), (value, origin));
        Ok(())
    }

    /// Variables that name no setting are left to others: the SDK's, the tests'.
    fn take_environment(&mut self, environment: &BTreeMap<String, String>) {
        for (variable, value) in environment {
            let Some(name) = variable.strip_prefix("LAKER_") else { continue };
            if let Some(key) = self.key_of_variable(name) {
                let origin = Origin::Environment(variable.clone());
                self.values.insert(key, (Value::String(value.clone()), origin));
            }
        }
    }

    fn key_of_variable(&self, name: &str) -> Option<String> {
        let lower = name.to_ascii_lowercase();
        if let Some(property) = lower.strip_prefix("kafka_") {
            return Some(format!("kafka.{}", property.replace('_', ".")));
        }
        if let Some(rest) = lower.strip_prefix("streams_") {
            return self.streams.iter().find_map(|stream| {
                let prefix = stream.to_ascii_lowercase().replace('-', "_");
                let key = rest.strip_prefix(&prefix)?.strip_prefix('_')?;
                STREAM_KEYS.contains(&key).then(|| format!("streams.{stream}.{key}"))
            });
        }
        (PROCESS_KEYS.contains(&lower.as_str()) && lower != "kafka" && lower != "streams").then_some(lower)
    }

    // ---- typed access ------------------------------------------------------------------------

    fn get(&self, key: &str) -> Option<&(Value, Origin)> {
        self.values.get(key)
    }

    pub(super) fn origin(&self, key: &str) -> Origin {
        self.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// The error for a value that cannot be; `reason` continues "setting `key`".
    pub(super) fn refuse(&self, key: &str, reason: &str) -> SettingsError {
        SettingsError(format!("setting `{key}` ({}) {reason}", self.origin(key)))
    }

    pub(super) fn optional_text(&self, key: &str) -> Result<Option<String>, SettingsError> {
        match self.get(key) {
            None => Ok(None),
            Some((Value::String(text), _)) => Ok(Some(text.clone())),
            Some((Value::Integer(number), _)) => Ok(Some(number.to_string())),
            Some((Value::Boolean(flag), _)) => Ok(Some(flag.to_string())),
            Some((other, _)) => Err(self.refuse(key, &format!("must be text, not {}", other.type_str()))),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<String, SettingsError> {
        let text = self.optional_text(key)?.unwrap_or_default();
        if text.is_empty() { Err(self.refuse(key, "must not be empty")) } else { Ok(text) }
    }

    pub(super) fn integer<N: TryFrom<u64>>(&self, key: &str, min: u64, max: u64) -> Result<N, SettingsError> {
        let text = self.text(key)?;
        let number = text.replace('_', "").parse::<u64>().ok().filter(|number| (min..=max).contains(number));
        number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| {
            self.refuse(key, &format!("is {text:?}, but must be a whole number from {min} to {max}"))
        })
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, SettingsError> {
        let text = self.text(key)?;
        text.parse().map_err(|_| self.refuse(key, &format!("is {text:?}, but must be true or false")))
    }

    pub(super) fn bytes(&self, key: &str) -> Result<u64, SettingsError> {
        let text = self.text(key)?;
        units::parse_bytes(&text).map_err(|reason| self.refuse(key, &format!("is {text:?}, which {reason}")))
    }

    pub(super) fn duration(&self, key: &str) -> Result<std::time::Duration, SettingsError> {
        let text = self.text(key)?;
        units::parse_duration(&text)
            .map_err(|reason| self.refuse(key, &format!("is {text:?}, which {reason}")))
    }

    /// A list of texts; one text alone is a list of one.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, SettingsError> {
        match self.get(key) {
            Some((Value::Array(items), _)) => items
                .iter()
                .map(|item| {
                    item.as_str()
                        .map(str::to_owned)
                        .ok_or_else(|| self.refuse(key, "must be a list of names"))
                })
                .collect(),
            _ => Ok(vec![self.text(key)?]),
        }
    }

    /// Keys and texts below `prefix.`.
    pub(super) fn below(&self, prefix: &str) -> Result<Vec<(String, String)>, SettingsError> {
        let keys =
            self.values.keys().filter_map(|key| Some((key, key.strip_prefix(prefix)?.strip_prefix('.')?)));
        keys.map(|(key, name)| Ok((name.to_owned(), self.text(key)?))).collect()
    }

    pub(super) fn kafka(&self) -> Result<BTreeMap<String, String>, SettingsError> {
        Ok(self.below("kafka")?.into_iter().collect())
    }

    pub(super) fn streams(&self) -> Result<Vec<StreamSettings>, SettingsError> {
        self.streams.iter().map(|name| self.stream(name)).collect()
    }

    fn stream(&self, name: &str) -> Result<StreamSettings, SettingsError> {
        let stream = StreamName::new(name)
            .map_err(|error| SettingsError(format!("section [streams.{name}] cannot be: {error}")))?;
        StreamSettings::read(stream, self)
    }

    // ---- for people --------------------------------------------------------------------------

    pub(super) fn describe(&self, environment: &BTreeMap<String, String>) -> String {
        let mut lines: Vec<(String, String, String)> = Vec::new();
        for (key, (value, origin)) in &self.values {
            lines.push((key.clone(), shown(key, &value.to_string()), origin.to_string()));
        }
        for (variable, value) in environment.iter().filter(|(variable, _)| variable.starts_with("AWS_")) {
            lines.push((variable.clone(), shown(variable, &format!("{value:?}")), "environment".to_owned()));
        }
        let key_width = lines.iter().map(|(key, ..)| key.len()).max().unwrap_or(0);
        let value_width = lines.iter().map(|(_, value, _)| value.len()).max().unwrap_or(0);
        lines.into_iter().fold(String::new(), |mut text, (key, value, origin)| {
            let _ = writeln!(text, "{key:key_width$} = {value:value_width$}  # {origin}");
            text
        })
    }
}

fn shown(key: &str, value: &str) -> String {
    if is_secret(key) { "\"(hidden)\"".to_owned() } else { value.to_owned() }
}

fn read_file(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path)
        .map_err(|error| SettingsError(format!("settings file {} cannot be read: {error}", path.display())))
}

fn stream_of_section(prefix: &str) -> Option<&str> {
    prefix.strip_prefix("streams.").filter(|name| !name.contains('.'))
}

/// Refuses a key nobody knows, and names the nearest one that is known.
fn check_key(key: &str) -> Result<(), String> {
    let parts: Vec<&str> = key.split('.').collect();
    match parts.as_slice() {
        ["kafka", _, ..] | ["streams", _, "columns", _, ..] => Ok(()),
        ["streams", stream, name] => check_known(name, STREAM_KEYS, &format!("streams.{stream}.")),
        ["streams", name] => Err(format!("`{key}` is no setting; write a section [streams.{name}]")),
        [name] => check_known(name, PROCESS_KEYS, ""),
        [name, ..] => {
            check_known(name, PROCESS_KEYS, "").and_then(|()| Err(format!("`{key}` is no setting")))
        }
        [] => Err("an empty key is no setting".to_owned()),
    }
}

fn check_known(name: &str, known: &[&'static str], prefix: &str) -> Result<(), String> {
    if known.contains(&name) {
        return Ok(());
    }
    let hint = nearest(name, known).map_or_else(
        || format!("known ones are {}", known.join(", ")),
        |near| format!("did you mean `{prefix}{near}`?"),
    );
    Err(format!("unknown setting `{prefix}{name}`; {hint}"))
}
