//! Servers end with us, however we end.
//!
//! A dropped [`crate::server::Server`] kills its process. A signal drops nothing, so a thread waits
//! for signals, kills what is listed, and ends the program.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Processes of ours that run, by number.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A process that ends with us, while this lives.
pub struct Listed(u32);

/// Lists the process `id`, a child of ours.
pub fn list(id: u32) -> Listed {
    with_running(|running| running.insert(id));
    Listed(id)
}

impl Drop for Listed {
    fn drop(&mut self) {
        with_running(|running| running.remove(&self.0));
    }
}

/// Begins to wait for signals.
pub fn watch() -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot listen for signals")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            with_running(|running| running.iter().for_each(|id| kill(*id)));
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

fn with_running<T>(work: impl FnOnce(&mut BTreeSet<u32>) -> T) -> T {
    work(&mut RUNNING.lock().expect("no thread panics while it holds this lock"))
}

/// The standard library kills a child only through its handle, which another thread holds.
fn kill(id: u32) {
    // It fails only when the process has ended already, which is what we want.
    let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
}
