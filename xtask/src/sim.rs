//! `cargo xtask sim`: the simulator, built and run.

use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::command;

/// Seeds of every `cargo xtask test`: the same ones each time, and some that nobody has run.
pub const FIXED_SEEDS: &str = "300";
pub const FRESH_SEEDS: &str = "100";

#[derive(Args)]
pub struct Options {
    /// Goes to the simulator, e.g. `--seeds 500`, or `--seed 4711 --table delta --trace`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// `cargo xtask sim`.
pub fn run(options: &Options) -> Result<ExitCode> {
    let succeeded = command::run_watched(simulator().args(&options.arguments), |_| {})?;
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The simulator, to be given its arguments.
pub fn simulator() -> Command {
    let mut command = command::cargo();
    command.args(["run", "--release", "--quiet", "--package", "sim", "--"]);
    command
}
