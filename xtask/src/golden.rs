//! `cargo xtask golden`: files that pin down what is stored, written by today's program.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{command, paths, say};

/// The test that writes them.
const TEST: &str = "golden::what_is_written_today_lies_in_files_named_as_in_the_golden_folders";

/// Where they are.
fn folder() -> PathBuf {
    paths::root().join("tests/golden")
}

/// Writes the folder of today's format. One that is there already stays: it is what users' files look like.
pub fn run() -> Result<()> {
    let folder = folder();
    let before = names(&folder)?;
    let mut cargo = command::cargo();
    cargo.args(["test", "--release", "--package", "loader", "--test", "it", "--", "--exact", TEST]);
    cargo.env("LAKER_GOLDEN_FOLDER", &folder);
    if !command::run_watched(&mut cargo, |_| {})? {
        bail!(
            "nothing was written: a golden folder is never written over. For a new format raise FORMAT in \
             crates/loader/tests/it/golden.rs; to write a format that was never released anew, remove its folder first"
        );
    }
    let new: Vec<_> = names(&folder)?.into_iter().filter(|name| !before.contains(name)).collect();
    say(&format!("wrote {} in {}; add it to git as it is", new.join(", "), folder.display()));
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
