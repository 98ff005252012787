//! `cargo xtask`: installs what the tests need, starts the real servers, runs everything.

/// What a stage counted, and the closing line.
mod report;
/// The stages of `cargo xtask test`, in order.
mod test;
/// The simulator, built and run.
mod sim;
/// Deliberate faults in the protocol, each of which a suite must find.
mod mutate;
/// Fuzz targets under libFuzzer.
mod fuzz;
/// Files that pin down what is stored.
mod golden;
/// Kafka and S3, installed and running.
mod servers;
/// What is not Rust, pinned and installed outside the clone.
mod tools;
/// A child process whose output is a log file and whose life is ours.
mod server;
/// Servers end with us, however we end.
mod ending;
/// Where things are.
mod paths;
/// Running commands and reading what they say.
mod command;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Runs the tests of Laker, with the real parts they need.")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs all tests: format, lints, tidy, Rust suites, Python suites, end to end.
    Test(test::Options),
    /// Runs the real collector and loader in a simulated world, one run for each seed (`-- --help`).
    Sim(sim::Options),
    /// Builds Laker with each of the deliberate faults, and sees whether the suites find it.
    Mutate(mutate::Options),
    /// Runs the fuzz targets of `crates/fuzz`, each from its corpus on.
    Fuzz(fuzz::Options),
    /// Writes `tests/golden` for today's format; see docs/formats.md for when that may be done.
    Golden,
    /// Installs Kafka, the S3 server, the Python packages and Chromium, and runs nothing.
    Setup,
    /// Starts Kafka and an S3 server, prints how to reach them, and runs until Ctrl-C.
    Serve,
}

fn main() -> ExitCode {
    match ending::watch().and_then(|()| run(Cli::parse().task)) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Test(options) => test::run(&options),
        Task::Sim(options) => sim::run(&options),
        Task::Mutate(options) => mutate::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Golden => golden::run().map(|()| ExitCode::SUCCESS),
        Task::Setup => tools::Tools::install_all().map(|_| ExitCode::SUCCESS),
        Task::Serve => servers::serve().map(|()| ExitCode::SUCCESS),
    }
}

/// One line for the person at the terminal.
#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
fn say(line: &str) {
    println!("{line}");
}
