//! A browser, from the system's packages, and the fonts a page needs.

use std::path::PathBuf;

use anyhow::Result;

use super::require;

/// Chromium and fonts for Latin, Korean and emoji, without which a screenshot shows boxes.
const DEBIAN_PACKAGES: [&str; 4] =
    ["chromium", "fonts-dejavu-core", "fonts-noto-cjk", "fonts-noto-color-emoji"];

/// A Chromium.
pub struct Browser {
    /// Its executable.
    pub program: PathBuf,
}

/// Finds Chromium on `PATH`; in CI installs it.
pub fn install() -> Result<Browser> {
    Ok(Browser { program: require("chromium", &DEBIAN_PACKAGES)? })
}
