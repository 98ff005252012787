//! Valid events into the log; the acknowledgement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use event::invariants::{Invariant, uphold};
use event::{Clock, ErrorKind};
use eventlog::{EventLog, LogError, Taken};

use crate::options::{CollectorLimits, StreamRoute};
use crate::receipt::Receipt;
use crate::refusal::Refusal;
use crate::spool_receipt::SpoolReceipt;
use crate::telemetry;

/// One stream at work: its route, and how its topic has been doing.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) route: StreamRoute,
    /// Requests refused by the log since it last took one.
    refused_in_a_row: AtomicU64,
}

impl Stream {
    pub(crate) fn new(route: StreamRoute) -> Self {
        Self { route, refused_in_a_row: AtomicU64::new(0) }
    }

    /// Hands all of `events` to the log, and acknowledges them only when it has said that it has them.
    /// The answer is their receipt.
    pub(crate) async fn append(
        &self,
        log: &Arc<dyn EventLog>,
        events: Vec<Bytes>,
        limits: &CollectorLimits,
        clock: &Clock,
    ) -> Result<String, Refusal> {
        let count = events.len();
        let started = clock.monotonic();
        let appended = clock.timeout(limits.append_deadline, log.take(&self.route.topic, events)).await;
        telemetry::append_took(clock.monotonic().saturating_sub(started));
        match appended {
            Some(Ok(taken)) => Ok(self.acknowledge(count, taken)),
            Some(Err(error)) => Err(self.refuse(&error)),
            None => Err(self.refuse_late(limits)),
        }
    }

    fn acknowledge(&self, count: usize, taken: Taken) -> String {
        let confirmed = match &taken {
            Taken::InLog(placements) => placements.len() as u64,
            Taken::Spooled(spooled) => spooled.range.offset_count(),
        };
        uphold(Invariant::AcknowledgedIsDurable, confirmed == count as u64, || {
            format!("topic {:?} confirmed {confirmed} of {count} events", self.route.topic)
        });
        let refused = self.refused_in_a_row.swap(0, Ordering::Relaxed);
        if refused > 0 {
            tracing::info!(topic = self.route.topic, refused, "event log takes events again");
        }
        telemetry::accepted(&self.route.name, count);
        match taken {
            Taken::InLog(placements) => Receipt::new(self.route.name.clone(), &placements).to_string(),
            Taken::Spooled(spooled) => SpoolReceipt::new(self.route.name.clone(), spooled).to_string(),
        }
    }

    /// Whatever the log's trouble is, the client may send again: even wrong settings get corrected,
    /// and a client that is told to give up throws its events away.
    fn refuse(&self, error: &LogError) -> Refusal {
        if self.first_in_a_row() {
            let topic = &self.route.topic;
            match error.kind() {
                ErrorKind::Unavailable | ErrorKind::Fenced => {
                    tracing::warn!(topic, %error, "event log takes no events; clients are answered 503");
                }
                ErrorKind::Settings | ErrorKind::Data => {
                    tracing::error!(topic, %error, "event log takes no events; clients are answered 503");
                }
            }
        }
        match error {
            LogError::Full { .. } => Refusal::LogFull,
            _ => Refusal::LogUnavailable,
        }
    }

    fn refuse_late(&self, limits: &CollectorLimits) -> Refusal {
        if self.first_in_a_row() {
            let seconds = limits.append_deadline.as_secs();
            tracing::warn!(
                topic = self.route.topic,
                seconds,
                "event log did not answer in time; clients are answered 503"
            );
        }
        Refusal::LogTimeout
    }

    /// An outage is said once, not once for each request.
    fn first_in_a_row(&self) -> bool {
        self.refused_in_a_row.fetch_add(1, Ordering::Relaxed) == 0
    }
}
