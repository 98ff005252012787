//! `cargo xtask mutate`: does anything notice when the protocol is broken?
//!
//! Each deliberate fault is applied to a copy of the clone, which is built and given to the simulator,
//! and, where that finds nothing, to the suite named with the fault. A fault that nothing finds is a
//! missing test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{command, paths, say};

/// The faults.
mod faults;

use faults::{FAULTS, Fault};

/// What is copied of the clone: all that the workspace is built from.
const COPIED: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "clippy.toml",
    "laker.toml",
    "crates",
    "sim",
    "xtask",
    "web",
    "docs",
    "README.md",
];

#[derive(Args)]
pub struct Options {
    /// Only faults whose name has this in it.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Seeds for each fault and table; the first one that fails ends it.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
}

/// `cargo xtask mutate`.
pub fn run(options: &Options) -> Result<ExitCode> {
    let bench = Bench::set_up()?;
    let wanted = |fault: &&Fault| options.only.as_ref().is_none_or(|only| fault.name.contains(only.as_str()));
    ensure!(bench.catches(options.seeds)?.is_none(), "without any fault the simulator fails already");
    let mut survivors = Vec::new();
    say("| fault | in | found by |\n|---|---|---|");
    for fault in FAULTS.iter().filter(wanted) {
        let found_by = bench.try_fault(fault, options.seeds)?;
        if found_by.is_none() {
            survivors.push(fault.name);
        }
        let found_by = found_by.unwrap_or_else(|| "**nothing**".to_owned());
        say(&format!("| {}: {} | `{}` | {found_by} |", fault.name, fault.what, fault.file));
    }
    if survivors.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("\nnothing found: {}", survivors.join(", ")));
    Ok(ExitCode::FAILURE)
}

/// A copy of the clone, with a target folder of its own.
struct Bench {
    tree: PathBuf,
    target: PathBuf,
}

impl Bench {
    fn set_up() -> Result<Self> {
        let folder = paths::target()?.join("mutants");
        let (tree, target) = (folder.join("tree"), folder.join("target"));
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        fs::create_dir_all(&tree)?;
        for name in COPIED {
            copy(&paths::root().join(name), &tree)?;
        }
        if !target.exists() {
            // What does not depend on ours is built already.
            fs::create_dir_all(&target)?;
            copy(&paths::target()?.join("release"), &target)?;
        }
        Ok(Self { tree, target })
    }

    /// What finds `fault`; the copy is as it was afterwards.
    fn try_fault(&self, fault: &Fault, seeds: u64) -> Result<Option<String>> {
        let path = self.tree.join(fault.file);
        let before = fs::read_to_string(&path).with_context(|| fault.file.to_owned())?;
        fs::write(&path, fault.apply(&before)?)?;
        let found_by = self.catches(seeds).and_then(|found| match (found, fault.suite) {
            (None, Some((package, filter))) => self.suite(package, filter),
            (found, _) => Ok(found),
        });
        fs::write(&path, before)?;
        found_by.with_context(|| fault.name.to_owned())
    }

    /// What the simulator says is broken, if it finds anything.
    fn catches(&self, seeds: u64) -> Result<Option<String>> {
        self.build(&["build", "--release", "--quiet", "--package", "sim"])?;
        let mut simulator = Command::new(self.target.join("release/sim"));
        simulator.args(["--until-failure", "--seeds", &seeds.to_string()]);
        let output = simulator.stdin(Stdio::null()).output().context("the simulator does not start")?;
        if output.status.success() {
            return Ok(None);
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        let failed = printed.lines().find(|line| line.starts_with("seed "));
        Ok(Some(
            failed.unwrap_or("the simulator crashed").chars().take(160).collect::<String>().replace('|', "/"),
        ))
    }

    fn suite(&self, package: &str, filter: &str) -> Result<Option<String>> {
        let arguments = ["test", "--release", "--quiet", "--package", package, filter];
        let output = self.cargo(&arguments).output().context("cargo does not start")?;
        if output.status.success() {
            return Ok(None);
        }
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed: Vec<_> = printed
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .filter(|n| !n.contains(' '))
            .collect();
        match failed.first() {
            Some(test) => Ok(Some(format!("test of {package}: {test}"))),
            None => {
                bail!("the suite of {package} cannot be built:\n{}", String::from_utf8_lossy(&output.stderr))
            }
        }
    }

    fn build(&self, arguments: &[&str]) -> Result<()> {
        let output = self.cargo(arguments).output().context("cargo does not start")?;
        ensure!(output.status.success(), "it cannot be built:\n{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = command::cargo();
        cargo.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target).args(arguments);
        cargo
    }
}

/// Copies a file or a folder, times included, so that cargo takes what is built for built.
fn copy(from: &Path, into: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(into).status().context("no cp")?;
    ensure!(copied.success(), "{} could not be copied", from.display());
    Ok(())
}
