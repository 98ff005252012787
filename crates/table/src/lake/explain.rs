//! What the store's errors mean to a person.
//!
//! `object_store` maps most answers of a listing to one generic error, so S3's own error codes,
//! which it carries in the text, are looked at first.

use object_store::Error;
use object_store::path::Path;

use crate::TableError;

/// S3 error codes with what to do. Order matters: the first that is found counts.
const CODES: [(&str, Kind, &str); 13] = [
    ("NoSuchBucket", Kind::Settings, "the bucket does not exist; make it, or correct the lake's URL"),
    ("InvalidBucketName", Kind::Settings, "the bucket's name is not allowed; correct the lake's URL"),
    // versitygw's word for the next one.
    ("XAdminUserNotFound", Kind::Settings, "the access key is not known; correct AWS_ACCESS_KEY_ID"),
    ("InvalidAccessKeyId", Kind::Settings, "the access key is not known; correct AWS_ACCESS_KEY_ID"),
    ("SignatureDoesNotMatch", Kind::Settings, "the secret key is wrong; correct AWS_SECRET_ACCESS_KEY"),
    ("AuthorizationHeaderMalformed", Kind::Settings, "the region is wrong; correct AWS_REGION"),
    (
        "PermanentRedirect",
        Kind::Settings,
        "the bucket is in another region; correct AWS_REGION or AWS_ENDPOINT_URL",
    ),
    ("incorrectly configured region", Kind::Settings, "the bucket is in another region; correct AWS_REGION"),
    ("ExpiredToken", Kind::Unavailable, "the session has expired; renew AWS_SESSION_TOKEN and its keys"),
    ("RequestTimeTooSkewed", Kind::Unavailable, "this machine's clock is wrong; correct it (NTP)"),
    (
        "AccessDenied",
        Kind::Settings,
        "access is denied; give these keys the right to list, read, write and delete under the lake's prefix",
    ),
    ("SlowDown", Kind::Unavailable, "the store asks for fewer requests; it will be tried again"),
    (
        "169.254.169.254",
        Kind::Settings,
        "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a web identity, or run where the machine has a role)",
    ),
];

#[derive(Clone, Copy)]
enum Kind {
    Settings,
    Unavailable,
}

pub(super) fn explain(url: &str, path: &Path, error: &Error) -> TableError {
    let place = format!("{url} ({path})");
    let text = chain(error);
    let known = CODES.iter().find(|(code, _, _)| text.contains(code));
    let (kind, advice) = known.map_or_else(|| by_variant(error, &text), |(_, kind, advice)| (*kind, *advice));
    let reason = format!("{advice} ({text})");
    match kind {
        Kind::Settings => TableError::Settings { place, reason },
        Kind::Unavailable => TableError::Unavailable { place, reason },
    }
}

fn by_variant(error: &Error, text: &str) -> (Kind, &'static str) {
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            (Kind::Settings, "access is denied; correct the keys or rights of the lake")
        }
        Error::NotFound { .. } => (Kind::Unavailable, "an object that should be there is missing"),
        _ if text.contains("error trying to connect")
            || text.contains("Connect")
            || text.contains("dns error") =>
        {
            (
                Kind::Unavailable,
                "cannot connect; check AWS_ENDPOINT_URL, the network and that the server runs",
            )
        }
        _ => (Kind::Unavailable, "it failed in a way that may pass; it is safe to try again"),
    }
}

/// The error and all its causes in one line, without repeating what a cause's parent already said.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
