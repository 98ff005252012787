//! `GET /live/{stream}/stats`: all numbers of a stream as JSON. `docs/live.md` says what each means.

use event::limits::{LIVE_ACTIONS_MAX, LIVE_WINDOW_SECONDS};
use event::{Positions, TimestampMicros};
use serde::{Deserialize, Serialize};

use crate::StreamProgress;
use crate::counts::Window;
use crate::sse::rfc3339;
use crate::stream::{LogState, Status, StreamState, lock};

/// Seconds that "now" is averaged over.
const RATE_SECONDS: usize = 5;
/// Actions by name when the request does not say how many.
const ACTIONS_DEFAULT: usize = 7;

/// What a request may ask for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StatsQuery {
    /// Actions counted by name, most frequent first, at most [`LIVE_ACTIONS_MAX`].
    actions: Option<usize>,
}

/// All numbers of a stream at one moment.
#[derive(Debug, Serialize)]
pub(crate) struct Stats {
    stream: String,
    topic: String,
    now: String,
    log: Log,
    rate: Rate,
    window: WindowJson,
    /// Offsets not yet landed, over all partitions; null when the table's positions are unknown.
    lag: Option<u64>,
    partitions: Vec<Partition>,
    /// Null when no loader of this process works on the stream.
    table: Option<Table>,
}

#[derive(Debug, Serialize)]
struct Log {
    /// `starting`, `following` or `unavailable`.
    state: &'static str,
    /// Why it is unavailable.
    reason: Option<String>,
    /// Events counted since the server started.
    events_total: u64,
    /// Offsets that were skipped, so they are in no count.
    skipped_total: u64,
}

#[derive(Debug, Serialize)]
struct Rate {
    /// Mean over the last five whole seconds.
    events_per_second: f64,
    /// The same of payload bytes.
    bytes_per_second: f64,
}

#[derive(Debug, Serialize)]
struct WindowJson {
    seconds: usize,
    /// Seconds since 1970 of the first value of every series.
    first_second: i64,
    events: Vec<u64>,
    bytes: Vec<u64>,
    actions: Vec<Action>,
    other: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Action {
    /// Null for events that name none.
    action: Option<String>,
    total: u64,
    events: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: u32,
    /// First offset not yet written, as far as known.
    newest: u64,
    /// First offset not yet in the table.
    landed: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Table {
    version: u64,
    committed_at: Option<String>,
    /// Microseconds since then.
    age_micros: Option<i64>,
    dead_total: u64,
    conflict_total: u64,
    state: String,
}

impl Stats {
    /// The numbers as of `now`.
    pub(crate) fn new(
        state: &StreamState,
        progress: Option<&StreamProgress>,
        query: &StatsQuery,
        now: TimestampMicros,
    ) -> Self {
        let status = lock(&state.status).clone();
        let actions_max = query.actions.unwrap_or(ACTIONS_DEFAULT).min(LIVE_ACTIONS_MAX);
        let window = lock(&state.counts).window(now, actions_max);
        let newest = status.newest();
        Self {
            stream: state.stream.name.as_str().to_owned(),
            topic: state.stream.topic.clone(),
            now: rfc3339(now),
            log: Log::new(&status),
            rate: Rate { events_per_second: mean(&window.events), bytes_per_second: mean(&window.bytes) },
            window: window.into(),
            lag: progress.filter(|_| status.id.is_some()).map(|progress| lag(&newest, &progress.landed)),
            partitions: partitions(&newest, progress),
            table: progress.map(|progress| Table::new(progress, now)),
        }
    }
}

impl Log {
    fn new(status: &Status) -> Self {
        let (state, reason) = match &status.log {
            LogState::Starting => ("starting", None),
            LogState::Following => ("following", None),
            LogState::Unavailable { reason } => ("unavailable", Some(reason.clone())),
        };
        Self { state, reason, events_total: status.events_total, skipped_total: status.skipped_total }
    }
}

impl From<Window> for WindowJson {
    fn from(window: Window) -> Self {
        let actions = window.actions.into_iter().map(|action| Action {
            action: action.action.map(|name| name.to_string()),
            total: action.total,
            events: action.events,
        });
        Self {
            seconds: LIVE_WINDOW_SECONDS,
            first_second: window.first_second,
            events: window.events,
            bytes: window.bytes,
            actions: actions.collect(),
            other: window.other,
        }
    }
}

impl Table {
    fn new(progress: &StreamProgress, now: TimestampMicros) -> Self {
        Self {
            version: progress.table_version,
            committed_at: progress.committed_at.map(rfc3339),
            // A clock that was set back must not make the table younger than new.
            age_micros: progress.committed_at.map(|at| now.0.saturating_sub(at.0).max(0)),
            dead_total: progress.dead_total,
            conflict_total: progress.conflict_total,
            state: progress.state.clone(),
        }
    }
}

/// Mean of the last values. The few numbers of a second are exact in a double.
fn mean(series: &[u64]) -> f64 {
    let last = &series[series.len().saturating_sub(RATE_SECONDS)..];
    last.iter().sum::<u64>() as f64 / last.len().max(1) as f64
}

fn partitions(newest: &Positions, progress: Option<&StreamProgress>) -> Vec<Partition> {
    let landed =
        |partition| progress.and_then(|progress| progress.landed.get(partition)).map(|offset| offset.0);
    let one = |(partition, newest): (event::PartitionId, event::Offset)| Partition {
        partition: partition.0,
        newest: newest.0,
        landed: landed(partition),
    };
    newest.iter().map(one).collect()
}

/// Offsets from the table's position to the log's end. A partition the table has no position of
/// yet has landed nothing: all of it counts.
fn lag(newest: &Positions, landed: &Positions) -> u64 {
    newest
        .iter()
        .map(|(partition, end)| end.0.saturating_sub(landed.get(partition).map_or(0, |next| next.0)))
        .sum()
}

#[cfg(test)]
mod tests {
    use event::{Offset, PartitionId};

    use super::*;

    fn positions(offsets: &[(u32, u64)]) -> Positions {
        offsets.iter().map(|(partition, offset)| (PartitionId(*partition), Offset(*offset))).collect()
    }

    #[test]
    fn lag_is_summed_over_partitions_and_never_negative() {
        assert_eq!(lag(&positions(&[(0, 10), (1, 5)]), &positions(&[(0, 7), (1, 5)])), 3);
        assert_eq!(lag(&positions(&[(0, 10), (1, 5)]), &positions(&[(0, 12)])), 5);
    }

    #[test]
    fn the_rate_is_the_mean_of_the_last_five_seconds() {
        assert!((mean(&[100, 1, 2, 3, 4, 5]) - 3.0).abs() < 1e-9);
        assert!((mean(&[]) - 0.0).abs() < 1e-9);
    }
}
