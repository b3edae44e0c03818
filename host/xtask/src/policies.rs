//! Builds policies: cargo makes a core module, `wit-component` makes a component of it, in process.
//!
//! One cargo run per policy: built together, they would share one set of features of the SDK and
//! its dependencies, and so carry code that none of them asked for.

mod toolchain;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tenure_core::name::Digest;

use toolchain::Toolchain;

const TARGET: &str = "wasm32-unknown-unknown";
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
    Ok(())
}

/// Builds every shipped policy into `target/policies` and every test guest into
/// `target/policies/test`. A file whose content stays the same is not touched.
///
/// # Errors
/// The first crate that does not build, or whose module is no policy.
pub(crate) fn build() -> Result<Vec<Built>> {
    let root = root()?;
    let target = target(&root);
    let toolchain = Toolchain::find()?;
    let mut built = Vec::new();
    for (crates, output) in
        [("policies", "policies"), ("host/policy/tests/guests", "policies/test")]
    {
        let output = target.join(output);
        std::fs::create_dir_all(&output).with_context(|| format!("making {}", output.display()))?;
        for name in names(&root.join(crates))? {
            built.push(build_one(&toolchain, &root, &target, &output, name)?);
        }
    }
    Ok(built)
}

fn build_one(
    toolchain: &Toolchain,
    root: &Path,
    target: &Path,
    output: &Path,
    name: String,
) -> Result<Built> {
    compile(toolchain, root, target, &name)?;
    let file = format!("{}.wasm", name.replace('-', "_"));
    let module = target.join(TARGET).join(PROFILE).join(file);
    let module = std::fs::read(&module).with_context(|| format!("reading {}", module.display()))?;
    let component =
        componentize(&module).with_context(|| format!("making a component of {name}"))?;
    let path = output.join(format!("{name}.wasm"));
    if std::fs::read(&path).ok().as_deref() != Some(&component) {
        std::fs::write(&path, &component).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(Built { name, path, size: component.len(), digest: Digest::of(&component) })
}

fn compile(toolchain: &Toolchain, root: &Path, target: &Path, name: &str) -> Result<()> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo
        .current_dir(root)
        .args(["build", "--quiet", "--profile", PROFILE, "--target", TARGET, "--package", name])
        .args(["--config", &remap(root)])
        .env("CARGO_TARGET_DIR", target)
        // Both replace the flags of `.cargo/config.toml`, and with them the small guest stack.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    toolchain.apply(&mut cargo);
    if !cargo.status().context("starting cargo")?.success() {
        bail!("{name} does not build");
    }
    Ok(())
}

/// Panic texts hold source paths; the builder's own would change the digest from machine to
/// machine. cargo joins this list with that of `.cargo/config.toml`.
fn remap(root: &Path) -> String {
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .unwrap_or_default();
    format!(
        "target.{TARGET}.rustflags = [\"--remap-path-prefix={home}=cargo\", \"--remap-path-prefix={}=tenure\"]",
        root.display()
    )
}

fn componentize(module: &[u8]) -> Result<Vec<u8>> {
    wit_component::ComponentEncoder::default().module(module)?.validate(true).encode()
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
