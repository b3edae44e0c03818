//! The foreign programs that tests, demo and benchmarks need, as Go modules at pinned versions, built into
//! `target/tools/bin`. Nothing of it is committed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::workspace;

const PLUGINS: &str = "github.com/containernetworking/plugins";
const PLUGINS_VERSION: &str = "v1.9.1";
const CNITOOL: &str = "github.com/containernetworking/cni/cnitool";
const CNITOOL_VERSION: &str = "v1.3.0";
const FROM_PLUGINS: [&str; 5] =
    ["main/bridge", "main/macvlan", "main/ptp", "main/host-device", "ipam/host-local"];
/// The reference implementation of an OCI registry.
const REGISTRY: &str = "github.com/distribution/distribution/v3/cmd/registry";
const REGISTRY_VERSION: &str = "v3.1.2";
/// The version in `host/xtask/kubernetes/go.mod`.
const KUBERNETES_VERSION: &str = "1.36.3";
const KUBERNETES: [(&str, &str); 2] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
];

/// Installs what is missing and answers the folder.
pub(crate) fn install() -> anyhow::Result<PathBuf> {
    let folder = workspace::target().join("tools/bin");
    std::fs::create_dir_all(&folder)?;
    require("go", "install Go 1.24 or newer: https://go.dev/dl")?;
    let plugins: Vec<String> = FROM_PLUGINS
        .iter()
        .filter(|path| !folder.join(name(path)).exists())
        .map(|path| format!("{PLUGINS}/plugins/{path}@{PLUGINS_VERSION}"))
        .collect();
    if !plugins.is_empty() {
        go_install(&folder, &plugins)?;
    }
    if !folder.join("cnitool").exists() {
        go_install(&folder, &[format!("{CNITOOL}@{CNITOOL_VERSION}")])?;
    }
    Ok(folder)
}

/// Builds the registry that tests of `tenure policy push` and `oci:` sources speak to. Answers its folder.
pub(crate) fn install_registry() -> anyhow::Result<PathBuf> {
    let folder = workspace::target().join("tools/bin");
    std::fs::create_dir_all(&folder)?;
    require("go", "install Go 1.26 or newer: https://go.dev/dl")?;
    if !folder.join("registry").exists() {
        go_install(&folder, &[format!("{REGISTRY}@{REGISTRY_VERSION}")])?;
    }
    Ok(folder)
}

/// Builds etcd and kube-apiserver, as pinned in `host/xtask/kubernetes/go.mod`: a few minutes once. Answers their folder.
pub(crate) fn install_kubernetes() -> anyhow::Result<PathBuf> {
    let folder = workspace::target().join("tools/bin");
    std::fs::create_dir_all(&folder)?;
    require("go", "install Go 1.26 or newer: https://go.dev/dl")?;
    for (name, package) in KUBERNETES {
        let program = folder.join(name);
        if program.exists() {
            continue;
        }
        println!("building {name} into {}; this takes some minutes, once", folder.display());
        let mut command = Command::new("go");
        command.args(["build", "-trimpath", "-ldflags", &link_flags(), "-o"]).arg(&program);
        command.arg(package).env("CGO_ENABLED", "0");
        command.current_dir(workspace::root().join("host/xtask/kubernetes"));
        workspace::run(&mut command).context("it needs a Go module proxy or the module cache")?;
    }
    Ok(folder)
}

/// Without them the API server says that it is version 0.0.0, and compares feature versions with that.
pub(crate) fn link_flags() -> String {
    let mut parts = KUBERNETES_VERSION.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let at = "k8s.io/component-base/version";
    format!(
        "-s -w -X {at}.gitVersion=v{KUBERNETES_VERSION} -X {at}.gitMajor={major} -X {at}.gitMinor={minor}"
    )
}

/// Fails with advice when a program of the machine is missing.
pub(crate) fn require(program: &str, advice: &str) -> anyhow::Result<()> {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()));
    if !found {
        bail!("{program} is not on the PATH; {advice}");
    }
    Ok(())
}

fn go_install(folder: &Path, packages: &[String]) -> anyhow::Result<()> {
    println!("installing {} into {}", packages.join(" "), folder.display());
    let status = Command::new("go")
        .arg("install")
        .args(packages)
        .env("GOBIN", folder)
        .env("CGO_ENABLED", "0")
        // Outside of any module, so that the versions are exactly the ones named.
        .current_dir(std::env::temp_dir())
        .status()
        .context("running go install")?;
    if !status.success() {
        bail!("go install failed; it needs a Go module proxy or the module cache");
    }
    Ok(())
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
