//! Settings: file, environment, flags.

use std::fs;

use tempfile::NamedTempFile;

use crate::borrowed::laker::settings::{Settings, Sources, units};

thread_local! {
    static FILE: NamedTempFile = NamedTempFile::new().expect("a file can be made");
}

/// A settings file up to the first null byte, then `NAME=value` of the environment and `key=value` of
/// flags, one to a line: settings, or one message that is not empty. What is written out is whole.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (file, rest) = text.split_once('\0').unwrap_or((text, ""));
    let mut sources = Sources::default();
    for (name, value) in rest.lines().filter_map(|line| line.split_once('=')) {
        if name.starts_with(|c: char| c.is_ascii_uppercase()) {
            sources.environment.insert(name.to_owned(), value.to_owned());
        } else {
            sources.flags.push((name.to_owned(), value.to_owned()));
        }
    }
    sources.file = FILE.with(|kept| fs::write(kept.path(), file).ok().map(|()| kept.path().to_owned()));
    match Settings::load(sources) {
        Ok(settings) => {
            assert!(!settings.describe().is_empty() && !settings.streams.is_empty());
            assert!(settings.streams.iter().any(|stream| stream.name == *settings.default_stream()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    for line in text.lines() {
        let _ = (units::parse_bytes(line), units::parse_duration(line), units::folder_of(line));
        let _ = (units::check_address(line), units::check_brokers(line), units::check_lake(line));
    }
}
