//! The crate of a policy: found, and built by cargo to a core module.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::component::{componentize, without_names};
use crate::error::AuthorError;
use crate::json::at;
use crate::toolchain::{TARGET, Toolchain};

/// A crate that builds to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The folder of its `Cargo.toml`.
    pub folder: PathBuf,
    /// Its name.
    pub name: String,
    /// Where cargo builds.
    pub target: PathBuf,
    /// Source paths that shall not stand in panic texts, and what stands there instead: the same source gives the same
    /// component on any machine.
    pub remap: Vec<(PathBuf, String)>,
    /// The profile of cargo.
    pub profile: String,
    /// No network.
    pub offline: bool,
    /// Names of functions stay in, for profiles and traces.
    pub keep_names: bool,
}

// === impl Project ===

impl Project {
    /// The crate in a folder, or in the nearest one above it.
    ///
    /// # Errors
    /// There is none, cargo cannot read it, or it makes no `cdylib`.
    pub fn find(folder: &Path) -> Result<Self, AuthorError> {
        let folder = folder.canonicalize().map_err(AuthorError::file("reading", folder))?;
        let manifest = folder.ancestors().map(|at| at.join("Cargo.toml")).find(|at| at.is_file());
        let manifest = manifest.ok_or_else(|| {
            let hint = "make one with `tenure policy new NAME --hooks select`";
            AuthorError::Wrong(format!("no Cargo.toml in {} or above; {hint}", folder.display()))
        })?;
        let told = metadata(&manifest)?;
        let package = package(&told, &manifest)?;
        let text = |value: &Value, pointer: &str| {
            at(value, pointer).as_str().unwrap_or_default().to_owned()
        };
        let folder = manifest.parent().unwrap_or(Path::new("/")).to_owned();
        let name = text(package, "/name");
        Ok(Self {
            remap: vec![(folder.clone(), name.clone())],
            name,
            folder,
            target: PathBuf::from(text(&told, "/target_directory")),
            profile: "release".to_owned(),
            offline: false,
            keep_names: false,
        })
    }

    /// Where its fixtures are.
    #[must_use]
    pub fn fixtures(&self) -> PathBuf {
        self.folder.join("fixtures")
    }

    /// Where `tenure policy build` puts the component.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.target.join(format!("{}.wasm", self.name))
    }

    /// Has cargo build the module, and makes a component of it. What cargo says goes to standard error.
    ///
    /// # Errors
    /// No compiler for Wasm, it does not build, or it is no policy.
    pub fn build(&self) -> Result<Vec<u8>, AuthorError> {
        let mut cargo = self.cargo();
        Toolchain::find()?.apply(&mut cargo);
        let done = cargo.status().map_err(AuthorError::starting_cargo)?;
        if !done.success() {
            return Err(AuthorError::Build { what: self.name.clone() });
        }
        let file = format!("{}.wasm", self.name.replace('-', "_"));
        let path = self.target.join(TARGET).join(&self.profile).join(file);
        let module = std::fs::read(&path).map_err(AuthorError::file("reading", path))?;
        let module = if self.keep_names { module } else { without_names(&self.name, &module)? };
        componentize(&self.name, &module)
    }

    fn cargo(&self) -> Command {
        let mut cargo = Command::new(program());
        cargo
            .current_dir(&self.folder)
            .args(["build", "--quiet", "--target", TARGET, "--package", &self.name])
            .args(["--profile", &self.profile])
            .args(["--config", &self.rustflags()])
            .env("CARGO_TARGET_DIR", &self.target)
            // Names are taken out afterwards, or kept.
            .env(format!("CARGO_PROFILE_{}_STRIP", self.profile.to_uppercase()), "none")
            .env(format!("CARGO_PROFILE_{}_DEBUG", self.profile.to_uppercase()), "0")
            // Both replace the flags of `.cargo/config.toml`, and with them the small guest stack.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .stdout(Stdio::null());
        if self.offline {
            cargo.arg("--offline");
        }
        cargo
    }

    /// cargo joins this list with that of `.cargo/config.toml`.
    fn rustflags(&self) -> String {
        let home = std::env::var("CARGO_HOME")
            .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
        let home = home.map(|home| (PathBuf::from(home), "cargo".to_owned())).ok();
        let flag = |(from, to): &(PathBuf, String)| {
            format!("\"--remap-path-prefix={}={to}\"", from.display())
        };
        let flags: Vec<String> = home.iter().chain(&self.remap).map(flag).collect();
        format!("target.{TARGET}.rustflags = [{}]", flags.join(", "))
    }
}

fn program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn metadata(manifest: &Path) -> Result<Value, AuthorError> {
    let mut cargo = Command::new(program());
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let output = cargo.output().map_err(AuthorError::starting_cargo)?;
    let wrong = |why: String| AuthorError::Document { path: manifest.to_owned(), why };
    if !output.status.success() {
        return Err(wrong(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| wrong(error.to_string()))
}

/// The package of the manifest, which must make a `cdylib`.
fn package<'a>(told: &'a Value, manifest: &Path) -> Result<&'a Value, AuthorError> {
    let wrong =
        |why: &str| AuthorError::Document { path: manifest.to_owned(), why: why.to_owned() };
    let all = at(told, "/packages").as_array().map(Vec::as_slice).unwrap_or_default();
    let own = all
        .iter()
        .find(|package| at(package, "/manifest_path").as_str().map(Path::new) == Some(manifest));
    let own =
        own.ok_or_else(|| wrong("it is a workspace; name the folder of the policy's own crate"))?;
    let targets = at(own, "/targets").as_array().map(Vec::as_slice).unwrap_or_default();
    let is_cdylib = |target: &Value| {
        at(target, "/crate_types")
            .as_array()
            .is_some_and(|types| types.iter().any(|t| t == "cdylib"))
    };
    if targets.iter().any(is_cdylib) {
        return Ok(own);
    }
    Err(wrong("it makes no Wasm module; add `[lib]` with `crate-type = [\"cdylib\"]`"))
}
