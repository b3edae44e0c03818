//! Where the foreign programs are.

use std::path::{Path, PathBuf};

/// The path of a program that `cargo xtask tools` builds.
///
/// # Panics
/// If it has not been built, naming the command that does it.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(
        path.exists(),
        "{} is missing; build it with `cargo xtask tools`, or run the tests by `cargo xtask test`",
        path.display()
    );
    path
}

fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("TENURE_TOOLS") {
        return folder.into();
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| here.ancestors().nth(2).unwrap().join("target"), PathBuf::from);
    target.join("tools/bin")
}
