//! Builds the shipped policies, as `tenure policy build` does.
//!
//! One cargo run per policy: built together, they would share one set of features of the SDK and
//! its dependencies, and so carry code that none of them asked for.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tenure_author::Project;
use tenure_core::name::Digest;

const PROFILE: &str = "policy";

/// A component that was built.
pub(crate) struct Built {
    /// Name of its crate.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its size in bytes.
    pub(crate) size: usize,
    /// Its digest.
    pub(crate) digest: Digest,
}

/// `cargo xtask policies`.
pub(crate) fn run() -> Result<()> {
    for built in build()? {
        let Built { name, path, size, digest } = built;
        println!("{name:<16} {size:>7} B  {digest}  {}", path.display());
    }
    crate::examples::build(&["go".to_owned()])
}

/// Builds every shipped policy into `target/policies`, the cookbook into `target/policies/cookbook` and every test guest into
/// `target/policies/test`. A file whose content stays the same is not touched.
///
/// # Errors
/// The first crate that does not build, or whose module is no policy.
pub(crate) fn build() -> Result<Vec<Built>> {
    let root = root()?;
    let target = target(&root);
    let mut built = Vec::new();
    for (crates, output) in [
        ("policies", "policies"),
        ("sdk/cookbook", "policies/cookbook"),
        ("host/policy/tests/guests", "policies/test"),
    ] {
        let output = target.join(output);
        std::fs::create_dir_all(&output).with_context(|| format!("making {}", output.display()))?;
        for name in names(&root.join(crates))? {
            built.push(build_one(&root, &target, &output, crates, name)?);
        }
    }
    Ok(built)
}

fn build_one(
    root: &Path,
    target: &Path,
    output: &Path,
    crates: &str,
    name: String,
) -> Result<Built> {
    let project = Project {
        folder: root.join(crates).join(&name),
        target: target.to_owned(),
        // Panic texts hold source paths; the builder's own would change the digest from machine to machine.
        remap: vec![(root.to_owned(), "tenure".to_owned())],
        profile: PROFILE.to_owned(),
        offline: false,
        keep_names: false,
        name,
    };
    let component = project.build()?;
    let name = project.name;
    let path = output.join(format!("{name}.wasm"));
    if std::fs::read(&path).ok().as_deref() != Some(&component) {
        std::fs::write(&path, &component).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(Built { name, path, size: component.len(), digest: Digest::of(&component) })
}

/// The crates in a folder, in order; a crate is named like its folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file()
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn root() -> Result<PathBuf> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    let root = Path::new(&own).ancestors().nth(2).context("xtask lies at host/xtask")?;
    Ok(root.to_owned())
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}
