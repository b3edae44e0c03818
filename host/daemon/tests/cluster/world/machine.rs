//! A node of a cluster, as a container runtime sees it.

use super::Cluster;
use crate::lab::runtime::Runtime;

/// Alive while it is kept.
pub struct Machine {
    pub cluster: Cluster,
    pub node: &'static str,
}

// === impl Machine ===

impl Machine {
    /// What calls plugins there.
    pub fn runtime(&self) -> Runtime {
        self.cluster.runtime(self.node)
    }
}
