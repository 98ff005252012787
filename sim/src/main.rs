//! `cargo xtask sim`: runs seeds on all cores, and shows one of them line by line.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::{Parser, ValueEnum};
use event::Clock;
use sim::auditor::Totals;
use sim::{TableKind, run};

#[derive(Parser)]
#[command(
    name = "cargo xtask sim",
    about = "Runs the real collector and loader in a simulated world, one run for each seed.",
    after_help = "Examples:\n  cargo xtask sim --seeds 500\n  cargo xtask sim --first 1000 --seeds 500 --table delta\n  \
                  cargo xtask sim --seed 4711 --table parquet --trace"
)]
struct Cli {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Runs seeds that nobody has run before, instead of those from `--first` on.
    #[arg(long, conflicts_with = "first")]
    fresh: bool,
    /// Ends with the first seed that fails.
    #[arg(long)]
    until_failure: bool,
    /// Runs this seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "first", "fresh"])]
    seed: Option<u64>,
    /// Prints everything that happens.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// The table to load into; both when it is left out.
    #[arg(long)]
    table: Option<Kind>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Parquet,
    Delta,
}

impl Cli {
    fn kinds(&self) -> Vec<TableKind> {
        match self.table {
            Some(Kind::Parquet) => vec![TableKind::Parquet],
            Some(Kind::Delta) => vec![TableKind::Delta],
            None => vec![TableKind::Parquet, TableKind::Delta],
        }
    }

    fn seeds(&self, clock: &Clock) -> Vec<u64> {
        if let Some(seed) = self.seed {
            return vec![seed];
        }
        let first = if self.fresh { clock.random_below(1 << 40) } else { self.first };
        (first..first.saturating_add(self.seeds)).collect()
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let clock = Clock::system();
    // A panic of a simulated task is a result, told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let seeds = cli.seeds(&clock);
    let mut all_kept = true;
    for kind in cli.kinds() {
        if all_kept || !cli.until_failure {
            all_kept &= run_all(kind, &seeds, &cli, &clock);
        }
    }
    if all_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Sums over runs.
#[derive(Default)]
struct Sum {
    totals: Totals,
    polls: u64,
    failed: Vec<u64>,
}

/// Whether all seeds keep all promises.
fn run_all(kind: TableKind, seeds: &[u64], cli: &Cli, clock: &Clock) -> bool {
    let begun = clock.monotonic();
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    let work = || {
        while let Some(seed) =
            usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok().and_then(|i| seeds.get(i))
        {
            let report = run(*seed, kind, cli.trace);
            let sum = &mut *sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            take(sum, kind, &report);
            if cli.until_failure && !sum.failed.is_empty() {
                return;
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(seeds.len());
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Totals { records, rows, dead_letters, commits, acknowledged } = sum.totals;
    say(&format!(
        "{kind}: {} seeds from {}, {} failed; {records} records, {acknowledged} events acknowledged, {rows} rows, \
         {dead_letters} dead letters, {commits} commits, {} polls, {:.1} s",
        seeds.len(),
        seeds.first().copied().unwrap_or(0),
        sum.failed.len(),
        sum.polls,
        (clock.monotonic() - begun).as_secs_f64(),
    ));
    sum.failed.is_empty()
}

fn take(sum: &mut Sum, kind: TableKind, report: &sim::Report) {
    report.trace.iter().for_each(|line| say(line));
    sum.polls += report.poll_count;
    match &report.outcome {
        Ok(totals) => {
            let all = &mut sum.totals;
            all.records += totals.records;
            all.rows += totals.rows;
            all.dead_letters += totals.dead_letters;
            all.commits += totals.commits;
            all.acknowledged += totals.acknowledged;
        }
        Err(broken) => {
            let seed = report.seed;
            say(&format!("seed {seed} ({kind}) failed: {broken}"));
            say(&format!("  replay: cargo xtask sim --seed {seed} --table {kind} --trace"));
            sum.failed.push(seed);
        }
    }
}

/// One line for the person at the terminal.
#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
fn say(line: &str) {
    println!("{line}");
}
