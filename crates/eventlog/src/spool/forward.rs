//! The way from the disk into the log.
//!
//! Whatever goes wrong, there is one way on: let go of the forwarder, take a new one, which shuts the
//! old one out, and go on at the position the log has.

use std::sync::Arc;
use std::time::Duration;

use event::invariants::{Invariant, uphold};
use event::{ErrorKind, Offset, OffsetRange, Positions, Records, limits};

use super::lane::Lane;
use super::resume::{Doubt, resume_at};
use super::{Forwarder, PARTITION, telemetry};
use crate::{EventLog as _, LogError};

/// Requests may stand at the door meanwhile.
const PIECE_DEADLINE: Duration = limits::SPOOL_FORWARD_DEADLINE.saturating_mul(2);
const _: () = assert!(PIECE_DEADLINE.as_millis() < limits::APPEND_DEADLINE.as_millis());

/// Forwards what comes onto the disk, for ever.
pub(super) async fn run(lane: Arc<Lane>) {
    let mut pause = limits::RETRY_PAUSE_MIN;
    loop {
        lane.woken().await;
        let before = lane.status().waiting_events;
        match drain(&lane).await {
            Ok(()) => pause = limits::RETRY_PAUSE_MIN,
            Err(error) => {
                tell(&lane, &error);
                let moved = lane.status().waiting_events < before;
                pause = next_pause(&lane, pause, moved).await;
            }
        }
    }
}

/// Waits, and answers how long to wait the next time.
async fn next_pause(lane: &Lane, pause: Duration, moved: bool) -> Duration {
    let clock = &lane.spool.clock;
    let jitter = clock.random_below(u64::try_from(pause.as_millis()).unwrap_or(0) / 2);
    clock.sleep(pause + Duration::from_millis(jitter)).await;
    if moved { limits::RETRY_PAUSE_MIN } else { (pause * 2).min(limits::RETRY_PAUSE_MAX) }
}

fn tell(lane: &Lane, error: &LogError) {
    telemetry::failed(&lane.topic);
    let (topic, first) = (&lane.topic, lane.note_trouble(error));
    match error.kind() {
        _ if !first => tracing::debug!(topic, %error, "forwarding from the spool failed again"),
        ErrorKind::Unavailable | ErrorKind::Fenced => {
            tracing::warn!(topic, %error, "forwarding from the spool failed; trying again");
        }
        ErrorKind::Settings | ErrorKind::Data => {
            tracing::error!(topic, %error, "the spool cannot be forwarded; its events stay until a person has looked");
        }
    }
}

/// Forwards everything, until the topic's events go into the log directly again.
async fn drain(lane: &Lane) -> Result<(), LogError> {
    let mut forwarder = lane.primary.forwarder(lane.spool.log.folder_id(), &lane.topic).await?;
    let mut next = begin(lane, &mut *forwarder).await?;
    if lane.clear_trouble() {
        tracing::info!(
            topic = lane.topic,
            events = lane.status().waiting_events,
            "forwarding from the spool"
        );
    }
    let mut freed = next;
    loop {
        let piece = read(lane, next).await?;
        if piece.is_last {
            // Little enough to go over while nobody adds to it.
            let closed = lane.close_door().await;
            let piece = read(lane, next).await?;
            next = forward(lane, &mut *forwarder, &piece).await?;
            if piece.is_last {
                tidy(lane, next).await?;
                lane.set_direct(&closed);
                tracing::info!(topic = lane.topic, "the spool is empty; events go into the log directly");
                return Ok(());
            }
        } else {
            next = forward(lane, &mut *forwarder, &piece).await?;
        }
        freed = free(lane, freed, next).await?;
    }
}

/// Makes the log and the disk agree on where forwarding begins.
async fn begin(lane: &Lane, forwarder: &mut dyn Forwarder) -> Result<Offset, LogError> {
    let held = lane.spool.held(&lane.topic).await?;
    let (committed, begun) = (forwarder.position(), lane.mark.is_set()?);
    let next = resume_at(held, committed, begun).map_err(|doubt| in_doubt(lane, doubt))?;
    if committed != Some(next) {
        forwarder.forward(&Records::default(), next).await?;
    }
    // Only now: it says that the log has a position.
    lane.mark.set()?;
    lane.note_forwarded(next);
    Ok(next)
}

fn in_doubt(lane: &Lane, doubt: Doubt) -> LogError {
    let topic = &lane.topic;
    LogError::Damaged {
        place: lane.spool.place(),
        reason: format!("topic {topic:?}: {doubt}; docs/outages.md says how to go on"),
    }
}

/// The next events on disk.
struct Piece {
    range: OffsetRange,
    records: Records,
    /// Whether nothing was behind them.
    is_last: bool,
}

async fn read(lane: &Lane, next: Offset) -> Result<Piece, LogError> {
    let from = Positions::from_iter([(PARTITION, next)]);
    let mut ahead = lane.spool.log.read(&lane.topic, &from, limits::SPOOL_FORWARD_BYTES_MAX).await?;
    let nothing = || (OffsetRange::new(next, next), Records::default());
    let (range, records) = ahead.partitions.remove(&PARTITION).unwrap_or_else(nothing);
    uphold(Invariant::Chain, range.start() == next, || {
        format!(
            "{}: topic {:?} goes on at {} where {next} was asked for",
            lane.spool.place(),
            lane.topic,
            range.start()
        )
    });
    Ok(Piece { range, records, is_last: !ahead.cut })
}

async fn forward(lane: &Lane, forwarder: &mut dyn Forwarder, piece: &Piece) -> Result<Offset, LogError> {
    if !piece.range.is_empty() {
        let forwarding = forwarder.forward(&piece.records, piece.range.end());
        let in_time = lane.spool.clock.timeout(PIECE_DEADLINE, forwarding).await;
        in_time.unwrap_or_else(|| Err(too_slow(lane)))?;
        telemetry::forwarded(&lane.topic, piece.range.offset_count());
        lane.note_forwarded(piece.range.end());
    }
    Ok(piece.range.end())
}

/// What is still under way then is settled by the next forwarder.
fn too_slow(lane: &Lane) -> LogError {
    LogError::Unavailable {
        place: lane.spool.place(),
        reason: format!(
            "the log did not take events of topic {:?} within {} seconds",
            lane.topic,
            PIECE_DEADLINE.as_secs()
        ),
    }
}

/// Gives disk free now and then; each time costs an fsync.
async fn free(lane: &Lane, freed: Offset, next: Offset) -> Result<Offset, LogError> {
    const EVENTS_BETWEEN: u64 = 100_000;
    if next.0 < freed.0 + EVENTS_BETWEEN {
        return Ok(freed);
    }
    give_free(lane, next).await?;
    Ok(next)
}

/// After the last event: the folder holds nothing, and only then it says that no position is needed.
async fn tidy(lane: &Lane, next: Offset) -> Result<(), LogError> {
    give_free(lane, next).await?;
    if lane.spool.held(&lane.topic).await?.is_empty() {
        lane.mark.clear()?;
    }
    Ok(())
}

async fn give_free(lane: &Lane, next: Offset) -> Result<(), LogError> {
    lane.spool.log.landed(&lane.topic, &Positions::from_iter([(PARTITION, next)])).await
}
