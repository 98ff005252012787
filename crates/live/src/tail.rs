//! Follows the end of one stream's log.
//!
//! Reads with [`EventLog::read`], so that it works the same on every log and takes part in no
//! consumer group. It begins at the end, waits between reads that find nothing, and when it cannot
//! keep up it skips to the end and counts what it skipped.

use std::sync::Arc;
use std::time::Duration;

use event::limits::{
    EVENT_BYTES_MAX, FETCH_BYTES_MAX, LIVE_BEHIND_MAX, LIVE_DESCRIBE_PAUSE, LIVE_EVENTS_KEPT,
    LIVE_POLL_PAUSE, LIVE_SHOWN_PER_READ_MAX, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN,
};
use event::{Clock, PartitionId, Positions, Record, TimestampMicros};
use eventlog::{Ahead, EventLog, LogError, TopicDescription};
use tokio_util::sync::CancellationToken;

use crate::action::action;
use crate::sse::event_json;
use crate::stream::{LogState, StreamState, lock};

/// Pause after a read that found something: long enough that the next one is worth its cost.
const BATCHING_PAUSE: Duration = Duration::from_millis(25);

/// The task of one stream.
#[derive(Debug)]
pub(crate) struct Tail {
    state: Arc<StreamState>,
    log: Arc<dyn EventLog>,
    clock: Clock,
    /// When the log's partitions and ends were last asked for, by the monotonic clock.
    described_at: Option<Duration>,
    /// Since when no read has reached the log's end, by the monotonic clock.
    behind_since: Option<Duration>,
    /// Failures in a row.
    failures: u32,
}

impl Tail {
    /// A task that has not begun.
    pub(crate) fn new(state: Arc<StreamState>, log: Arc<dyn EventLog>, clock: Clock) -> Self {
        Self { state, log, clock, described_at: None, behind_since: None, failures: 0 }
    }

    /// Follows until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let _ = shutdown.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&mut self) {
        loop {
            let pause = match self.step().await {
                Ok(pause) => {
                    self.recovered();
                    pause
                }
                Err(error) => self.failed(&error),
            };
            match pause {
                Some(pause) => self.clock.sleep(pause).await,
                // A log that always has more must not keep the thread from others.
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// One read. `Some` is how long to wait before the next.
    async fn step(&mut self) -> Result<Option<Duration>, LogError> {
        self.describe_now_and_then().await?;
        let from = lock(&self.state.status).position.clone();
        let ahead = self.read(&from).await?;
        let records: usize = ahead.partitions.values().map(|(_, records)| records.len()).sum();
        self.take_in(&from, &ahead);
        if !ahead.cut {
            self.behind_since = None;
            let pause = if records == 0 { LIVE_POLL_PAUSE } else { BATCHING_PAUSE };
            return Ok(Some(pause));
        }
        let now = self.clock.monotonic();
        if now - *self.behind_since.get_or_insert(now) > LIVE_BEHIND_MAX {
            self.skip_to_end().await?;
        }
        Ok(None)
    }

    /// Reads one fetch; one record that is larger than a fetch is read alone.
    async fn read(&self, from: &Positions) -> Result<Ahead, LogError> {
        let topic = &self.state.stream.topic;
        let ahead = self.log.read(topic, from, FETCH_BYTES_MAX).await?;
        let moved =
            ahead.partitions.iter().any(|(partition, (range, _))| from.get(*partition) != Some(range.end()));
        if moved || !ahead.cut {
            return Ok(ahead);
        }
        self.log.read(topic, from, FETCH_BYTES_MAX + EVENT_BYTES_MAX).await
    }

    /// Counts what was read and offers it to readers.
    fn take_in(&self, from: &Positions, ahead: &Ahead) {
        self.count(ahead);
        let skipped = self.advance(from, ahead);
        let total: usize = ahead.partitions.values().map(|(_, records)| records.len()).sum();
        let shown_max =
            if self.state.feed.has_readers() { LIVE_SHOWN_PER_READ_MAX } else { LIVE_EVENTS_KEPT };
        let newest = newest(ahead, shown_max);
        let newest = newest.into_iter().map(|(partition, record)| event_json(partition, &record)).collect();
        if total as u64 + skipped > 0 {
            self.state.feed.push(newest, total as u64 + skipped);
        }
    }

    fn count(&self, ahead: &Ahead) {
        let now = self.clock.now();
        let field = &self.state.stream.action_field;
        for (_, records) in ahead.partitions.values() {
            // Parsed before the lock is taken, so that no handler waits for it.
            let actions: Vec<_> =
                records.iter().map(|record| action(record.payload.unwrap_or_default(), field)).collect();
            let mut counts = lock(&self.state.counts);
            for (record, action) in records.iter().zip(actions) {
                counts.add(record.received_at, now, record.payload.map_or(0, <[u8]>::len), action);
            }
        }
    }

    /// Moves the position on; returns how many offsets the log had dropped before they were read.
    fn advance(&self, from: &Positions, ahead: &Ahead) -> u64 {
        let mut status = lock(&self.state.status);
        let mut skipped = 0;
        for (partition, (range, records)) in &ahead.partitions {
            let expected = from.get(*partition).unwrap_or(range.start());
            skipped += range.start().0.saturating_sub(expected.0);
            status.position.set(*partition, range.end());
            status.events_total += records.len() as u64;
        }
        status.skipped_total += skipped;
        skipped
    }

    /// Asks for partitions and ends when it was not done for a while.
    async fn describe_now_and_then(&mut self) -> Result<(), LogError> {
        let now = self.clock.monotonic();
        if self.described_at.is_some_and(|at| now - at < LIVE_DESCRIBE_PAUSE) {
            return Ok(());
        }
        let described = self.log.describe(&self.state.stream.topic).await?;
        self.described_at = Some(now);
        self.adopt(described);
        Ok(())
    }

    /// Takes over partitions and ends: at the start and for a topic made anew from its end, for a
    /// partition that was added from its first offset, because all of it is new.
    fn adopt(&self, described: TopicDescription) {
        let mut status = lock(&self.state.status);
        let ends: Positions =
            described.partitions.iter().map(|(partition, range)| (*partition, range.end())).collect();
        if status.id.as_ref() != Some(&described.id) {
            status.id = Some(described.id);
            status.position = ends.clone();
        }
        for (partition, range) in described.partitions {
            if status.position.get(partition).is_none() {
                status.position.set(partition, range.start());
            }
        }
        status.end = ends;
    }

    /// Gives up reaching the end by reading.
    async fn skip_to_end(&mut self) -> Result<(), LogError> {
        let described = self.log.describe(&self.state.stream.topic).await?;
        let mut status = lock(&self.state.status);
        let mut skipped = 0;
        for (partition, range) in described.partitions {
            let position = status.position.get(partition).unwrap_or(range.start());
            skipped += range.end().0.saturating_sub(position.0);
            status.position.set(partition, range.end());
            status.end.set(partition, range.end());
        }
        status.skipped_total += skipped;
        drop(status);
        self.behind_since = None;
        self.state.feed.push(Vec::new(), skipped);
        metrics::counter!("laker_live_skipped_events_total").increment(skipped);
        tracing::warn!(
            stream = %self.state.stream.name, skipped,
            "the live page could not keep up with the log and skipped to its end; nothing else is affected"
        );
        Ok(())
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!(stream = %self.state.stream.name, "the live page reads the log again");
        }
        lock(&self.state.status).log = LogState::Following;
    }

    fn failed(&mut self, error: &LogError) -> Option<Duration> {
        if self.failures == 0 {
            tracing::warn!(stream = %self.state.stream.name, %error, "the live page cannot read the log; trying again");
        }
        let pause = RETRY_PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.described_at = None;
        let mut status = lock(&self.state.status);
        status.log = LogState::Unavailable { reason: error.to_string() };
        if matches!(error, LogError::OffsetOutOfRange { .. }) {
            // The log was cut behind our back: begin at its end, as with a new one.
            status.id = None;
        }
        Some(pause)
    }
}

/// The newest `count_max` records of all partitions, oldest first. Partitions are merged by time;
/// records of one partition stay in the order of their offsets even where their times do not.
fn newest(ahead: &Ahead, count_max: usize) -> Vec<(PartitionId, Record<'_>)> {
    let mut newest = Vec::new();
    for (partition, (_, records)) in &ahead.partitions {
        let mut latest = TimestampMicros(i64::MIN);
        for record in records.iter().skip(records.len().saturating_sub(count_max)) {
            latest = latest.max(record.received_at);
            newest.push((latest, *partition, record));
        }
    }
    newest.sort_by_key(|(latest, ..)| *latest);
    let surplus = newest.len().saturating_sub(count_max);
    newest.into_iter().skip(surplus).map(|(_, partition, record)| (partition, record)).collect()
}
