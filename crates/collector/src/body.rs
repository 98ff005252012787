//! The body's bytes off the wire, within limits of size and time.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use event::{Clock, limits};
use futures::StreamExt;

use crate::admission::Held;
use crate::refusal::Refusal;
use crate::telemetry;

/// A body that is still arriving.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: BodyDataStream,
    clock: Clock,
    idle_deadline: Duration,
    /// The client holds the body back until we ask for it (`Expect: 100-continue`).
    held_back: bool,
    ended: bool,
}

impl Incoming {
    pub(crate) fn new(body: Body, clock: Clock, idle_deadline: Duration, held_back: bool) -> Self {
        Self { stream: body.into_data_stream(), clock, idle_deadline, held_back, ended: false }
    }

    /// The whole body. `declared` is its `Content-Length`, where it has one.
    pub(crate) async fn read(
        &mut self,
        declared: Option<u64>,
        bytes_max: usize,
        held: &mut Held,
    ) -> Result<Bytes, Refusal> {
        let too_large = Refusal::TooLarge { bytes_max, when: "" };
        if declared.is_some_and(|bytes| bytes > bytes_max as u64) {
            return Err(too_large);
        }
        let Some(first) = self.next(held).await? else { return Ok(Bytes::new()) };
        let Some(second) = self.next(held).await? else {
            return if first.len() > bytes_max { Err(too_large) } else { Ok(first) };
        };
        let mut whole = BytesMut::from(first);
        whole.reserve(declared.map_or(0, |bytes| bytes as usize).saturating_sub(whole.len()));
        whole.extend_from_slice(&second);
        while whole.len() <= bytes_max {
            let Some(piece) = self.next(held).await? else { return Ok(whole.freeze()) };
            whole.extend_from_slice(&piece);
        }
        Err(too_large)
    }

    async fn next(&mut self, held: &mut Held) -> Result<Option<Bytes>, Refusal> {
        self.held_back = false;
        let piece = self.clock.timeout(self.idle_deadline, self.stream.next()).await;
        self.ended = !matches!(piece, Some(Some(Ok(_))));
        match piece.ok_or(Refusal::BodyTimeout { seconds: self.idle_deadline.as_secs() })? {
            None => Ok(None),
            Some(Err(error)) => Err(Refusal::IncompleteBody { reason: error.to_string() }),
            Some(Ok(piece)) => {
                telemetry::body_arrived(piece.len());
                held.grow(piece.len())?;
                Ok(Some(piece))
            }
        }
    }

    /// Reads the rest away: a client that is still sending when the connection closes sees a reset,
    /// not the answer. Within limits of bytes and time, beyond which it is reset all the same.
    pub(crate) async fn discard(mut self) {
        if self.held_back || self.ended {
            return;
        }
        let stream = &mut self.stream;
        let rest = async {
            let mut bytes_left = limits::BODY_DISCARDED_BYTES_MAX;
            while let Some(Ok(piece)) = stream.next().await {
                bytes_left = bytes_left.saturating_sub(piece.len());
                if bytes_left == 0 {
                    return;
                }
            }
        };
        let _ = self.clock.timeout(limits::BODY_DISCARD_DEADLINE, rest).await;
    }
}
