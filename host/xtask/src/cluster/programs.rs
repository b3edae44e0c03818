//! The programs of a cluster: Kubernetes and etcd from `host/xtask/kubernetes/go.mod`, containerd and runc as modules.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::{tools, workspace};

const KUBERNETES: [&str; 4] = ["kube-controller-manager", "kube-scheduler", "kubectl", "kubelet"];
const CONTAINERD: &str = "github.com/containerd/containerd/v2/cmd";
const CONTAINERD_VERSION: &str = "v2.2.9";
const FROM_CONTAINERD: [&str; 3] = ["containerd", "containerd-shim-runc-v2", "ctr"];
const LOOPBACK: &str = "github.com/containernetworking/plugins/plugins/main/loopback";
const LOOPBACK_VERSION: &str = "v1.9.1";
const RUNC: &str = "github.com/opencontainers/runc";
const RUNC_VERSION: &str = "v1.4.3";
/// Programs of the machine, and the packages of Debian that have them.
const OF_THE_MACHINE: [(&str, &str); 8] = [
    ("ip", "install iproute2"),
    ("bridge", "install iproute2"),
    ("nsenter", "install util-linux"),
    ("openssl", "install openssl"),
    ("sysctl", "install procps"),
    ("gcc", "install gcc and libc6-dev"),
    ("pkg-config", "install pkg-config and libseccomp-dev"),
    ("arping", "install iputils-arping"),
];

/// Builds what is missing, some 15 minutes at first, and answers the folder.
pub(crate) fn install() -> anyhow::Result<PathBuf> {
    for (program, advice) in OF_THE_MACHINE {
        tools::require(program, advice)?;
    }
    tools::install()?;
    let folder = tools::install_kubernetes()?;
    build_kubernetes(&folder)?;
    for name in FROM_CONTAINERD {
        let package = format!("{CONTAINERD}/{name}@{CONTAINERD_VERSION}");
        go_install(&folder, name, &package, &[("CGO_ENABLED", "0")], "no_btrfs")?;
    }
    let package = format!("{LOOPBACK}@{LOOPBACK_VERSION}");
    go_install(&folder, "loopback", &package, &[("CGO_ENABLED", "0")], "")?;
    // It enters namespaces in C. Without libseccomp the profile that the manifests ask for would be refused.
    go_install(
        &folder,
        "runc",
        &format!("{RUNC}@{RUNC_VERSION}"),
        &[("CGO_ENABLED", "1")],
        "seccomp",
    )
    .context("runc needs gcc and libseccomp-dev")?;
    Ok(folder)
}

/// All missing ones in one run: they share nearly everything.
fn build_kubernetes(folder: &Path) -> anyhow::Result<()> {
    let missing: Vec<_> = KUBERNETES.iter().filter(|name| !folder.join(name).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("building {missing:?}; this takes some minutes, once");
    // Beside the folder first: a program that stands in the folder is whole.
    let fresh = tempdir(folder)?;
    let mut command = Command::new("go");
    command.args(["build", "-trimpath", "-ldflags", &tools::link_flags(), "-o"]).arg(&fresh);
    command.args(missing.iter().map(|name| format!("k8s.io/kubernetes/cmd/{name}")));
    command.env("CGO_ENABLED", "0").current_dir(workspace::root().join("host/xtask/kubernetes"));
    workspace::run(&mut command).context("it needs a Go module proxy or the module cache")?;
    for name in missing {
        std::fs::rename(fresh.join(name), folder.join(name))
            .with_context(|| format!("putting {name} in place"))?;
    }
    std::fs::remove_dir(&fresh).context("removing the folder of the build")
}

fn go_install(
    folder: &Path,
    name: &str,
    package: &str,
    env: &[(&str, &str)],
    tags: &str,
) -> anyhow::Result<()> {
    if folder.join(name).exists() {
        return Ok(());
    }
    println!("building {name}");
    let mut command = Command::new("go");
    command.args(["install", "-trimpath", "-ldflags", "-s -w", "-tags", tags, package]);
    command.env("GOBIN", folder).envs(env.iter().copied()).current_dir(std::env::temp_dir());
    workspace::run(&mut command)
}

fn tempdir(folder: &Path) -> anyhow::Result<PathBuf> {
    let fresh = folder.with_file_name("fresh");
    std::fs::create_dir_all(&fresh).with_context(|| format!("making {}", fresh.display()))?;
    Ok(fresh)
}
