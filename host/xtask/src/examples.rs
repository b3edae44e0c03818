//! The examples in other languages: each is built by the script beside it, as its reader would.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Folder, component, and the program without which it cannot be built.
const ALL: [(&str, &str, &str); 3] = [
    ("go", "emptiest-go.wasm", "go"),
    ("js", "emptiest-js.wasm", "npm"),
    ("python", "emptiest-python.wasm", "python3"),
];

/// `cargo xtask examples`: builds those that are named, or all, into `target/policies/examples`.
///
/// # Errors
/// One does not build, or its language is not here.
pub(crate) fn build(names: &[String]) -> Result<()> {
    let output = workspace::target().join("policies/examples");
    std::fs::create_dir_all(&output).with_context(|| format!("making {}", output.display()))?;
    let wanted = |name: &str| names.is_empty() || names.iter().any(|one| one == name);
    for (name, component, program) in ALL.into_iter().filter(|(name, ..)| wanted(name)) {
        let folder = workspace::root().join("sdk/examples").join(name);
        let script = folder.join("build.sh");
        // There is no `tenure` yet where the policies are built first.
        let built = Command::new("sh").arg(&script).env("TENURE", "cargo xtask").status();
        if !built.with_context(|| format!("starting {}", script.display()))?.success() {
            bail!("{} failed; it needs {program}", script.display());
        }
        let size = replace(&folder.join("target").join(component), &output.join(component))?;
        println!("{name:<16} {size:>8} B  {}", output.join(component).display());
    }
    Ok(())
}

fn replace(from: &Path, to: &Path) -> Result<u64> {
    std::fs::copy(from, to).with_context(|| format!("copying {}", from.display()))
}
