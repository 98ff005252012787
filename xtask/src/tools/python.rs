//! Python and its packages, through pip, in an environment of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::require;
use crate::{command, paths, say};

const REQUIREMENTS: &str = "tests/e2e/requirements.txt";
/// Written last: an environment without it was never finished.
const FINISHED: &str = "finished";

/// A Python with the packages of `tests/e2e/requirements.txt`.
pub struct Venv {
    /// Its interpreter.
    pub python: PathBuf,
}

/// Finds an environment made for these requirements and this Python in the cache; else makes it.
pub fn install() -> Result<Venv> {
    let system = require("python3", &["python3", "python3-venv"])?;
    let requirements = paths::root().join(REQUIREMENTS);
    let wanted =
        fs::read_to_string(&requirements).with_context(|| format!("could not read {REQUIREMENTS}"))?;
    let version = command::stdout_of(Command::new(&system).arg("--version"))?;
    let folder = paths::cache()?.join("python").join(fingerprint(&[&wanted, &version]));
    let python = folder.join("bin/python");
    if !folder.join(FINISHED).is_file() {
        say(&format!("installing Python packages into {}", folder.display()));
        // In place and not renamed afterwards: an environment's scripts name its path.
        command::run(Command::new(&system).args(["-m", "venv", "--clear"]).arg(&folder))
            .context("no virtual environment could be made (Debian: apt-get install python3-venv)")?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        command::run(Command::new(&python).args(pip).arg(&requirements))?;
        fs::write(folder.join(FINISHED), version)?;
    }
    Ok(Venv { python })
}

/// A name for what `texts` say (64-bit FNV-1a): equal texts, equal name, on every machine.
fn fingerprint(texts: &[&str]) -> String {
    let bytes = texts.iter().flat_map(|text| text.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_requirements_get_another_environment() {
        assert_eq!(fingerprint(&["a==1", "3.11"]), fingerprint(&["a==1", "3.11"]));
        assert_ne!(fingerprint(&["a==1", "3.11"]), fingerprint(&["a==2", "3.11"]));
        assert_eq!(fingerprint(&["a"]), "af63dc4c8601ec8c", "the published value of FNV-1a");
    }
}
