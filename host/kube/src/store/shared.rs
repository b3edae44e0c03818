//! What many rows say alike, kept once: names of pools, networks and nodes, digests. Each row brings copies of its own, as it is
//! read; without them it takes half the memory.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use tenure_core::lease::{Lease, NodeRef};
use tenure_core::name::{Digest, IfName, NetworkName, PoolName, SpaceName};

/// So many of a kind are kept (I12), then all are forgotten: rows that have theirs keep them.
const BOUND: usize = 16_384;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pools: HashSet<PoolName>,
    spaces: HashSet<SpaceName>,
    networks: HashSet<NetworkName>,
    interfaces: HashSet<IfName>,
    nodes: HashSet<NodeRef>,
    digests: HashSet<Digest>,
    namespaces: HashSet<Arc<str>>,
}

// === impl Shared ===

impl Shared {
    /// The same lease, with what was seen before in place of what is equal to it.
    pub(super) fn share(&mut self, mut lease: Lease) -> Lease {
        one(&mut self.pools, &mut lease.pool);
        one(&mut self.spaces, &mut lease.space);
        one(&mut self.networks, &mut lease.attachment.network);
        one(&mut self.interfaces, &mut lease.attachment.ifname);
        one(&mut self.namespaces, &mut lease.owner.namespace);
        one(&mut self.nodes, &mut lease.node);
        one(&mut self.digests, &mut lease.config);
        lease.decided_by.iter_mut().for_each(|digest| one(&mut self.digests, digest));
        lease.decided_by.shrink_to_fit();
        lease.previous.shrink_to_fit();
        lease
    }
}

fn one<T: Clone + Eq + Hash>(seen: &mut HashSet<T>, it: &mut T) {
    if let Some(known) = seen.get(it) {
        it.clone_from(known);
        return;
    }
    if seen.len() >= BOUND {
        seen.clear();
    }
    seen.insert(it.clone());
}

#[cfg(test)]
mod tests {
    use tenure_store::contract::samples::nth;

    use super::*;

    #[test]
    fn what_two_leases_say_alike_is_kept_once_and_each_stays_what_it_was() {
        let mut shared = Shared::default();
        let node = |name: &str| NodeRef {
            name: name.into(),
            uid: "uid".into(),
            agent: "agent".into(),
            boot: "boot".into(),
        };
        let lease = |n, name| Lease { node: node(name), ..nth(n) };
        let (first, second, other) = (lease(1, "a"), lease(2, "a"), lease(3, "b"));
        let kept = [&first, &second, &other].map(|lease| shared.share(lease.clone()));
        assert_eq!(kept, [first, second, other]);
        assert!(Arc::ptr_eq(&kept[0].node.boot, &kept[1].node.boot));
        assert!(std::ptr::eq(kept[0].pool.as_str(), kept[1].pool.as_str()));
        assert!(!Arc::ptr_eq(&kept[0].node.name, &kept[2].node.name));
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut seen = HashSet::new();
        for n in 0..3 * BOUND {
            one(&mut seen, &mut n.to_string());
        }
        assert!(seen.len() <= BOUND);
    }
}
