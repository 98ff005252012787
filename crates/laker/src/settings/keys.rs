//! Known keys, and the nearest one to an unknown.

/// Settings of the process.
pub(super) const PROCESS_KEYS: &[&str] = &[
    "group",
    "kafka",
    "lake",
    "listen",
    "log",
    "log_partitions",
    "log_retention",
    "spool",
    "spool_after",
    "spool_bytes",
    "spool_folder",
    "streams",
];

/// Settings of one stream.
pub(super) const STREAM_KEYS: &[&str] = &[
    "columns",
    "columns_max",
    "depth_max",
    "event_id",
    "event_time",
    "flush_after",
    "flush_bytes",
    "flush_rows",
    "format",
    "partition_by",
    "start",
    "table",
    "time_zone",
    "topic",
];

/// The known key that looks most like `unknown`, if one is close.
pub(super) fn nearest(unknown: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|key| (strsim::jaro_winkler(unknown, key), *key))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

/// Whether a setting's or variable's value must not be shown.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    [
        "password",
        "secret",
        "token",
        ".pem",
        "passphrase",
        "sasl.jaas",
        "access_key",
        "authorization",
        "credential",
    ]
    .iter()
    .any(|part| key.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_key_that_was_meant() {
        assert_eq!(nearest("flush_rowz", STREAM_KEYS), Some("flush_rows"));
        assert_eq!(nearest("listn", PROCESS_KEYS), Some("listen"));
        assert_eq!(nearest("xyzzy", PROCESS_KEYS), None);
    }

    #[test]
    fn passwords_and_keys_are_secrets_and_user_names_are_not() {
        for secret in
            ["kafka.sasl.password", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "kafka.ssl.key.pem"]
        {
            assert!(is_secret(secret), "{secret}");
        }
        for open in ["kafka.sasl.username", "listen", "AWS_REGION", "streams.logs.topic"] {
            assert!(!is_secret(open), "{open}");
        }
    }
}
