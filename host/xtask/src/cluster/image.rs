//! Images without a registry: a program and the libraries that it needs, in one layer.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::Cluster;
use crate::workspace;

/// What the manifests name.
const TENURE: &str = "docker.io/library/tenure:0.1.0";
/// The sandbox of each pod, and the container of the pods of tests: it sleeps and takes no CPU.
pub(crate) const PAUSE: &str = "localhost/pause:1";
const PAUSE_SOURCE: &str = include_str!("pause.c");
/// Begins `tenured` with the boot id of its node.
const BOOT_SOURCE: &str = include_str!("boot.c");

/// Programs of Tenure that have been built.
pub(crate) struct Built {
    /// `tenured`.
    pub(crate) daemon: PathBuf,
    /// `tenure`.
    pub(crate) cli: PathBuf,
    /// `tenure-ipam`.
    pub(crate) plugin: PathBuf,
    /// Folder of the shipped policies.
    pub(crate) policies: PathBuf,
}

/// The image of Tenure.
pub(crate) fn tenure(cluster: &Cluster, built: &Built) -> anyhow::Result<()> {
    let root = fresh(cluster, "tenure")?;
    let bin = root.join("usr/bin");
    std::fs::create_dir_all(bin.join("policies"))?;
    strip(&built.daemon, &bin.join("tenured.real"))?;
    compile(cluster, "boot", BOOT_SOURCE, &bin.join("tenured"))?;
    // The other end of `tenure --cluster`.
    strip(&built.cli, &bin.join("tenure"))?;
    copy(&built.plugin, &bin.join("tenure-ipam"))?;
    for entry in std::fs::read_dir(&built.policies)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            copy(&path, &bin.join("policies").join(name))?;
        }
    }
    let mut needed = libraries(&built.daemon)?;
    needed.extend(libraries(&built.cli)?);
    for library in needed {
        let place = root.join(library.strip_prefix("/").unwrap_or(&library));
        std::fs::create_dir_all(place.parent().unwrap_or(&root))?;
        copy(&library, &place)?;
    }
    pack(cluster, TENURE, &root, r#"{"Env":["PATH=/usr/bin"]}"#)
}

/// Debug information is most of a build for development, and every node unpacks the image.
fn strip(program: &Path, to: &Path) -> anyhow::Result<()> {
    workspace::run(Command::new("strip").arg("--strip-debug").arg("-o").arg(to).arg(program))
}

/// The image of a process that sleeps.
pub(crate) fn pause(cluster: &Cluster) -> anyhow::Result<()> {
    let root = fresh(cluster, "pause")?;
    compile(cluster, "pause", PAUSE_SOURCE, &root.join("pause"))?;
    pack(cluster, PAUSE, &root, r#"{"Entrypoint":["/pause"]}"#)
}

/// A small program without libraries.
fn compile(cluster: &Cluster, name: &str, text: &str, to: &Path) -> anyhow::Result<()> {
    let source = cluster.state.join(format!("{name}.c"));
    std::fs::write(&source, text)?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-Os", "-static", "-s", "-o"]).arg(to).arg(source);
    workspace::run(&mut gcc).context("it needs libc6-dev")
}

/// What the loader would map, the loader itself included.
fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("running ldd")?;
    if !output.status.success() {
        bail!("ldd {} failed", program.display());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn fresh(cluster: &Cluster, name: &str) -> anyhow::Result<PathBuf> {
    let root = cluster.state.join("rootfs").join(name);
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    std::fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
    Ok(root)
}

fn pack(cluster: &Cluster, name: &str, root: &Path, config: &str) -> anyhow::Result<()> {
    workspace::run(cluster.script("image.sh").arg(name).arg(root).arg(config))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::copy(from, to)
        .map(|_| ())
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))
}
