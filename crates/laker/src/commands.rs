//! One file per command.

/// HTTP to a running laker.
mod client;
/// `laker send`.
mod send;
/// `laker query`.
mod query;
/// `laker tail`.
mod tail;
/// `laker verify`.
mod verify;
/// `laker dead`.
mod dead;
/// `laker check`.
mod check;
/// `laker gap`.
mod gap;
/// `laker bench`.
mod bench;
/// What a role says when it starts.
mod banner;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

pub use banner::banner;

use crate::cli::{Cli, Command, GapCommand, SettingsArgs};
use crate::role::{self, Roles};
use crate::settings::{Settings, SettingsError, Sources};
use crate::telemetry;

/// Does what was typed.
///
/// # Errors
/// What failed, for the person who typed it.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the threads of the process could not be started")?;
    let done = runtime.block_on(dispatch(cli.command));
    // Blocking calls into a dead broker must not hold up the end.
    runtime.shutdown_timeout(event::limits::CONNECTIONS_CLOSE_MAX);
    done
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => {
            run_role(&args, Roles { collect: true, load: true, serve: true, ..Roles::default() }).await
        }
        Command::Collect(args) => run_role(&args, Roles { collect: true, ..Roles::default() }).await,
        Command::Serve(args) => run_role(&args, Roles { serve: true, ..Roles::default() }).await,
        Command::Load(args) => {
            let roles = Roles { load: true, until_caught_up: args.until_caught_up, ..Roles::default() };
            run_role(&args.settings, roles).await
        }
        Command::Send(args) => send::run(args).await,
        Command::Query(args) => query::run(args).await,
        Command::Tail(args) => tail::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Dead(args) => dead::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Gap(GapCommand::Accept(args)) => gap::accept(args).await,
        Command::Bench(args) => bench::run(args).await,
    }
}

async fn run_role(args: &SettingsArgs, roles: Roles) -> Result<ExitCode> {
    let settings = load_settings(args)?;
    telemetry::start_logging("info");
    let metrics = telemetry::start_metrics()?;
    role::run(settings, roles, metrics).await?;
    Ok(ExitCode::SUCCESS)
}

/// Settings from all layers, for the arguments of one command.
pub(crate) fn load_settings(args: &SettingsArgs) -> Result<Settings, SettingsError> {
    let mut flags = Vec::new();
    for (key, value) in [("log", &args.log), ("lake", &args.lake), ("listen", &args.listen)] {
        flags.extend(value.iter().map(|value| (key.to_owned(), value.clone())));
    }
    flags.extend(args.set.iter().cloned());
    let usual = PathBuf::from("laker.toml");
    let file = args.config.clone().or_else(|| usual.is_file().then_some(usual));
    Settings::load(Sources { flags, environment: environment()?, file })
}

/// The process's environment over `.env` of the working directory.
fn environment() -> Result<BTreeMap<String, String>, SettingsError> {
    let mut environment = BTreeMap::new();
    if let Ok(pairs) = dotenvy::from_path_iter(".env") {
        for pair in pairs {
            let (name, value) =
                pair.map_err(|error| SettingsError(format!(".env cannot be read: {error}")))?;
            environment.insert(name, value);
        }
    }
    environment.extend(std::env::vars());
    Ok(environment)
}
