//! What runs in a role, and how it ends.
//!
//! Ending takes the order of an event's way: the collector stops taking, the log is asked how far
//! it got, the loaders land that, and the HTTP port closes last, so that health can be asked until
//! the end.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use collector::{Collector, CollectorLimits, CollectorOptions, StreamRoute};
use event::{Clock, limits};
use eventlog::{EventLog, SpooledLog};
use live::{Live, LiveOptions, LiveStream};
use metrics_exporter_prometheus::PrometheusHandle;
use query::QueryEngine;
use table::Lake;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::parts;
use crate::server::{self, Health, Receipts, Server};
use crate::settings::{Origin, Settings};

/// Signals that ask a process to end.
mod signal;
/// The loaders of all streams, steered together.
mod loaders;
/// Loaders' progress, as the live page takes it.
mod progress;

pub(crate) use loaders::Watched;
use loaders::{Loaders, Waiting};

/// What a process does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Roles {
    /// Takes events over HTTP.
    pub collect: bool,
    /// Moves them to the table.
    pub load: bool,
    /// Answers SQL and shows the page.
    pub serve: bool,
    /// Ends once what was in the log at the start has landed.
    pub until_caught_up: bool,
}

/// Runs the roles until asked to end, or until one fails for good.
///
/// # Errors
/// What failed. Everything acknowledged is in the log, everything committed in the table.
pub async fn run(settings: Settings, roles: Roles, metrics: PrometheusHandle) -> Result<()> {
    let clock = Clock::system();
    let mut asked = signal::listen()?;
    let server =
        if wants_port(&settings, roles) { Some(Server::bind(&settings.listen).await?) } else { None };
    let parts = tokio::select! {
        parts = Parts::open(&settings, roles, &clock) => parts?,
        () = asked.next() => return Ok(()),
    };
    let process = Process::start(settings, roles, clock, parts, server, metrics)?;
    process.until_end(asked).await
}

/// Several loaders fit on one machine as long as none of them insists on a port.
fn wants_port(settings: &Settings, roles: Roles) -> bool {
    roles.collect || roles.serve || settings.listen_origin != Origin::Default
}

/// Log and lake, reached and tried.
struct Parts {
    log: Arc<dyn EventLog>,
    /// In front of the log, for the collector alone.
    spool: Option<Arc<SpooledLog>>,
    lake: Option<Lake>,
}

impl Parts {
    async fn open(settings: &Settings, roles: Roles, clock: &Clock) -> Result<Self> {
        let lake =
            if roles.load || roles.serve { Some(parts::open_lake(settings, clock).await?) } else { None };
        let spooled = if roles.collect { parts::open_spooled_log(settings, clock).await? } else { None };
        let (log, spool) = match spooled {
            Some((log, spool)) => (log, Some(spool)),
            None => (parts::open_log(settings, clock).await?, None),
        };
        Ok(Self { log, spool, lake })
    }
}

/// A running process.
struct Process {
    settings: Settings,
    roles: Roles,
    clock: Clock,
    log: Arc<dyn EventLog>,
    health: Arc<Health>,
    collector: Option<Arc<Collector>>,
    loaders: Loaders,
    serving: Option<JoinHandle<Result<()>>>,
    closing: CancellationToken,
}

impl Process {
    fn start(
        settings: Settings,
        roles: Roles,
        clock: Clock,
        parts: Parts,
        server: Option<Server>,
        metrics: PrometheusHandle,
    ) -> Result<Self> {
        let Parts { log, spool, lake } = parts;
        let waiting = Waiting {
            // A log that is away is no reason to end where a spool takes its place.
            for_the_log: spool.is_some(),
            // Whoever can be asked how it is goes on when a loader can't.
            for_a_person: server.is_some() && !roles.until_caught_up,
        };
        let loaders = match &lake {
            Some(lake) if roles.load => Loaders::start(&settings, &log, lake, waiting, &clock),
            _ => Loaders::none(),
        };
        let collects_into = spool.clone().map_or_else(|| Arc::clone(&log), |spool| spool as _);
        let collector = roles.collect.then(|| start_collector(&settings, &collects_into, &clock));
        let health = Health::new(Arc::clone(&log), &settings, loaders.watched(), clock.clone());
        let health = Arc::new(health.with_spool(spool));
        let closing = CancellationToken::new();
        let mut routes = server::health_routes(&health, metrics);
        if let Some(collector) = &collector {
            routes = routes.merge(collector.router());
        }
        if let (Some(lake), true) = (&lake, roles.serve) {
            let engine = Arc::new(parts::query_engine(&settings, lake, Some(&log), &clock)?);
            routes = routes.merge(Receipts::new(&settings, lake, &log, &engine, &clock).router());
            routes = routes.merge(start_live(&settings, engine, &log, loaders.watched(), &closing, &clock));
        } else if roles.collect {
            routes = routes.merge(server::no_receipts());
        }
        let serving = server.map(|server| {
            announce(&settings, roles, &server);
            tokio::spawn(server.serve(routes, closing.clone(), clock.clone()))
        });
        Ok(Self { settings, roles, clock, log, health, collector, loaders, serving, closing })
    }

    async fn until_end(mut self, mut asked: signal::Asked) -> Result<()> {
        if self.roles.until_caught_up {
            self.loaders.finish(&self.settings, &self.log).await;
        }
        let (asked_first, ended) = tokio::select! {
            () = asked.next() => (true, Ok(())),
            ended = self.loaders.one_ended() => (false, ended),
        };
        if asked_first {
            tracing::info!("asked to end; landing what is there");
        }
        let land_all = asked_first && self.roles.collect;
        let drained = tokio::select! {
            drained = self.drain(land_all) => drained,
            () = asked.next() => bail!("ended at once on a second signal; what has not landed is still in the log"),
        };
        ended.and(drained)
    }

    /// Ends everything within the grace period.
    async fn drain(&mut self, land_all: bool) -> Result<()> {
        let clock = self.clock.clone();
        match clock.timeout(limits::SHUTDOWN_GRACE, self.drain_in_order(land_all)).await {
            Some(drained) => drained,
            None => {
                tracing::warn!(
                    "the grace period is over; what has not landed is in the log and lands after the next start"
                );
                Ok(())
            }
        }
    }

    async fn drain_in_order(&mut self, land_all: bool) -> Result<()> {
        self.health.set_ending();
        if let Some(collector) = &self.collector {
            collector.stop_accepting();
            collector.drained().await;
        }
        if land_all {
            self.loaders.finish(&self.settings, &self.log).await;
        } else if !self.roles.until_caught_up {
            self.loaders.stop();
        }
        let landed = self.loaders.all_ended().await;
        self.closing.cancel();
        if let Some(serving) = self.serving.take() {
            serving.await.context("the HTTP port's task failed")??;
        }
        landed
    }
}

fn start_collector(settings: &Settings, log: &Arc<dyn EventLog>, clock: &Clock) -> Arc<Collector> {
    let routes = settings.streams.iter().map(|stream| StreamRoute {
        topic: stream.topic.clone(),
        event_bytes_max: stream.decode.event_bytes_max,
        depth_max: limits::EVENT_DEPTH_MAX,
        name: stream.name.clone(),
    });
    let options = CollectorOptions {
        streams: routes.collect(),
        default_stream: settings.default_stream().clone(),
        limits: CollectorLimits::default(),
    };
    Collector::new(options, Arc::clone(log), clock.clone())
}

fn start_live(
    settings: &Settings,
    engine: Arc<QueryEngine>,
    log: &Arc<dyn EventLog>,
    watched: Watched,
    closing: &CancellationToken,
    clock: &Clock,
) -> axum::Router {
    let streams = settings
        .streams
        .iter()
        .map(|stream| LiveStream { topic: stream.topic.clone(), ..LiveStream::new(stream.name.clone()) });
    let options = LiveOptions { streams: streams.collect() };
    let live = Live::new(
        options,
        Arc::clone(log),
        progress::watch(watched),
        Some(live::run_sql(engine)),
        clock.clone(),
    );
    tokio::spawn(Arc::clone(&live).run(closing.clone()));
    live.router()
}

/// Prints what runs, where the data is, and what to type next.
#[expect(clippy::print_stdout, reason = "the command's own words, not a log line")]
fn announce(settings: &Settings, roles: Roles, server: &Server) {
    print!("{}", crate::commands::banner(settings, roles, server.address()));
}
