//! `cargo xtask fuzz`: the targets of `crates/fuzz` under libFuzzer, two at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::report::Tally;
use crate::{command, paths, say};

/// Seconds each target runs, unless told otherwise: what CI has time for.
const SECONDS: u64 = 20;
/// Longest input that is tried.
const INPUT_BYTES_MAX: usize = 4096;
/// Longest time one input may take, in seconds.
const INPUT_SECONDS_MAX: u64 = 20;
/// Memory of one run, in MiB.
const MEMORY_MIB_MAX: u64 = 2048;

#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask fuzz                            every target for 20 seconds
  cargo xtask fuzz --seconds 600 event body   two of them for ten minutes each
  cargo xtask fuzz --keep                     and put inputs that reach new code into the corpus
  cargo xtask fuzz event --input FILE         one input again, with the backtrace")]
pub struct Options {
    /// Targets, each a folder of crates/fuzz/corpus; all if none is named.
    targets: Vec<String>,
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = SECONDS)]
    seconds: u64,
    /// Adds inputs that reach code nothing in the corpus reaches.
    #[arg(long)]
    keep: bool,
    /// Runs this one input.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

impl Options {
    /// What `cargo xtask test` runs.
    pub fn in_test() -> Self {
        Self { targets: Vec::new(), seconds: SECONDS, keep: false, input: None }
    }
}

/// The program with all targets, and where its inputs are.
struct Fuzzer {
    program: PathBuf,
    corpus: PathBuf,
    /// What runs leave behind, outside the clone's own files.
    found: PathBuf,
}

/// `cargo xtask fuzz`.
pub fn run(options: &Options) -> Result<ExitCode> {
    let tally = tally(options)?;
    Ok(if tally.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs what is asked for; each target counts as one test.
pub fn tally(options: &Options) -> Result<Tally> {
    if command::find("c++").is_none() {
        say("fuzz: no C++ compiler (c++) on PATH, which libFuzzer is built with; install g++ or clang");
        return Ok(Tally { passed: 0, failed: 0, skipped: 1 });
    }
    let fuzzer = Fuzzer::build()?;
    let targets = fuzzer.targets(&options.targets)?;
    if let Some(input) = &options.input {
        let [target] = &targets[..] else { bail!("name the one target that --input is for") };
        return Ok(Tally::one(fuzzer.reproduce(target, input)?));
    }
    let waiting = Mutex::new(targets);
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(|| fuzzer.work_off(&waiting, options))).collect();
        for worker in workers {
            tally += worker.join().expect("a worker returns its errors")?;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(tally)
}

impl Fuzzer {
    /// Builds our crates with counters, in the same target folder as everything else.
    fn build() -> Result<Self> {
        let folder = paths::root().join("crates/fuzz");
        let mut cargo = command::cargo();
        cargo.args(["build", "--release", "--package", "fuzz", "--bin", "fuzz", "--features", "libfuzzer"]);
        command::run(cargo.env("RUSTC_WORKSPACE_WRAPPER", folder.join("rustc.sh")))?;
        let target = paths::target()?;
        Ok(Self {
            program: target.join("release/fuzz"),
            corpus: folder.join("corpus"),
            found: target.join("fuzz"),
        })
    }

    /// The targets named, or all: each has a folder in the corpus.
    fn targets(&self, named: &[String]) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.corpus).context("crates/fuzz/corpus cannot be read")? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                all.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        all.sort();
        if let Some(unknown) = named.iter().find(|name| !all.contains(name)) {
            bail!("there is no target {unknown:?}; targets are {}", all.join(", "));
        }
        Ok(if named.is_empty() { all } else { named.to_vec() })
    }

    fn work_off(&self, waiting: &Mutex<Vec<String>>, options: &Options) -> Result<Tally> {
        let next = || waiting.lock().expect("no worker panics while it takes a target").pop();
        let mut tally = Tally::default();
        while let Some(target) = next() {
            tally += Tally::one(self.run(&target, options)?);
        }
        Ok(tally)
    }

    /// One target for its time. Whether every input held its laws.
    fn run(&self, target: &str, options: &Options) -> Result<bool> {
        let new = self.found.join("corpus").join(target);
        let broken = self.found.join("broken");
        fs::create_dir_all(&new)?;
        fs::create_dir_all(&broken)?;
        let mut run = self.libfuzzer(target);
        run.arg(format!("-max_total_time={}", options.seconds)).arg("-print_final_stats=1");
        run.arg(format!("-artifact_prefix={}/{target}-", broken.display()));
        run.arg(&new).args(self.seeds(target));
        let output = run.stdin(Stdio::null()).output().with_context(|| command::shown(&run))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            say(&format!("{target}: {}\n{}", output.status, last_lines(&said, 40)));
            say(&format!("{target}: run it again with: cargo xtask fuzz {target} --input FILE"));
            return Ok(false);
        }
        say(&format!("{target:14} {}", summary(&said)));
        if options.keep {
            self.keep(target, &new)?;
        }
        Ok(true)
    }

    fn libfuzzer(&self, target: &str) -> Command {
        let mut run = Command::new(&self.program);
        run.env("LAKER_FUZZ_TARGET", target).env("RUST_BACKTRACE", "1");
        run.arg(format!("-max_len={INPUT_BYTES_MAX}")).arg(format!("-timeout={INPUT_SECONDS_MAX}"));
        run.arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"));
        if let Some(dictionary) = dictionary(target) {
            run.arg(format!(
                "-dict={}",
                self.corpus.with_file_name("dictionaries").join(dictionary).display()
            ));
        }
        run
    }

    /// The corpus, and the JSON suite where inputs are JSON.
    fn seeds(&self, target: &str) -> Vec<PathBuf> {
        let mut seeds = vec![self.corpus.join(target)];
        if dictionary(target) == Some("json.dict") {
            seeds.push(paths::root().join("tests/json"));
        }
        seeds
    }

    /// Adds to the corpus what reaches code that it does not reach.
    fn keep(&self, target: &str, new: &Path) -> Result<()> {
        // libFuzzer merges into the first folder what the first folder lacks; the suite is no place to add to.
        let all = self.found.join("merge").join(target);
        fs::create_dir_all(&all)?;
        for seed in self.seeds(target) {
            copy_files(&seed, &all)?;
        }
        let before = names(&all)?;
        let mut merge = self.libfuzzer(target);
        command::run(merge.arg("-merge=1").arg("-verbosity=0").arg(&all).arg(new).stderr(Stdio::null()))?;
        for name in names(&all)?.iter().filter(|name| !before.contains(name)) {
            fs::copy(all.join(name), self.corpus.join(target).join(name))?;
        }
        Ok(())
    }

    fn reproduce(&self, target: &str, input: &Path) -> Result<bool> {
        let mut run = self.libfuzzer(target);
        Ok(run.arg(input).stdin(Stdio::null()).status()?.success())
    }
}

/// Words that inputs of a target are made of.
fn dictionary(target: &str) -> Option<&'static str> {
    match target {
        "action" | "body" | "event" => Some("json.dict"),
        "sql" => Some("sql.dict"),
        _ => None,
    }
}

/// Inputs tried, and what they reached, from libFuzzer's last words.
fn summary(said: &str) -> String {
    let number_after = |line: &str, key: &str| {
        let rest = line.split(key).nth(1)?.trim_start();
        Some(rest.split_whitespace().next()?.to_owned())
    };
    let of = |key: &str| {
        said.lines().rev().find_map(|line| number_after(line, key)).unwrap_or_else(|| "?".to_owned())
    };
    format!(
        "{:>10} inputs {:>6} edges {:>6} in corpus",
        of("number_of_executed_units:"),
        of("cov:"),
        of("corp:")
    )
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn names(folder: &Path) -> Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), to)?;
        } else {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_at_the_end_is_read() {
        let said = "#65536\tpulse  cov: 512 ft: 900 corp: 77/3kb exec/s: 4096\n\
                    #90000\tDONE   cov: 520 ft: 910 corp: 80/4kb\nstat::number_of_executed_units: 90000\n";
        assert_eq!(
            summary(said).split_whitespace().collect::<Vec<_>>(),
            ["90000", "inputs", "520", "edges", "80/4kb", "in", "corpus"]
        );
    }

    #[test]
    fn the_end_of_a_long_text_is_shown() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
