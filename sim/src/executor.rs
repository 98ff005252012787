//! One thread that runs every task of every simulated process, in an order drawn by the seed.
//!
//! Of the tasks that can go on, one is drawn and polled once. Time stands still while any can; when
//! none can, it jumps to the next moment somebody waits for. A process is a set of tasks: killing it
//! drops them where they stand, pausing it leaves them unpolled.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use event::clock::BoxFuture;
use tokio::sync::oneshot;

use crate::chance::Chance;

/// A process, alive or dead. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u32);

/// What no fault touches: the network, the supervisors, the one who makes trouble.
pub const WORLD: ProcessId = ProcessId(0);

/// Polls after which a run counts as one that will never end.
const POLLS_MAX: u64 = 20_000_000;

thread_local! {
    /// Whether this thread is polling a simulated task.
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the caller is a simulated task, not a thread of a library or a test.
#[must_use]
pub fn is_simulated() -> bool {
    SIMULATED.get()
}

/// Runs `work` as if this thread simulated nothing.
pub fn outside<T>(work: impl FnOnce() -> T) -> T {
    let before = SIMULATED.replace(false);
    let output = work();
    SIMULATED.set(before);
    output
}

type TaskId = u64;

/// The executor. Clones are the same one.
#[derive(Clone)]
pub struct Executor {
    state: Arc<Mutex<State>>,
    woken: Arc<Mutex<Vec<TaskId>>>,
}

struct State {
    now: Duration,
    chance: Chance,
    tasks: BTreeMap<TaskId, Task>,
    ready: Vec<TaskId>,
    timers: BTreeMap<(Duration, u64), Waker>,
    processes: BTreeMap<ProcessId, Process>,
    /// Names of processes, dead ones included.
    names: BTreeMap<ProcessId, String>,
    last_task: TaskId,
    last_timer: u64,
    last_process: u32,
    poll_count: u64,
    failure: Option<String>,
    trace: Option<Vec<String>>,
}

struct Task {
    process: ProcessId,
    /// Out while it is polled.
    future: Option<BoxFuture<'static>>,
    waker: Waker,
    is_ready: bool,
}

/// A task taken out to be polled.
struct Turn {
    id: TaskId,
    process: ProcessId,
    future: BoxFuture<'static>,
    waker: Waker,
}

#[derive(Default)]
struct Process {
    paused_until: Option<Duration>,
    /// Polls left until it is killed.
    polls_left: Option<u64>,
    waits_for_end: Vec<oneshot::Sender<()>>,
}

struct TaskWaker {
    id: TaskId,
    woken: Arc<Mutex<Vec<TaskId>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.woken).push(self.id);
    }
}

/// A panic of a simulated task is caught and told; it leaves no lock of ours half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor")
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The given task ended.
    Done,
    /// Something went wrong, in words.
    Failed(String),
}

impl Executor {
    /// An executor with no task, at time zero. `traced` keeps a line for each thing that happens.
    #[must_use]
    pub fn new(seed: u64, traced: bool) -> Self {
        let state = State {
            now: Duration::ZERO,
            chance: Chance::new(seed),
            tasks: BTreeMap::new(),
            ready: Vec::new(),
            timers: BTreeMap::new(),
            processes: BTreeMap::from([(WORLD, Process::default())]),
            names: BTreeMap::from([(WORLD, "world".to_owned())]),
            last_task: 0,
            last_timer: 0,
            last_process: 0,
            poll_count: 0,
            failure: None,
            trace: traced.then(Vec::new),
        };
        Self { state: Arc::new(Mutex::new(state)), woken: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.state().now
    }

    /// Draws with the run's only generator.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut Chance) -> T) -> T {
        draw(&mut self.state().chance)
    }

    /// Polls so far.
    #[must_use]
    pub fn poll_count(&self) -> u64 {
        self.state().poll_count
    }

    /// Ends the run: a promise is broken. The first one counts.
    pub fn fail(&self, what: String) {
        self.trace(WORLD, || format!("FAILED {what}"));
        self.state().failure.get_or_insert(what);
    }

    /// Whether a promise is broken already.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state().failure.is_some()
    }

    /// Notes what happened, if the run is traced.
    pub fn trace(&self, process: ProcessId, line: impl FnOnce() -> String) {
        let state = &mut *self.state();
        if let Some(lines) = &mut state.trace {
            let name = state.names.get(&process).map_or("?", String::as_str);
            lines.push(format!("{:>12.6} {name:<12} {}", state.now.as_secs_f64(), line()));
        }
    }

    /// The trace so far, one line for each thing that happened.
    #[must_use]
    pub fn take_trace(&self) -> Vec<String> {
        self.state().trace.take().unwrap_or_default()
    }

    // ---- processes -----------------------------------------------------------------------------

    /// A new process without a task.
    pub fn start_process(&self, name: &str) -> ProcessId {
        let process = {
            let state = &mut *self.state();
            state.last_process += 1;
            let process = ProcessId(state.last_process);
            state.processes.insert(process, Process::default());
            state.names.insert(process, name.to_owned());
            process
        };
        self.trace(process, || "started".to_owned());
        process
    }

    /// Whether it has not been killed.
    #[must_use]
    pub fn is_alive(&self, process: ProcessId) -> bool {
        self.state().processes.contains_key(&process)
    }

    /// Drops all tasks of a process where they stand.
    pub fn kill(&self, process: ProcessId, why: &str) {
        let (dropped, ended) = {
            let state = &mut *self.state();
            let Some(ended) = state.processes.remove(&process) else { return };
            let ids: Vec<TaskId> =
                state.tasks.iter().filter(|(_, task)| task.process == process).map(|(id, _)| *id).collect();
            let dropped: Vec<Task> = ids.iter().filter_map(|id| state.tasks.remove(id)).collect();
            state.ready.retain(|id| state.tasks.contains_key(id));
            (dropped, ended)
        };
        self.trace(process, || format!("ended: {why}"));
        drop(dropped);
        for waiting in ended.waits_for_end {
            // Whoever waited may have ended itself.
            let _ = waiting.send(());
        }
    }

    /// Kills a process once its tasks have been polled `polls` more times: between any two awaits.
    pub fn kill_after(&self, process: ProcessId, polls: u64) {
        if let Some(process) = self.state().processes.get_mut(&process) {
            process.polls_left = Some(polls.max(1));
        }
    }

    /// Leaves the tasks of a process unpolled for `duration`, as SIGSTOP does.
    pub fn pause(&self, process: ProcessId, duration: Duration) {
        let state = &mut *self.state();
        let until = state.now + duration;
        if let Some(process) = state.processes.get_mut(&process) {
            process.paused_until = process.paused_until.max(Some(until));
        }
    }

    /// Completes when the process has ended.
    pub async fn ended(&self, process: ProcessId) {
        let receiver = {
            let state = &mut *self.state();
            let Some(process) = state.processes.get_mut(&process) else { return };
            let (sender, receiver) = oneshot::channel();
            process.waits_for_end.push(sender);
            receiver
        };
        // An error says that the sender is gone, and with it the process.
        let _ = receiver.await;
    }

    // ---- tasks and time ------------------------------------------------------------------------

    /// Runs `task` as one of `process`; drops it if that has ended.
    pub fn spawn(&self, process: ProcessId, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(process, Box::pin(task));
    }

    /// Runs `task` as one of `process`; drops it if that has ended.
    pub fn spawn_boxed(&self, process: ProcessId, task: BoxFuture<'static>) {
        let state = &mut *self.state();
        if !state.processes.contains_key(&process) {
            return;
        }
        state.last_task += 1;
        let id = state.last_task;
        let waker = Waker::from(Arc::new(TaskWaker { id, woken: Arc::clone(&self.woken) }));
        state.tasks.insert(id, Task { process, future: Some(task), waker, is_ready: true });
        state.ready.push(id);
    }

    /// Completes `duration` from now.
    #[must_use]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep { executor: self.clone(), until: self.now().saturating_add(duration), timer: None }
    }

    /// Runs tasks until `main`, a task of [`WORLD`], has ended or a promise is broken.
    pub fn run(&self, main: impl Future<Output = ()> + Send + 'static) -> Ended {
        let (done, mut is_done) = oneshot::channel();
        self.spawn(WORLD, async move {
            main.await;
            // The run looks at it after each poll.
            let _ = done.send(());
        });
        loop {
            if let Some(failure) = self.state().failure.clone() {
                return Ended::Failed(failure);
            }
            if is_done.try_recv().is_ok() {
                return Ended::Done;
            }
            if let Err(stuck) = self.step() {
                return Ended::Failed(stuck);
            }
        }
    }

    /// Drops everything that still runs.
    pub fn clear(&self) {
        let (tasks, timers) = {
            let state = &mut *self.state();
            state.processes.clear();
            state.ready.clear();
            (std::mem::take(&mut state.tasks), std::mem::take(&mut state.timers))
        };
        drop((tasks, timers));
    }

    fn step(&self) -> Result<(), String> {
        let Some(Turn { id, process, mut future, waker }) = self.next_task()? else { return Ok(()) };
        SIMULATED.set(true);
        let polled =
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        SIMULATED.set(false);
        match polled {
            Ok(Poll::Pending) => self.put_back(id, future),
            Ok(Poll::Ready(())) => {
                drop(future);
                self.state().tasks.remove(&id);
            }
            Err(panic) => {
                self.fail(format!("panic: {}", panic_text(&*panic)));
                self.state().tasks.remove(&id);
            }
        }
        self.count_poll(process);
        Ok(())
    }

    fn put_back(&self, id: TaskId, future: BoxFuture<'static>) {
        // A process that was killed meanwhile has no place for it: it is dropped outside the lock.
        let homeless = match self.state().tasks.get_mut(&id) {
            Some(task) => {
                task.future = Some(future);
                None
            }
            None => Some(future),
        };
        drop(homeless);
    }

    fn count_poll(&self, process: ProcessId) {
        let is_due = {
            let state = &mut *self.state();
            state.poll_count += 1;
            match state.processes.get_mut(&process).and_then(|process| process.polls_left.as_mut()) {
                None => false,
                Some(left) => {
                    *left -= 1;
                    *left == 0
                }
            }
        };
        if is_due {
            self.kill(process, "crashed");
        }
    }

    /// Draws a task that can go on, or lets time go on; `None` when only time went on.
    fn next_task(&self) -> Result<Option<Turn>, String> {
        let woken = std::mem::take(&mut *lock(&self.woken));
        let state = &mut *self.state();
        state.take_woken(woken);
        if state.poll_count > POLLS_MAX {
            return Err(format!("still not at an end after {POLLS_MAX} polls"));
        }
        let Some(index) = state.draw_ready() else { return state.advance().map(|()| None) };
        let id = state.ready.swap_remove(index);
        let Some(task) = state.tasks.get_mut(&id) else { return Ok(None) };
        task.is_ready = false;
        let future = task.future.take().expect("only one thread polls, and it puts the future back");
        Ok(Some(Turn { id, process: task.process, future, waker: task.waker.clone() }))
    }
}

impl State {
    fn take_woken(&mut self, woken: Vec<TaskId>) {
        for id in woken {
            if let Some(task) = self.tasks.get_mut(&id).filter(|task| !task.is_ready) {
                task.is_ready = true;
                self.ready.push(id);
            }
        }
    }

    fn is_paused(&self, process: ProcessId) -> bool {
        let paused_until = self.processes.get(&process).and_then(|process| process.paused_until);
        paused_until.is_some_and(|until| self.now < until)
    }

    /// Place in `ready` of a task that may be polled.
    fn draw_ready(&mut self) -> Option<usize> {
        let is_runnable = |id: &TaskId| self.tasks.get(id).is_some_and(|task| !self.is_paused(task.process));
        let runnable: Vec<usize> =
            (0..self.ready.len()).filter(|index| is_runnable(&self.ready[*index])).collect();
        if runnable.is_empty() { None } else { Some(*self.chance.one_of(&runnable)) }
    }

    /// Jumps to the next moment somebody waits for.
    fn advance(&mut self) -> Result<(), String> {
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        let now = self.now;
        let ends_of_pauses =
            self.processes.values().filter_map(|p| p.paused_until.filter(|until| *until > now));
        let next = timer.into_iter().chain(ends_of_pauses).min();
        self.now = self.now.max(next.ok_or("nothing can go on, and nobody waits for a moment")?);
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= self.now
        {
            entry.remove().wake();
        }
        Ok(())
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a text".to_owned())
}

/// Waits for a moment.
#[derive(Debug)]
pub struct Sleep {
    executor: Executor,
    until: Duration,
    timer: Option<((Duration, u64), Waker)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let executor = self.executor.clone();
        let state = &mut *executor.state();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        if self.timer.as_ref().is_some_and(|(_, waker)| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        if let Some((key, _)) = self.timer.take() {
            state.timers.remove(&key);
        }
        state.last_timer += 1;
        let key = (self.until, state.last_timer);
        state.timers.insert(key, context.waker().clone());
        self.timer = Some((key, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((key, _)) = self.timer.take() {
            let removed = self.executor.state().timers.remove(&key);
            drop(removed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn time_jumps_only_when_nothing_can_go_on() {
        let executor = Executor::new(1, false);
        let seen = Arc::new(Mutex::new(Vec::new()));
        for second in [3, 1, 2] {
            let (inner, seen) = (executor.clone(), Arc::clone(&seen));
            executor.spawn(WORLD, async move {
                inner.sleep(seconds(second)).await;
                seen.lock().unwrap().push((second, inner.now()));
            });
        }
        let main = executor.clone();
        assert_eq!(executor.run(async move { main.sleep(seconds(10)).await }), Ended::Done);
        assert_eq!(*seen.lock().unwrap(), [(1, seconds(1)), (2, seconds(2)), (3, seconds(3))]);
    }

    #[test]
    fn a_killed_process_goes_on_no_more_and_a_paused_one_later() {
        let executor = Executor::new(1, false);
        let (killed, paused) = (executor.start_process("killed"), executor.start_process("paused"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        for (process, name) in [(killed, "killed"), (paused, "paused")] {
            let (inner, seen) = (executor.clone(), Arc::clone(&seen));
            executor.spawn(process, async move {
                inner.sleep(seconds(1)).await;
                seen.lock().unwrap().push((name, inner.now()));
            });
        }
        executor.pause(paused, seconds(5));
        let main = executor.clone();
        let ended = executor.run(async move {
            main.kill(killed, "test");
            main.ended(killed).await;
            main.sleep(seconds(10)).await;
        });
        assert_eq!(ended, Ended::Done);
        // Five seconds without a turn, and its own one.
        assert_eq!(*seen.lock().unwrap(), [("paused", seconds(6))]);
    }

    #[test]
    fn a_panic_fails_the_run_with_its_text() {
        let executor = Executor::new(1, false);
        let ended = executor.run(async { panic!("a test's panic") });
        assert_eq!(ended, Ended::Failed("panic: a test's panic".to_owned()));
    }
}
