//! The stages of `cargo xtask test`, in order.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::report::{Stage, Tally, summary};
use crate::servers::Servers;
use crate::tools::Tools;
use crate::tools::python::Venv;
use crate::{command, fuzz, paths, say, sim};

/// Events in each cell of the large matrix with `--quick`; the suite itself knows the full number.
const QUICK_EVENTS: &str = "20000";
/// Kills and stops for each table format with `--full`; the suite itself knows how few are enough else.
const FULL_KILLS: &str = "300";

/// Scenarios of faults, each with loaders, proxies or brokers of its own.
const FULL_ONLY: [&str; 4] = [
    "tests/e2e/test_faults_loaders.py",
    "tests/e2e/test_faults_store.py",
    "tests/e2e/test_outages.py",
    "tests/e2e/test_positions.py",
];

/// A suite that cannot run here; why was said when the tools were looked for.
const LEFT_OUT: Tally = Tally { passed: 0, failed: 0, skipped: 1 };

#[derive(Args)]
pub struct Options {
    /// Runs this suite alone (may be given several times).
    #[arg(long, value_name = "SUITE")]
    only: Vec<Suite>,
    /// Fewer events in the end-to-end suites: minutes instead of a quarter of an hour.
    #[arg(long)]
    quick: bool,
    /// Fuzz targets and all scenarios of faults too, and hundreds of kills: an hour and a half more.
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// Goes to pytest, e.g. `-- -k bad_input`.
    #[arg(last = true)]
    pytest: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Formatting.
    Fmt,
    /// Lints, warnings being errors.
    Clippy,
    /// The workspace's own rules.
    Tidy,
    /// Unit, property and conformance suites.
    Rust,
    /// The simulator: fixed seeds, and fresh ones.
    Sim,
    /// Fuzz targets, 20 seconds each.
    Fuzz,
    /// The binary that the suites below run.
    Build,
    /// SDK and example.
    Python,
    /// The real binary with real servers and readers.
    E2e,
}

impl Suite {
    const ALL: [Self; 9] = [
        Self::Fmt,
        Self::Clippy,
        Self::Tidy,
        Self::Rust,
        Self::Sim,
        Self::Fuzz,
        Self::Build,
        Self::Python,
        Self::E2e,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Tidy => "tidy",
            Self::Rust => "rust",
            Self::Sim => "sim",
            Self::Fuzz => "fuzz",
            Self::Build => "build",
            Self::Python => "python",
            Self::E2e => "e2e",
        }
    }

    fn needs_servers(self) -> bool {
        matches!(self, Self::Rust | Self::E2e) || self.needs_binary()
    }

    fn needs_binary(self) -> bool {
        matches!(self, Self::Python | Self::E2e)
    }
}

/// `cargo xtask test`.
pub fn run(options: &Options) -> Result<ExitCode> {
    let suites = chosen(&options.only, options.full);
    let bench = Bench::set_up(options, &suites)?;
    let mut stages = Vec::new();
    for suite in suites {
        say(&format!("\n--- {} ---", suite.name()));
        let (tally, seconds) = timed(|| bench.run(suite))?;
        stages.push(Stage { name: suite.name(), tally, seconds });
        if suite == Suite::Build && tally.failed > 0 {
            // What follows would run an older binary, or none.
            break;
        }
    }
    let failed = stages.iter().any(|stage| stage.tally.failed > 0);
    bench.leave(failed)?;
    say(&format!("\n{}", summary(&stages)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// All suites, or those asked for and what they need, in order. Fuzzing is for `--full`: each run looks
/// somewhere else, and the corpus is among the Rust suites.
fn chosen(only: &[Suite], full: bool) -> Vec<Suite> {
    let needs_binary = only.iter().any(|suite| suite.needs_binary());
    let is_chosen = |suite: &Suite| {
        (only.is_empty() && (full || *suite != Suite::Fuzz))
            || only.contains(suite)
            || (*suite == Suite::Build && needs_binary)
    };
    Suite::ALL.into_iter().filter(is_chosen).collect()
}

/// What the stages work with.
struct Bench<'a> {
    options: &'a Options,
    tools: Tools,
    folder: PathBuf,
    servers: Servers,
}

impl<'a> Bench<'a> {
    fn set_up(options: &'a Options, suites: &[Suite]) -> Result<Self> {
        let tools = if suites.iter().any(|suite| suite.needs_servers()) {
            Tools::install_all()?
        } else {
            Tools { kafka: None, s3: None, python: None, chromium: None }
        };
        let folder = paths::run_folder()?;
        let servers = Servers::start(&tools, &folder)?;
        Ok(Self { options, tools, folder, servers })
    }

    fn run(&self, suite: Suite) -> Result<Tally> {
        match suite {
            Suite::Fmt => checked(command::cargo().args(["fmt", "--all", "--check"])),
            Suite::Clippy => checked(command::cargo().args([
                "clippy",
                "--release",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ])),
            Suite::Tidy => {
                counted(command::cargo().args(["test", "--release", "--quiet", "--package", "xtask"]))
            }
            Suite::Rust => {
                let args = ["test", "--release", "--workspace", "--exclude", "xtask", "--no-fail-fast"];
                counted(self.servers.tell(command::cargo().args(args)))
            }
            Suite::Sim => {
                let mut tally = checked(sim::simulator().args(["--seeds", sim::FIXED_SEEDS]))?;
                tally += checked(sim::simulator().args(["--fresh", "--seeds", sim::FRESH_SEEDS]))?;
                Ok(tally)
            }
            Suite::Fuzz => fuzz::tally(&fuzz::Options::in_test()),
            Suite::Build => checked(command::cargo().args(["build", "--release"])),
            Suite::Python => self.python(),
            Suite::E2e => self.end_to_end(),
        }
    }

    /// SDK and example, each with its own pytest and mypy settings in its `pyproject.toml`.
    fn python(&self) -> Result<Tally> {
        let Some(venv) = &self.tools.python else { return Ok(LEFT_OUT) };
        let mut tally = Tally::default();
        for project in ["sdk/python", "examples/tickets"] {
            let folder = paths::root().join(project);
            tally += checked(Command::new(&venv.python).current_dir(&folder).args([
                "-m",
                "mypy",
                "--cache-dir=/dev/null",
            ]))?;
            tally += counted(self.pytest(venv, &project.replace('/', "-")).current_dir(&folder))?;
        }
        Ok(tally)
    }

    fn end_to_end(&self) -> Result<Tally> {
        let Some(venv) = &self.tools.python else { return Ok(LEFT_OUT) };
        let mut pytest = self.pytest(venv, "e2e");
        pytest.arg("tests/e2e").args(&self.options.pytest);
        if self.options.quick {
            pytest.env("LAKER_E2E_EVENTS", QUICK_EVENTS);
        }
        if self.options.full {
            pytest.env("LAKER_E2E_KILLS", FULL_KILLS);
        } else if self.options.pytest.is_empty() {
            say(&format!(
                "left out, since they take half an hour (--full runs them): {}",
                FULL_ONLY.join(", ")
            ));
            pytest.args(FULL_ONLY.map(|file| format!("--ignore={file}")));
        }
        counted(&mut pytest)
    }

    /// A pytest that knows the servers, the binary and the browser, and keeps its files with this run.
    fn pytest(&self, venv: &Venv, name: &str) -> Command {
        let mut pytest = Command::new(&venv.python);
        pytest.current_dir(paths::root()).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        pytest.env("COLUMNS", "120");
        pytest.args(["-m", "pytest", "-v", "-p", "no:cacheprovider", "--durations=10"]);
        pytest.arg(format!("--basetemp={}", self.folder.join(name).display()));
        self.servers.tell(&mut pytest);
        if let Some(browser) = &self.tools.chromium {
            pytest.env("LAKER_CHROMIUM", &browser.program);
        }
        if let Ok(target) = paths::target() {
            pytest.env("LAKER_BIN", target.join("release/laker"));
            pytest.env("LAKER_SCREENSHOTS", target.join("screenshots"));
        }
        pytest
    }

    /// Ends the servers; what they and the tests wrote stays only when it may explain a failure.
    fn leave(self, failed: bool) -> Result<()> {
        let Self { servers, folder, .. } = self;
        drop(servers);
        if failed {
            say(&format!("\nlogs and data of this run are in {}", folder.display()));
            return Ok(());
        }
        Ok(fs::remove_dir_all(&folder)?)
    }
}

/// A command that is one test.
fn checked(command: &mut Command) -> Result<Tally> {
    Ok(Tally::one(command::run_watched(command, |_| {})?))
}

/// A command whose output says how many tests it ran. One that fails without saying so counts as one failure.
fn counted(command: &mut Command) -> Result<Tally> {
    let mut tally = Tally::default();
    let succeeded = command::run_watched(command, |line| tally += Tally::read(line))?;
    if !succeeded && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a stage took is told to a person; no simulator runs this"
)]
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    let start = Instant::now();
    let result = work()?;
    Ok((result, start.elapsed().as_secs()))
}
