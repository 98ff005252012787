//! Pauses between attempts: few, and each twice as long.

use std::time::Duration;

use event::{Clock, limits};

use crate::TableError;

/// Counts the attempts of one request.
#[derive(Debug)]
pub struct Pauses {
    attempts: usize,
    pause: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { attempts: 1, pause: limits::RETRY_PAUSE_MIN }
    }
}

impl Pauses {
    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The given one, when there were [`limits::STORE_ATTEMPTS_MAX`], or when waiting does not help.
    pub async fn wait_or(
        &mut self,
        clock: &Clock,
        error: impl FnOnce() -> TableError,
    ) -> Result<(), TableError> {
        let error = error();
        if self.attempts >= limits::STORE_ATTEMPTS_MAX || !error.kind().is_retryable() {
            return Err(error);
        }
        self.attempts += 1;
        clock.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(limits::RETRY_PAUSE_MAX);
        Ok(())
    }
}
