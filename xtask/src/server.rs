//! A child process whose output is a log file and whose life is ours.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::ending::{self, Listed};

/// A starting server is looked at when it says something, and this often when it says nothing.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Looks in silence after which it is given up: a minute.
const SILENT_LOOKS_MAX: usize = 1_200;

/// How to know that a server can be used.
pub enum Ready<'a> {
    /// It says so on its stdout.
    Says(&'a str),
    /// It answers when asked.
    Answers(&'a dyn Fn() -> bool),
}

/// A server we started. Dropping it kills it, and only it.
pub struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
    _listed: Listed,
}

impl Server {
    /// Starts `command` and returns once it is ready.
    pub fn start(name: &'static str, command: &mut Command, log: &Path, ready: Ready<'_>) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("could not create {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file.try_clone()?)
            .spawn()
            .with_context(|| format!("could not start {}", command::shown(command)))?;
        let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
        let (lines, heard) = channel();
        std::thread::spawn(move || keep_log(stdout, file, &lines));
        let listed = ending::list(child.id());
        let server = Self { name, child, log: log.to_owned(), _listed: listed };
        server.wait_for(&ready, &heard)?;
        Ok(server)
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> Result<()> {
        let status = self.child.wait()?;
        bail!("{} ended with {status}; its log: {}", self.name, self.log.display())
    }

    fn wait_for(&self, ready: &Ready<'_>, heard: &Receiver<String>) -> Result<()> {
        let mut silent_looks = 0;
        while silent_looks < SILENT_LOOKS_MAX {
            let line = match heard.recv_timeout(LOOK_EVERY) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => String::new(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let is_ready = match ready {
                Ready::Says(words) => line.contains(words),
                Ready::Answers(ask) => ask(),
            };
            if is_ready {
                return Ok(());
            }
            silent_looks = if line.is_empty() { silent_looks + 1 } else { 0 };
        }
        bail!("{} did not start; its log: {}", self.name, self.log.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies what a server says into its log until it ends, and to `lines` while anybody listens.
fn keep_log(stdout: ChildStdout, mut file: File, lines: &Sender<String>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        // A full disk must not stop the reading: the server would block on its pipe.
        let _ = writeln!(file, "{line}");
        let _ = lines.send(line);
    }
}

/// A port of this machine that nobody listens on.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}
