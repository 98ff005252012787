//! Sizes, durations and addresses as people write them.

use std::path::PathBuf;
use std::time::Duration;

/// Bytes of a size such as `128MB` (decimal), `64MiB` (binary) or a plain number.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(format!("has the unknown unit {unit:?}; use B, KB, MB, GB, KiB, MiB or GiB")),
    };
    number.checked_mul(factor).ok_or_else(|| "is too large".to_owned())
}

/// A duration such as `500ms`, `30s`, `5m`, `1h`.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_number(text)?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(format!("has the unknown unit {unit:?}; use ms, s, m or h, as in \"30s\"")),
    };
    millis.map(Duration::from_millis).ok_or_else(|| "is too long".to_owned())
}

fn split_number(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..end]
        .parse()
        .map_err(|_| "must begin with a whole number, as in \"128MB\" or \"30s\"".to_owned())?;
    Ok((number, text[end..].trim()))
}

/// The folder of a `file:` URL or a plain path; `None` for another scheme.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub fn folder_of(text: &str) -> Result<Option<PathBuf>, String> {
    let path = match text.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None if text.contains("://") => return Ok(None),
        None => text,
    };
    if path.is_empty() {
        return Err("names no folder".to_owned());
    }
    Ok(Some(PathBuf::from(path)))
}

/// Checks a `host:port`.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub fn check_address(text: &str) -> Result<(), String> {
    let fault = || format!("is {text:?}, but must be an address such as \"127.0.0.1:7777\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(fault)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(fault());
    }
    Ok(())
}

/// Checks a broker list `host:port,host:port`.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub fn check_brokers(brokers: &str) -> Result<(), String> {
    let fault = |part: &str| {
        format!(
            "has the broker {part:?}, but each must be host:port, as in \"kafka://host1:9092,host2:9092\""
        )
    };
    for broker in brokers.split(',') {
        let (host, port) = broker.rsplit_once(':').ok_or_else(|| fault(broker))?;
        if host.is_empty() || host.contains('/') || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(fault(broker));
        }
    }
    Ok(())
}

/// Checks the form of a lake's URL; whether it can be reached is another question.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub fn check_lake(text: &str) -> Result<(), String> {
    if let Some(rest) = text.strip_prefix("s3://") {
        let bucket = rest.split('/').next().unwrap_or_default();
        let named =
            !bucket.is_empty() && bucket.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
        return if named {
            Ok(())
        } else {
            Err(format!("is {text:?}, which names no bucket; write \"s3://bucket/prefix\""))
        };
    }
    match folder_of(text)? {
        Some(_) => Ok(()),
        None => Err(format!(
            "is {text:?}, but must be a folder such as \"file:./laker-data/lake\" or \"s3://bucket/prefix\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_unless_they_say_otherwise() {
        assert_eq!(parse_bytes("128MB"), Ok(128_000_000));
        assert_eq!(parse_bytes("1 GiB"), Ok(1 << 30));
        assert_eq!(parse_bytes("42"), Ok(42));
        assert!(parse_bytes("12 parsecs").unwrap_err().contains("unknown unit"));
        assert!(parse_bytes("MB").unwrap_err().contains("whole number"));
        assert!(parse_bytes("99999999999999999GB").is_err());
    }

    #[test]
    fn a_duration_without_unit_is_refused() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(parse_duration("30").unwrap_err().contains("unit"));
    }

    #[test]
    fn a_broker_without_port_is_refused() {
        check_brokers("a:9092,b:9092").unwrap();
        for bad in ["", "a", "a:", ":9", "a:x", "a:9092,", "a/b:1", "a:0"] {
            check_brokers(bad).unwrap_err();
        }
    }

    #[test]
    fn a_lake_needs_a_bucket_or_a_folder() {
        for good in ["s3://b", "s3://b/p/q", "file:./x", "file:///x", "./x"] {
            check_lake(good).unwrap();
        }
        for bad in ["s3://", "s3:///p", "gs://b", "http://x", "file:", "s3://b c"] {
            check_lake(bad).unwrap_err();
        }
    }
}
