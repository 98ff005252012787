//! What is not Rust, pinned and installed outside the clone.

/// Apache Kafka, through Maven.
pub mod kafka;
/// An S3 server, through Go.
pub mod s3;
/// Python and its packages, through pip.
pub mod python;
/// A browser, from the system's packages.
pub mod chromium;

use std::env;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{command, say};

/// What was found or installed. `None` was skipped, and the person was told why.
pub struct Tools {
    /// Apache Kafka.
    pub kafka: Option<kafka::Install>,
    /// The S3 server.
    pub s3: Option<s3::Install>,
    /// A Python with the packages of `tests/e2e/requirements.txt`.
    pub python: Option<python::Venv>,
    /// Chromium's executable.
    pub chromium: Option<chromium::Browser>,
}

impl Tools {
    /// Installs everything.
    ///
    /// # Errors
    /// In CI, when something cannot be had; elsewhere that is skipped with a line that says why.
    pub fn install_all() -> Result<Self> {
        Ok(Self {
            python: or_skip("Python suites", python::install())?,
            chromium: or_skip("tests in a browser", chromium::install())?,
            ..Self::install_servers()?
        })
    }

    /// Installs Kafka and the S3 server alone.
    ///
    /// # Errors
    /// As [`Self::install_all`].
    pub fn install_servers() -> Result<Self> {
        Ok(Self {
            kafka: or_skip("tests on Kafka", kafka::install())?,
            s3: or_skip("tests on S3", s3::install())?,
            python: None,
            chromium: None,
        })
    }
}

/// Whether this is a machine where nothing may be left out.
pub fn is_ci() -> bool {
    env::var_os("CI").is_some()
}

/// Outside CI, a part that cannot be installed is left out, and said to be.
fn or_skip<T>(what: &str, installed: Result<T>) -> Result<Option<T>> {
    match installed {
        Ok(part) => Ok(Some(part)),
        Err(error) if is_ci() => Err(error.context(format!("{what} need it, and in CI nothing is skipped"))),
        Err(error) => {
            say(&format!("skipped: {what}: {error:#}"));
            Ok(None)
        }
    }
}

/// Makes sure a program is there: found on `PATH`, or, in CI, installed from Debian's packages.
/// On a person's machine nothing is installed system-wide.
fn require(program: &str, debian_packages: &[&str]) -> Result<std::path::PathBuf> {
    if let Some(found) = command::find(program) {
        return Ok(found);
    }
    if !is_ci() {
        bail!("`{program}` is not on PATH (Debian: apt-get install {})", debian_packages.join(" "));
    }
    apt_install(debian_packages)?;
    command::find(program).ok_or_else(|| anyhow::anyhow!("{debian_packages:?} brought no `{program}`"))
}

fn apt_install(packages: &[&str]) -> Result<()> {
    command::run(Command::new("apt-get").args(["-qq", "update"]))?;
    let install = ["-qq", "-y", "--no-install-recommends", "install"];
    command::run(
        Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(install).args(packages),
    )
}
