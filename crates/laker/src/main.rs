//! `laker`: from applications to the lake, exactly once.

/// What can be typed.
mod cli;
/// What a process is told.
mod settings;
/// One file per command.
mod commands;
/// Log, lake and tables as the settings name them.
mod parts;
/// What runs in a role, and how it ends.
mod role;
/// The HTTP port.
mod server;
/// Log lines and metrics.
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

/// Long-lived buffers of many sizes fragment the C library's heap.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::complain(&error);
            if error.is::<settings::SettingsError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Whoever reads our output may stop reading, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
