//! Kubernetes mode: the two processes of a cluster.
//!
//! ```text
//! agent      on each node: CNI socket, spool, kernel and wire witness; asks the allocators
//! dial       how it finds and trusts them
//! allocator  2 or 3 in a cluster: engine over the Kubernetes API, one of them preferred
//! reception  who is let in for which node, and what the cluster knows of the owner of an ADD
//! nodes      the nodes as operators see them, and their word that one is dead
//! witnesses  what agents, node leases and pods say of holders, as the engine asks
//! ```

pub(crate) mod agent;
pub(crate) mod allocator;
mod dial;
mod nodes;
mod reception;
mod witnesses;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::config::Config;

/// The way to the API server: the file of the configuration, or what Kubernetes gives to a pod.
async fn api_config(config: &Config) -> anyhow::Result<kube::Config> {
    let mut found = match &config.cluster.kubeconfig {
        Some(file) => {
            let read = Kubeconfig::read_from(file)
                .with_context(|| format!("reading cluster.kubeconfig {}", file.display()))?;
            kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("in cluster.kubeconfig {}", file.display()))?
        }
        None => kube::Config::incluster().context(
            "finding the API server as a pod does; outside a pod set cluster.kubeconfig",
        )?,
    };
    // Every caller has its own deadline, and some must know how a single try ended.
    found.default_retry = false;
    Ok(found)
}
