//! Headers that say what a body is, and which are taken.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::refusal::Refusal;

/// What the headers say about a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) encoding: Encoding,
    pub(crate) lines: Lines,
}

impl Form {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        Ok(Self { lines: check_content_type(headers)?, encoding: Encoding::of(headers)? })
    }

    pub(crate) fn is_plain(self) -> bool {
        self.encoding == Encoding::Identity
    }
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// Whether the client says that each line is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    Declared,
    Undeclared,
}

impl Encoding {
    /// What `Content-Encoding` says. One encoding at most: each one more is another bomb to defuse.
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Ok(Self::Identity) };
        let text = String::from_utf8_lossy(value.as_bytes());
        match text.trim().to_ascii_lowercase().as_str() {
            _ if values.next().is_some() => Err(unsupported_encoding("several headers")),
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(unsupported_encoding(&text)),
        }
    }
}

fn unsupported_encoding(got: &str) -> Refusal {
    Refusal::UnsupportedEncoding { got: got.chars().take(100).collect() }
}

/// Refuses a content type that cannot be JSON. Which form of JSON it is, the bytes decide: `curl -d`
/// says form-urlencoded, browsers' beacons say text/plain, and many clients say nothing.
fn check_content_type(headers: &HeaderMap) -> Result<Lines, Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Lines::Undeclared) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let essence = text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonl"
        | "application/jsonlines"
        | "application/x-jsonlines"
        | "application/stream+json"
        | "text/x-ndjson"
        | "text/jsonl" => Ok(Lines::Declared),
        "" | "text/plain" | "application/octet-stream" | "application/x-www-form-urlencoded" => {
            Ok(Lines::Undeclared)
        }
        json if json.contains("json") => Ok(Lines::Undeclared),
        _ => Err(Refusal::UnsupportedMediaType { got: text.chars().take(100).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn what_real_clients_call_json_is_taken() {
        for text in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "text/plain;charset=UTF-8",
            "text/json",
            "application/x-www-form-urlencoded",
            "application/octet-stream",
            "application/vnd.api+json",
            "",
        ] {
            assert_eq!(check_content_type(&headers(CONTENT_TYPE, &[text])), Ok(Lines::Undeclared), "{text}");
        }
        assert_eq!(
            check_content_type(&headers(CONTENT_TYPE, &["application/x-ndjson"])),
            Ok(Lines::Declared)
        );
        assert_eq!(check_content_type(&HeaderMap::new()), Ok(Lines::Undeclared));
    }

    #[test]
    fn what_cannot_be_json_is_refused() {
        for text in [
            "multipart/form-data; boundary=x",
            "image/png",
            "application/x-protobuf",
            "application/xml",
            "text/html",
            "text/csv",
            "application/gzip",
            "application/msgpack",
        ] {
            let refusal = check_content_type(&headers(CONTENT_TYPE, &[text])).expect_err(text);
            assert_eq!(refusal.code(), "unsupported_media_type");
        }
    }

    #[test]
    fn several_or_unknown_encodings_are_refused() {
        for values in [
            &["br"][..],
            &["deflate"],
            &["gzip, gzip"],
            &["gzip, zstd"],
            &["gzip", "zstd"],
            &["gzip", "gzip"],
        ] {
            let refusal = Encoding::of(&headers(CONTENT_ENCODING, values)).expect_err(values[0]);
            assert_eq!(refusal.code(), "unsupported_encoding");
        }
    }

    #[test]
    fn encodings_are_named_in_any_case() {
        assert_eq!(Encoding::of(&headers(CONTENT_ENCODING, &[" GZIP "])), Ok(Encoding::Gzip));
        assert_eq!(Encoding::of(&headers(CONTENT_ENCODING, &["Zstd"])), Ok(Encoding::Zstd));
        assert_eq!(Encoding::of(&headers(CONTENT_ENCODING, &["identity"])), Ok(Encoding::Identity));
        assert_eq!(Encoding::of(&HeaderMap::new()), Ok(Encoding::Identity));
    }
}
