//! HTTP to a running laker.

use anyhow::{Context, Result, bail};
use event::limits;
use reqwest::{Client, Response};
use serde::Deserialize;

/// The error body of every route.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    pub(super) code: String,
    pub(super) message: String,
}

/// A client that finds out soon when nobody listens.
pub(super) fn client() -> Result<Client> {
    Client::builder()
        .connect_timeout(limits::CONNECT_DEADLINE)
        .user_agent(concat!("laker/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("the HTTP client could not be set up")
}

/// URL of a server: the one that was named, else the one that `listen` names.
pub(super) fn base_url(named: Option<&str>, listen: &str) -> Result<String> {
    let url = named.map_or_else(|| format!("http://{}", reachable(listen)), str::to_owned);
    if !url.starts_with("http://") && !url.starts_with("https://") {
        bail!(crate::settings::SettingsError(format!(
            "{url:?} is no URL of a server; write http://HOST:PORT"
        )));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// An address that is listened on for all of the machine is reached by loopback.
fn reachable(listen: &str) -> String {
    match listen.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => listen.to_owned(),
    }
}

/// Whether nothing listens there at all.
pub(super) fn is_nobody_there(error: &reqwest::Error) -> bool {
    error.is_connect()
}

/// Says of a request without an answer what that means.
pub(super) fn unanswered(url: &str, error: reqwest::Error) -> anyhow::Error {
    let what = if is_nobody_there(&error) {
        format!("no laker runs at {url}; start one with `laker up`, or name another")
    } else {
        format!("the laker at {url} did not answer to the end")
    };
    anyhow::Error::new(error).context(what)
}

/// The message of an error answer, as a sentence.
pub(super) async fn refusal(response: Response) -> String {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    match serde_json::from_str::<ErrorBody>(&text) {
        Ok(body) => format!("{} ({}, {status})", body.message, body.code),
        Err(_) => format!("{status}: {}", text.trim()),
    }
}
