//! `GET /` and `/assets/*`: the page, embedded.
//!
//! Its sources stand in `web/`. The chart library is plotly.js, taken by the build script out of
//! the crate `plotly`, which carries it; it is loaded by the page when the first chart is drawn.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::answer::Refusal;

/// Scripts only from here and none in the page itself; nothing from anywhere else. Inline styles
/// are what the chart library sets sizes and colours with.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    gzip: bool,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! web {
    ($name:literal, $media_type:expr) => {
        Asset {
            name: $name,
            media_type: $media_type,
            bytes: include_bytes!(concat!("../../../web/", $name)),
            gzip: false,
        }
    };
}

const INDEX: Asset = web!("index.html", HTML);

const ASSETS: &[Asset] = &[
    web!("page.css", CSS),
    web!("page.js", SCRIPT),
    web!("api.js", SCRIPT),
    web!("dom.js", SCRIPT),
    web!("format.js", SCRIPT),
    web!("chart.js", SCRIPT),
    web!("numbers.js", SCRIPT),
    web!("events.js", SCRIPT),
    web!("sql.js", SCRIPT),
    web!("icon.svg", "image/svg+xml"),
    Asset {
        name: "plotly.min.js",
        media_type: SCRIPT,
        bytes: include_bytes!(concat!(env!("OUT_DIR"), "/plotly.min.js.gz")),
        gzip: true,
    },
];

/// The page.
pub(crate) async fn index(headers: HeaderMap) -> Response {
    serve(&INDEX, &headers)
}

/// What the page is made of.
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => serve(asset, &headers),
        None => Refusal::new(StatusCode::NOT_FOUND, "unknown_asset", "there is no such file").into_response(),
    }
}

fn serve(asset: &Asset, headers: &HeaderMap) -> Response {
    let etag = etag(asset.bytes);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { body(asset, headers) };
    let fixed = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        // Asked for again each time, answered with 304: a new Laker is seen at once.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::ETAG, HeaderValue::from_str(&etag).expect("hexadecimal digits in quotes are a header")),
    ];
    for (name, value) in fixed {
        // In place of what the body's own type set.
        response.headers_mut().insert(name, value);
    }
    response
}

fn body(asset: &Asset, headers: &HeaderMap) -> Response {
    if !asset.gzip {
        return asset.bytes.into_response();
    }
    if accepts_gzip(headers) {
        return ([(header::CONTENT_ENCODING, "gzip")], asset.bytes).into_response();
    }
    let mut plain = Vec::new();
    match flate2::read::GzDecoder::new(asset.bytes).read_to_end(&mut plain) {
        Ok(_) => plain.into_response(),
        Err(error) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged_asset", error.to_string())
            .into_response(),
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted =
        headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && weight.replace(' ', "") != "q=0"
    })
}

fn etag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_only_to_whom_takes_it() {
        let with = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            accepts_gzip(&headers)
        };
        assert!(with("gzip, deflate, br") && with("br, GZIP;q=0.5"));
        assert!(!with("br") && !with("gzip; q=0") && !accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn the_page_has_no_script_or_handler_of_its_own_and_names_only_what_is_embedded() {
        let html = std::str::from_utf8(INDEX.bytes).unwrap();
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("onclick"));
        for opening in html.split("<script").skip(1) {
            assert!(opening.contains("src=\"/assets/") && opening.contains("></script>"), "{opening}");
        }
        for name in html.split("\"/assets/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(ASSETS.iter().any(|asset| asset.name == name), "{name}");
        }
    }
}
