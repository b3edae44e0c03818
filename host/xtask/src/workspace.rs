//! Where things are, and cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The top folder of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs cargo in the top folder.
pub(crate) fn cargo(args: &[&str]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo).args(args).current_dir(root()))
}

/// Runs a command and fails if it does.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// The plugin as it is shipped: small and on std alone. Answers its path.
pub(crate) fn build_plugin() -> anyhow::Result<PathBuf> {
    let package =
        ["build", "--quiet", "--profile", "plugin", "-p", "tenure-cni", "--no-default-features"];
    cargo(&[&package[..], &["--bin", "tenure-ipam"]].concat())?;
    Ok(target().join("plugin/tenure-ipam"))
}

/// Daemon and command line in a profile (`dev` or `release`). Answers their folder.
pub(crate) fn build_daemon(profile: &str) -> anyhow::Result<PathBuf> {
    let packages = ["build", "--profile", profile, "-p", "tenure-daemon", "-p", "tenure-cli"];
    cargo(&packages)?;
    Ok(target().join(if profile == "dev" { "debug" } else { profile }))
}
