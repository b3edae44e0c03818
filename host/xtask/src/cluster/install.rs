//! Tenure in the cluster: by the manifests that operators apply.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::{Cluster, NODES, until};
use crate::workspace;

const POOL: &str = include_str!("network.yaml");
const CONFLIST: &str = include_str!("10-pods.conflist");
/// Images are unpacked on two cores, three times.
const PATIENCE: Duration = Duration::from_secs(240);

/// Network configuration and CNI plugins of each node, without ours: the agent's pod brings it.
pub(super) fn network(cluster: &Cluster) -> anyhow::Result<()> {
    let (plugins, config) = (cluster.state.join("plugins"), cluster.state.join("net.d"));
    std::fs::create_dir_all(&plugins)?;
    std::fs::create_dir_all(&config)?;
    for name in ["macvlan", "loopback"] {
        copy(&cluster.tools.join(name), &plugins.join(name))?;
    }
    std::fs::write(config.join("10-pods.conflist"), CONFLIST).context("writing the conflist")
}

/// What `deploy/` says, and a pool. No node runs yet.
pub(super) fn manifests(cluster: &Cluster) -> anyhow::Result<()> {
    let deploy = workspace::root().join("deploy");
    let apply = |folder: &str| {
        let mut kubectl = cluster.kubectl();
        kubectl.args(["apply", "--server-side", "-f"]).arg(deploy.join(folder));
        workspace::run(kubectl.stdout(std::process::Stdio::null()))
    };
    apply("crds")?;
    cluster.ask(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])?;
    apply("kubernetes")?;
    cluster.apply(POOL)
}

/// Until the nodes are ready and Tenure runs on them.
pub(super) fn wait(cluster: &Cluster) -> anyhow::Result<()> {
    until("all nodes are ready", PATIENCE, || {
        let nodes = cluster.list(&["nodes"])?;
        Ok(nodes.iter().filter(|node| is_ready(node)).count() == NODES.len())
    })?;
    for what in ["daemonset/tenure-agent", "deployment/tenure-allocator"] {
        until(&format!("{what} is rolled out"), PATIENCE, || {
            cluster.ask(&["-n", "tenure-system", "rollout", "status", what, "--timeout=10s"])?;
            Ok(true)
        })?;
    }
    Ok(())
}

/// Whether a Node or a Pod says that it is ready.
pub(crate) fn is_ready(object: &serde_json::Value) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(serde_json::Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition.get("type").is_some_and(|kind| kind == "Ready")
            && condition.get("status").is_some_and(|status| status == "True")
    })
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::copy(from, to)
        .map(|_| ())
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))
}
