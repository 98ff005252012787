//! Running commands and reading what they say.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{paths, say};

/// The cargo that runs us, in the workspace's folder.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root()).stdin(Stdio::null());
    command
}

/// A program found on `PATH`, or `None`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Runs to the end; an error unless it succeeded.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("could not start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs to the end and returns what it wrote to stdout; an error unless it succeeded.
pub fn stdout_of(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", shown(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} wrote no UTF-8", shown(command)))
}

/// Runs to the end, passing each line of stdout on to ours and to `look`. Whether it succeeded.
pub fn run_watched(command: &mut Command, mut look: impl FnMut(&str)) -> Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {}", shown(command)))?;
    let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("could not read a child's output")?;
        let line = String::from_utf8_lossy(&line);
        say(&line);
        look(&line);
    }
    Ok(child.wait()?.success())
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Fills `folder` by `fill`, so that it either does not exist or is whole:
/// `fill` works in a folder beside it, which is then renamed. Two that race are both right.
pub fn install_whole(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let draft = folder.with_extension(format!("draft-{}", std::process::id()));
    if draft.exists() {
        std::fs::remove_dir_all(&draft)?;
    }
    std::fs::create_dir_all(&draft).with_context(|| format!("could not create {}", draft.display()))?;
    fill(&draft)?;
    if std::fs::rename(&draft, folder).is_err() {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::rename(&draft, folder)
            .with_context(|| format!("could not rename to {}", folder.display()))?;
    }
    Ok(())
}
