//! Signals that ask a process to end.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for Ctrl-C and SIGTERM.
pub(super) struct Asked {
    interrupt: Signal,
    terminate: Signal,
}

/// Begins to listen; from now on a signal no longer kills the process.
pub(super) fn listen() -> Result<Asked> {
    let interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(Asked { interrupt, terminate })
}

impl Asked {
    /// Completes with the next signal.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
