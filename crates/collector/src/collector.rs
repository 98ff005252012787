//! A request's way through the stages, and the collector that all requests share.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::Bytes;
use event::Clock;
use eventlog::EventLog;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Held};
use crate::append::Stream;
use crate::body::Incoming;
use crate::media::Form;
use crate::options::{CollectorLimits, CollectorOptions, StreamRoute};
use crate::refusal::Refusal;
use crate::route;
use crate::split::split;
use crate::telemetry;
use crate::unpack::unpack;
use crate::verdict::{Checked, EVENT_OVERHEAD_BYTES, Rejection, check};

/// A plain body up to this size is checked where it was read: handing it to another thread would
/// cost more than the checking holds up others.
const INLINE_BODY_BYTES_MAX: usize = 128 * 1024;

/// Characters of an unknown stream's name that are looked at. A name that is longer is nobody's.
const STREAM_NAME_SHOWN_MAX: usize = 100;

/// Takes events over HTTP into the event log, and answers 200 only for what the log has.
#[derive(Debug)]
pub struct Collector {
    streams: BTreeMap<String, Arc<Stream>>,
    default_stream: Arc<Stream>,
    pub(crate) limits: CollectorLimits,
    log: Arc<dyn EventLog>,
    pub(crate) clock: Clock,
    admission: Admission,
    /// Turns at decompressing and checking large bodies: no more at a time than there are cores.
    turns: Semaphore,
    /// Every request under way; closed once the collector stops accepting.
    requests: TaskTracker,
    /// Cancelled once the collector stops accepting.
    stopped: CancellationToken,
}

/// What was taken of a request, at least one event.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) accepted: usize,
    pub(crate) rejected: Vec<Rejection>,
    /// A [`crate::Receipt`], or a [`crate::SpoolReceipt`].
    pub(crate) receipt: String,
}

impl Collector {
    /// A collector of `options.streams` into `log`.
    ///
    /// # Panics
    /// When the default stream is not among the streams, or when the bytes in flight would not hold
    /// one request of the largest size, which could then never succeed.
    #[must_use]
    pub fn new(options: CollectorOptions, log: Arc<dyn EventLog>, clock: Clock) -> Arc<Self> {
        let CollectorOptions { streams, default_stream, limits } = options;
        assert!(
            limits.request_bytes_max() <= limits.in_flight_bytes_max,
            "{} bytes in flight do not hold one request of {} bytes",
            limits.in_flight_bytes_max,
            limits.request_bytes_max()
        );
        let streams: BTreeMap<_, _> = streams
            .into_iter()
            .map(|route| (route.name.as_str().to_owned(), Arc::new(Stream::new(route))))
            .collect();
        let default_stream = streams
            .get(default_stream.as_str())
            .map_or_else(|| panic!("default stream {default_stream} is not configured"), Arc::clone);
        telemetry::describe();
        Arc::new(Self {
            streams,
            default_stream,
            admission: Admission::new(limits.in_flight_bytes_max),
            limits,
            log,
            clock,
            turns: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            requests: TaskTracker::new(),
            stopped: CancellationToken::new(),
        })
    }

    /// `POST /events` and `POST /events/{stream}`.
    pub fn router(self: &Arc<Self>) -> Router {
        route::router(Arc::clone(self))
    }

    /// Whether requests are taken: true until [`Collector::stop_accepting`].
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        !self.requests.is_closed()
    }

    /// From now on requests are answered 503 with `Retry-After` and `Connection: close`. Those under
    /// way finish; only a body that goes on arriving past `body_finish_deadline` is refused as well.
    pub fn stop_accepting(&self) {
        self.requests.close();
        self.stopped.cancel();
    }

    /// Resolves when, after [`Collector::stop_accepting`], it is decided for every request what it is
    /// answered, and no append is under way. The server's own graceful shutdown then writes the answers.
    pub async fn drained(&self) {
        self.requests.wait().await;
    }

    /// One request, to its end.
    pub(crate) async fn take(
        self: Arc<Self>,
        stream: Option<String>,
        request: Request,
    ) -> Result<Accepted, Refusal> {
        let (parts, body) = request.into_parts();
        let held_back = parts.headers.contains_key(EXPECT);
        let mut incoming = Incoming::new(body, self.clock.clone(), self.limits.body_idle_deadline, held_back);
        let outcome = self.take_while_accepting(stream.as_deref(), &parts.headers, &mut incoming).await;
        if outcome.is_err() {
            incoming.discard().await;
        }
        outcome
    }

    async fn take_while_accepting(
        &self,
        stream: Option<&str>,
        headers: &HeaderMap,
        incoming: &mut Incoming,
    ) -> Result<Accepted, Refusal> {
        // First counted, then asked: a drain that does not see this request is seen by it.
        let _under_way = self.requests.token();
        if !self.is_accepting() {
            return Err(Refusal::ShuttingDown);
        }
        self.take_events(stream, headers, incoming).await
    }

    async fn take_events(
        &self,
        stream: Option<&str>,
        headers: &HeaderMap,
        incoming: &mut Incoming,
    ) -> Result<Accepted, Refusal> {
        let stream = self.stream(stream)?;
        let form = Form::of(headers)?;
        let mut held = self.admission.enter();
        // In this order, so that a body that is there is taken.
        let body = tokio::select! {
            biased;
            body = incoming.read(content_length(headers), self.limits.body_bytes_max, &mut held) => body?,
            () = self.time_to_finish_is_up() => return Err(Refusal::ShuttingDown),
        };
        let (checked, _held) = self.examine(body, form, &stream, held).await?;
        let Checked { valid, rejected } = checked;
        telemetry::rejected(&rejected);
        if valid.is_empty() {
            return Err(Refusal::NothingValid { rejected });
        }
        let accepted = valid.len();
        let receipt = stream.append(&self.log, valid, &self.limits, &self.clock).await?;
        Ok(Accepted { accepted, rejected, receipt })
    }

    /// Nothing of a body is taken before its end, so until then it can be refused.
    async fn time_to_finish_is_up(&self) {
        self.stopped.cancelled().await;
        self.clock.sleep(self.limits.body_finish_deadline).await;
    }

    fn stream(&self, name: Option<&str>) -> Result<Arc<Stream>, Refusal> {
        let Some(name) = name else { return Ok(Arc::clone(&self.default_stream)) };
        self.streams.get(name).map(Arc::clone).ok_or_else(|| self.unknown_stream(name))
    }

    fn unknown_stream(&self, name: &str) -> Refusal {
        let name: String = name.chars().take(STREAM_NAME_SHOWN_MAX).collect();
        let hint = nearest(&name, self.streams.keys());
        Refusal::UnknownStream {
            hint: hint.map_or(String::new(), |near| format!(" (did you mean {near:?}?)")),
            configured: self.streams.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            name,
        }
    }

    /// Checks the body, on a thread of its own when that takes long enough to hold up others.
    async fn examine(
        &self,
        body: Bytes,
        form: Form,
        stream: &Arc<Stream>,
        held: Held,
    ) -> Result<(Checked, Held), Refusal> {
        let inline = form.is_plain() && body.len() <= INLINE_BODY_BYTES_MAX;
        let (stream, limits) = (Arc::clone(stream), self.limits.clone());
        let work = move || examine(body, form, &stream.route, &limits, held);
        if inline {
            return work();
        }
        let _turn = self.turns.acquire().await;
        let outcome = tokio::task::spawn_blocking(work).await;
        outcome.unwrap_or_else(|failure| match failure.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_cancelled) => Err(Refusal::ShuttingDown),
        })
    }
}

fn examine(
    body: Bytes,
    form: Form,
    stream: &StreamRoute,
    limits: &CollectorLimits,
    mut held: Held,
) -> Result<(Checked, Held), Refusal> {
    if body.is_empty() {
        return Err(Refusal::EmptyBody);
    }
    let body = unpack(body, form.encoding, limits.body_decompressed_bytes_max, &mut held)?;
    let ranges = split(&body, form.lines, limits.request_events_max)?;
    held.grow(ranges.len() * EVENT_OVERHEAD_BYTES)?;
    Ok((check(&body, ranges, stream), held))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The name a typing error most likely meant.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let typing_errors_max = 1 + name.len() / 4;
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, _)| *distance <= typing_errors_max)
        .min()
        .map(|(_, known)| known)
}
