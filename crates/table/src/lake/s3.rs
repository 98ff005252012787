//! A bucket, from the standard `AWS_*` variables.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use event::limits;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::Lake;
use super::credentials::CredentialsFile;
use crate::TableError;

/// Variables that say who we are. With none of them, only a machine's role is left.
const IDENTITIES: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

pub(super) fn open(url: &str, environment: &BTreeMap<String, String>) -> Result<Lake, TableError> {
    let refused = |reason: String| TableError::Settings { place: url.to_owned(), reason };
    let (bucket, prefix) = split(url).ok_or_else(|| refused("write s3://<bucket>/<prefix>".to_owned()))?;
    let prefix = Path::parse(prefix).map_err(|e| refused(format!("the prefix cannot be used: {e}")))?;
    let variables = variables(environment);
    check(&variables).map_err(refused)?;
    let mut builder = builder(bucket, &variables);
    if let Some(file) = credentials_file(&variables, environment) {
        file.read().map_err(|e| refused(e.to_string()))?;
        builder = builder.with_credentials(Arc::new(file));
    }
    let store = builder.build().map_err(|e| refused(e.to_string()))?;
    Ok(Lake::on(Arc::new(store), prefix, url))
}

fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    (!bucket.is_empty()).then_some((bucket, prefix.trim_end_matches('/')))
}

/// The `AWS_*` variables that say something: an empty one counts as absent, as everywhere.
fn variables(environment: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let set = environment.iter().filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty());
    set.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The file that holds our keys, where variables name one and give no identity themselves.
fn credentials_file(
    variables: &BTreeMap<&str, &str>,
    environment: &BTreeMap<String, String>,
) -> Option<CredentialsFile> {
    if IDENTITIES.iter().any(|name| variables.contains_key(name)) {
        return None;
    }
    let (file, profile) = (variables.get("AWS_SHARED_CREDENTIALS_FILE"), variables.get("AWS_PROFILE"));
    if file.is_none() && profile.is_none() {
        return None;
    }
    let usual = || PathBuf::from(environment.get("HOME").map_or("", String::as_str)).join(".aws/credentials");
    Some(CredentialsFile::new(file.map_or_else(usual, PathBuf::from), profile.copied()))
}

fn check(variables: &BTreeMap<&str, &str>) -> Result<(), String> {
    let (uri, token) = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    if variables.contains_key(uri) && !variables.contains_key(token) {
        return Err(format!("{uri} is set but {token} is not; set both"));
    }
    match (variables.contains_key("AWS_ACCESS_KEY_ID"), variables.contains_key("AWS_SECRET_ACCESS_KEY")) {
        (true, false) => {
            Err("AWS_ACCESS_KEY_ID is set but AWS_SECRET_ACCESS_KEY is not; set both".to_owned())
        }
        (false, true) => {
            Err("AWS_SECRET_ACCESS_KEY is set but AWS_ACCESS_KEY_ID is not; set both".to_owned())
        }
        _ => Ok(()),
    }
}

fn builder(bucket: &str, variables: &BTreeMap<&str, &str>) -> AmazonS3Builder {
    let start = AmazonS3Builder::new().with_client_options(client_options(variables)).with_retry(retry());
    let set = |builder: AmazonS3Builder, (name, value): (&&str, &&str)| match name
        .to_ascii_lowercase()
        .parse::<AmazonS3ConfigKey>()
    {
        Ok(AmazonS3ConfigKey::Bucket | AmazonS3ConfigKey::ConditionalPut) | Err(_) => builder,
        Ok(key) => builder.with_config(key, *value),
    };
    let builder = variables.iter().fold(start, set);
    builder.with_bucket_name(bucket).with_conditional_put(S3ConditionalPut::ETagMatch)
}

fn client_options(variables: &BTreeMap<&str, &str>) -> ClientOptions {
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    let plain =
        endpoint.iter().find_map(|name| variables.get(name)).is_some_and(|url| url.starts_with("http://"));
    ClientOptions::new()
        .with_allow_http(plain)
        .with_connect_timeout(limits::CONNECT_DEADLINE / 4)
        .with_timeout(limits::STORE_REQUEST_DEADLINE)
}

/// Few and short: a caller that knows what it asked for retries better than a client that does not.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: limits::RETRY_PAUSE_MIN, ..BackoffConfig::default() },
        max_retries: 2,
        retry_timeout: limits::CONNECT_DEADLINE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    #[test]
    fn a_bucket_and_its_prefix_are_taken_from_the_url() {
        let lake = open("s3://bucket/some/prefix/", &environment(&KEYS)).unwrap();
        assert_eq!(lake.table_path("logs").as_ref(), "some/prefix/logs");
        assert_eq!(lake.table_url("logs"), "s3://bucket/some/prefix/logs");
        assert_eq!(open("s3://bucket", &environment(&KEYS)).unwrap().table_path("logs").as_ref(), "logs");
        open("s3:///prefix", &environment(&KEYS)).unwrap_err();
    }

    #[test]
    fn the_standard_variables_reach_the_client() {
        let values = environment(&[
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
            ("AWS_DEFAULT_REGION", "eu-west-3"),
            ("AWS_ENDPOINT_URL", "http://localhost:9000"),
            ("AWS_BUCKET", "another"),
            ("AWS_ROLE_ARN", ""),
            ("PATH", "/bin"),
        ]);
        let built = builder("bucket", &variables(&values));
        let value = |key| built.get_config_value(&key);
        assert_eq!(value(AmazonS3ConfigKey::AccessKeyId).as_deref(), Some("key"));
        assert_eq!(value(AmazonS3ConfigKey::Token).as_deref(), Some("token"));
        assert_eq!(value(AmazonS3ConfigKey::Region).as_deref(), Some("eu-west-3"));
        assert_eq!(value(AmazonS3ConfigKey::Endpoint).as_deref(), Some("http://localhost:9000"));
        assert_eq!(value(AmazonS3ConfigKey::Bucket).as_deref(), Some("bucket"));
        assert_eq!(value(AmazonS3ConfigKey::RoleArn), None);
        built.build().unwrap();
    }

    #[test]
    fn what_is_not_supported_or_half_given_is_said() {
        for (given, said) in [
            (("AWS_PROFILE", "work"), "credentials file .aws/credentials cannot be read"),
            (
                ("AWS_SHARED_CREDENTIALS_FILE", "/no/such/file"),
                "credentials file /no/such/file cannot be read",
            ),
            (
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x"),
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is not",
            ),
            (("AWS_ACCESS_KEY_ID", "key"), "AWS_SECRET_ACCESS_KEY is not"),
            (("AWS_SECRET_ACCESS_KEY", "secret"), "AWS_ACCESS_KEY_ID is not"),
        ] {
            let refused = open("s3://bucket", &environment(&[given])).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
        let keys_beside_a_profile = [KEYS[0], KEYS[1], ("AWS_PROFILE", "work")];
        open("s3://bucket", &environment(&keys_beside_a_profile)).unwrap();
    }
}
