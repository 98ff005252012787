//! The HTTP port.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use event::{Clock, limits};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// `/livez`, `/readyz`, `/metrics`.
mod health;
/// `/receipts/{receipt}`.
mod receipts;

pub use health::{Health, health_routes};
pub use receipts::{Receipts, no_receipts};

/// A port that is bound and not yet served.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds `listen`.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub async fn bind(listen: &str) -> Result<Self> {
        let bound = TcpListener::bind(listen).await;
        let listener = bound.with_context(|| {
            format!(
                "cannot listen on {listen}; if another laker runs there, choose another address with --listen"
            )
        })?;
        let address = listener.local_addr().context("the bound port has no address")?;
        Ok(Self { listener, address })
    }

    /// The address, with the port that was chosen if the settings say 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `closing`, then finishes the requests that run.
    ///
    /// # Errors
    /// When the port fails.
    pub async fn serve(self, routes: Router, closing: CancellationToken, clock: Clock) -> Result<()> {
        let routes = routes.fallback(no_such_route);
        let serving =
            axum::serve(self.listener, routes).with_graceful_shutdown(closing.clone().cancelled_owned());
        tokio::select! {
            served = serving => served.context("the HTTP port failed"),
            () = overdue(closing, clock) => Ok(()),
        }
    }
}

/// Connections that stay open (a page that follows events) don't hold the process.
async fn overdue(closing: CancellationToken, clock: Clock) {
    closing.cancelled().await;
    clock.sleep(limits::CONNECTIONS_CLOSE_MAX).await;
}

async fn no_such_route() -> Response {
    error(
        StatusCode::NOT_FOUND,
        "no_such_route",
        "there is nothing at this address; events go to POST /events, SQL to POST /sql",
    )
}

/// An error body as every route of Laker has it.
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, axum::Json(serde_json::json!({ "code": code, "message": message }))).into_response()
}
