//! Lakes to test on.

use std::collections::BTreeMap;

use table::Lake;

/// A lake in a folder that goes away with the guard.
pub fn folder() -> (tempfile::TempDir, Lake) {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&format!("file:{}", folder.path().display()), &BTreeMap::new()).unwrap();
    (folder, lake)
}

/// The variables by which the test server is reached, and its bucket; none when there is no server.
pub fn s3_environment() -> Option<(String, BTreeMap<String, String>)> {
    let Ok(text) = std::env::var("LAKER_TEST_S3") else {
        assert!(std::env::var_os("CI").is_none(), "LAKER_TEST_S3 must be set in CI");
        eprintln!("skipped: LAKER_TEST_S3 is not set");
        return None;
    };
    let settings: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    let variables = [
        ("AWS_ENDPOINT_URL", "endpoint"),
        ("AWS_ACCESS_KEY_ID", "access_key_id"),
        ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
        ("AWS_REGION", "region"),
    ];
    let variables = variables.map(|(name, key)| (name.to_owned(), settings[key].clone()));
    Some((settings["bucket"].clone(), variables.into_iter().collect()))
}

/// A lake in a bucket, under a prefix of its own.
pub fn bucket() -> Option<Lake> {
    let (bucket, variables) = s3_environment()?;
    let prefix = event::Clock::system().new_id();
    Some(Lake::open(&format!("s3://{bucket}/test/{prefix}"), &variables).unwrap())
}
