//! A copy of the sources to plant bugs in. It stays, with what was built from it: the next run builds little.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::patch::{Mutation, Target};
use super::run::TestBinary;
use crate::workspace;

/// The copy, `target/mutants/tree`, and its own build folder beside it.
pub(super) struct Tree {
    root: PathBuf,
    built: PathBuf,
}

impl Tree {
    /// The sources as they are now. Files that have not changed are left alone, so that they are not built again.
    pub(super) fn fresh() -> anyhow::Result<Self> {
        let folder = std::path::absolute(workspace::target())?.join("mutants");
        let tree = Self { root: folder.join("tree"), built: folder.join("target") };
        let sources = sources()?;
        for name in &sources {
            let (from, to) = (workspace::root().join(name), tree.root.join(name));
            let wanted = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
            if !fs::read(&to).is_ok_and(|there| there == wanted) {
                fs::create_dir_all(to.parent().context("a file has a folder")?)?;
                fs::write(&to, wanted).with_context(|| format!("writing {}", to.display()))?;
            }
        }
        remove_others(&tree.root, &tree.root, &sources)?;
        Ok(tree)
    }

    /// Whether the patch still fits.
    pub(super) fn takes(&self, mutation: &Mutation) -> bool {
        apply(&self.root, mutation, &["--check"]).is_ok()
    }

    pub(super) fn plant(&self, mutation: &Mutation) -> anyhow::Result<()> {
        apply(&self.root, mutation, &[])
    }

    pub(super) fn undo(&self, mutation: &Mutation) -> anyhow::Result<()> {
        apply(&self.root, mutation, &["--reverse"])
    }

    /// Builds the tests of a target; none if the compiler refuses.
    pub(super) fn build(
        &self,
        package: &str,
        target: &Target,
    ) -> anyhow::Result<Option<TestBinary>> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["test", "--no-run", "--quiet", "--message-format=json", "-p", package]);
        command.args(target.arguments()).current_dir(&self.root);
        command.env("CARGO_TARGET_DIR", &self.built);
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "1");
        let output = command.output().context("starting cargo")?;
        if !output.status.success() {
            print_errors(&output.stdout);
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            return Ok(None);
        }
        let binary = TestBinary::among(&output.stdout, &self.built.with_file_name("output.txt"));
        binary.with_context(|| format!("{package} {target} builds no tests")).map(Some)
    }
}

/// `git apply` of a patch in a folder that need not be a repository.
pub(super) fn apply(root: &Path, mutation: &Mutation, how: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("git");
    command.arg("apply").args(how).arg(&mutation.path).current_dir(root);
    // Below a repository it would take the paths of the patch for those of that one.
    command.env("GIT_CEILING_DIRECTORIES", root.parent().unwrap_or(root));
    let output = command.output().context("starting git")?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", mutation.name, why.trim());
    Ok(())
}

/// What git knows of, and what is new and not ignored.
fn sources() -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut command = Command::new("git");
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = command.current_dir(workspace::root()).output().context("starting git")?;
    ensure!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).context("a file name is not UTF-8")?;
    let names = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    Ok(names.filter(|name| workspace::root().join(name).is_file()).collect())
}

/// A file that was removed must not be built any more.
fn remove_others(folder: &Path, root: &Path, kept: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.strip_prefix(root)?;
        if path.is_dir() {
            remove_others(&path, root, kept)?;
        } else if !kept.contains(name) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// What the compiler said, out of cargo's messages.
fn print_errors(messages: &[u8]) {
    for line in String::from_utf8_lossy(messages).lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        if message.pointer("/message/level").is_some_and(|level| level == "error")
            && let Some(text) = message.pointer("/message/rendered").and_then(|text| text.as_str())
        {
            eprint!("{text}");
        }
    }
}
