//! One run: everything of a seed, from the first event to the last recount.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event::Clock;
use loader::Wish;
use object_store::path::Path;
use table::Table;

use crate::auditor::{Auditor, DEAD, STREAM, Totals};
use crate::clock::runtime;
use crate::executor::{Ended, Executor, WORLD};
use crate::loaders::{GROUP, Machine, Site, catch_up};
use crate::log::LogServer;
use crate::network::Network;
use crate::rows;
use crate::scenario::{Scenario, TableKind};
use crate::store::StoreServer;
use crate::traffic::Doors;

/// Time the loaders have to land everything once nothing fails any more.
const CATCH_UP: Duration = Duration::from_secs(900);

/// What became of a run.
#[derive(Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What it was made of.
    pub scenario: Scenario,
    /// What it came to, or which promise is broken.
    pub outcome: Result<Totals, String>,
    /// How often a task was polled.
    pub poll_count: u64,
    /// A line for each thing that happened, if it was traced.
    pub trace: Vec<String>,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, kind: TableKind, traced: bool) -> Report {
    let executor = Executor::new(seed, traced);
    let scenario = executor.draw(Scenario::draw);
    run_scenario(seed, kind, &executor, scenario)
}

fn run_scenario(seed: u64, kind: TableKind, executor: &Executor, scenario: Scenario) -> Report {
    let _threads = runtime().enter();
    executor.trace(WORLD, || format!("{kind}, seed {seed}: {scenario:?}"));
    let site = site(executor, kind, scenario.clone());
    let auditor = Auditor::new(executor, &site.log, &site.store);
    let ended = executor.run(story(site.clone(), auditor.clone()));
    let outcome = match ended {
        Ended::Failed(what) => Err(what),
        Ended::Done => auditor.finish().and_then(|totals| read_back(&site, &auditor).map(|()| totals)),
    };
    let poll_count = executor.poll_count();
    let trace = executor.take_trace();
    executor.clear();
    site.store.forget_observer();
    Report { seed, scenario, outcome, poll_count, trace }
}

fn site(executor: &Executor, kind: TableKind, scenario: Scenario) -> Site {
    let log = LogServer::new(executor, scenario.holes);
    log.create_topic(STREAM, scenario.partition_count);
    log.create_group(STREAM, GROUP, scenario.eager_group);
    Site {
        executor: executor.clone(),
        kind,
        log,
        log_network: Network::new(executor, scenario.log),
        store: StoreServer::new(executor),
        store_network: Network::new(executor, scenario.store),
        is_calm: Arc::new(AtomicBool::new(false)),
        scenario,
    }
}

async fn story(site: Site, auditor: Auditor) {
    let executor = site.executor.clone();
    let doors = Doors::default();
    let machines = start_machines(&site, &doors);
    let mut traffic = Vec::new();
    for client in 0..site.scenario.client_count {
        let sending = site.clone().send(format!("client-{client}"), Arc::clone(&doors), auditor.clone());
        traffic.push(started(&executor, sending));
    }
    traffic.push(started(&executor, site.clone().produce()));
    traffic.push(started(&executor, trouble(site.clone(), machines.clone())));
    for ended in traffic {
        // An error says that the task is gone, which is as good.
        let _ = ended.await;
    }
    site.is_calm.store(true, Ordering::Relaxed);
    site.log_network.calm();
    site.store_network.calm();
    executor.trace(WORLD, || "calm".to_owned());
    land_everything(&site, &auditor).await;
}

fn start_machines(site: &Site, doors: &Doors) -> Vec<Machine> {
    let mut machines = Vec::new();
    for loader in 0..site.scenario.loader_count {
        let machine = Machine::new(format!("loader-{loader}"));
        site.executor.spawn(WORLD, site.clone().supervise(machine.clone()));
        machines.push(machine);
    }
    for collector in 0..site.scenario.collector_count {
        let machine = Machine::new(format!("collector-{collector}"));
        site.executor.spawn(WORLD, site.clone().collect(machine.clone(), Arc::clone(doors)));
        machines.push(machine);
    }
    machines
}

/// Runs `task` beside the story; the receiver ends with it.
fn started(
    executor: &Executor,
    task: impl Future<Output = ()> + Send + 'static,
) -> tokio::sync::oneshot::Receiver<()> {
    let (done, ended) = tokio::sync::oneshot::channel();
    executor.spawn(WORLD, async move {
        task.await;
        let _ = done.send(());
    });
    ended
}

/// What happens to processes, machines and networks until it is enough.
async fn trouble(site: Site, machines: Vec<Machine>) {
    let executor = &site.executor;
    let pause = u64::try_from(site.scenario.trouble_pause.as_millis()).unwrap_or(0);
    while pause > 0 && executor.now() < site.scenario.calm_after {
        let wait = executor.draw(|chance| chance.within(1..2 * pause));
        executor.sleep(Duration::from_millis(wait)).await;
        let machine = executor.draw(|chance| chance.one_of(&machines).clone());
        make_trouble(&site, &machine);
    }
    executor.sleep(site.scenario.calm_after.saturating_sub(executor.now())).await;
}

fn make_trouble(site: &Site, machine: &Machine) {
    let executor = &site.executor;
    let (kind, number) = executor.draw(|chance| (chance.below(10), chance.bits()));
    let Some(running) = machine.running() else { return };
    let process = running.process;
    match kind {
        0..=2 => executor.kill_after(process, 1 + number % 400),
        3..=4 => {
            let duration = Duration::from_millis(100 + number % 90_000);
            executor.trace(process, || format!("paused for {duration:?}"));
            executor.pause(process, duration);
        }
        5 => {
            // A process that is ending takes no wishes any more.
            let _ = running.wishes.send(Wish::Stop);
        }
        6 => {
            let minutes = i64::try_from(number % 41).unwrap_or(0) - 20;
            executor.trace(process, || format!("its clock jumps by {minutes} minutes"));
            machine.wall.jump(minutes * 60_000_000);
        }
        7 => {
            let duration = Duration::from_millis(number % 60_000);
            executor.trace(WORLD, || format!("the store is down for {duration:?}"));
            site.store_network.take_down(duration);
        }
        8 => {
            let duration = Duration::from_millis(number % 30_000);
            executor.trace(WORLD, || format!("the log is down for {duration:?}"));
            site.log_network.take_down(duration);
        }
        _ => {
            let expel = number.is_multiple_of(3);
            executor.trace(WORLD, || format!("the group rebalances (a member thrown out: {expel})"));
            site.log.disturb_groups(expel);
        }
    }
}

/// I8: when faults stop, everything lands without a person; and whoever asks for that is told.
async fn land_everything(site: &Site, auditor: &Auditor) {
    let executor = &site.executor;
    let deadline = executor.now() + CATCH_UP;
    let is_finished = catch_up(site.clone()).await;
    while auditor.behind().is_some() && executor.now() < deadline && !executor.has_failed() {
        executor.sleep(Duration::from_secs(1)).await;
    }
    if let Some(behind) = auditor.behind() {
        executor.fail(format!("I8 liveness: {CATCH_UP:?} after the last fault {behind}"));
    } else if !is_finished {
        executor.fail(
            "I8 liveness: everything has landed, and a loader that waits for it does not end".to_owned(),
        );
    }
}

/// What a reader sees who never saw the tables before is what the auditor counted.
fn read_back(site: &Site, auditor: &Auditor) -> Result<(), String> {
    // Nothing is simulated here any more, so the tables have the machine's clock.
    let clock = Clock::system();
    let (main, dead) = auditor.places();
    runtime().block_on(async {
        same_places(site, &clock, STREAM, &main).await?;
        same_places(site, &clock, DEAD, &dead).await
    })
}

async fn same_places(
    site: &Site,
    clock: &Clock,
    name: &str,
    counted: &BTreeSet<rows::Place>,
) -> Result<(), String> {
    let table: Arc<dyn Table> = site.table(WORLD, name, clock);
    let snapshot = table.snapshot(None).await.map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for file in snapshot.into_iter().flat_map(|snapshot| snapshot.files) {
        let path: Path = file.path;
        let object = site
            .store
            .object(&path)
            .ok_or_else(|| format!("I6 file safety: {path} is listed but missing"))?;
        if object.bytes.len() as u64 != file.size_bytes {
            return Err(format!("I6 file safety: {path} is not as large as the table says"));
        }
        found.extend(rows::read(&object.bytes)?.rows.iter().filter_map(rows::place));
    }
    found.sort_unstable();
    if found.iter().copied().eq(counted.iter().copied()) {
        return Ok(());
    }
    Err(format!(
        "I4 prefix visibility: a reader of {name} finds {} rows, {} were counted",
        found.len(),
        counted.len()
    ))
}
