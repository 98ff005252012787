//! Where things are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command;

/// The clone this program was built from.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// Where installed tools outlive the clone: `LAKER_CACHE`, else `~/.cache/laker`.
pub fn cache() -> Result<PathBuf> {
    if let Some(cache) = env::var_os("LAKER_CACHE") {
        return Ok(cache.into());
    }
    let home = env::var_os("HOME").context("neither LAKER_CACHE nor HOME is set: no place to keep tools")?;
    Ok(Path::new(&home).join(".cache/laker"))
}

/// Cargo's target folder, however it was chosen.
pub fn target() -> Result<PathBuf> {
    let metadata = command::stdout_of(command::cargo().args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata is no JSON")?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target_directory")?;
    Ok(target.into())
}

/// A folder of this run's own for logs and data, in the system's place for temporary files.
/// Folders of runs that ended without removing theirs go first.
pub fn run_folder() -> Result<PathBuf> {
    let parent = env::temp_dir().join("laker-xtask");
    remove_abandoned(&parent)?;
    let folder = parent.join(std::process::id().to_string());
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    Ok(folder)
}

/// Removes the folders of processes that are gone, where the system can say so.
fn remove_abandoned(parent: &Path) -> Result<()> {
    let Ok(folders) = std::fs::read_dir(parent) else { return Ok(()) };
    if !Path::new("/proc/self").exists() {
        return Ok(());
    }
    for folder in folders {
        let folder = folder?.path();
        let owner = folder.file_name().unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("could not remove {}", folder.display()))?;
        }
    }
    Ok(())
}
