//! Whom a probe asks besides, to know that it is heard.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Entry, Ledger, Slot, Status};

// === impl Ledger ===

impl Ledger {
    /// Up to `limit` held addresses of the pool that were seen on a link. As many nodes as there are take turns, and
    /// that of `last`, who held the address that is asked for, comes last: a node that is away answers for nothing.
    #[must_use]
    pub fn controls(&self, pool: usize, last: Option<&Slot>, limit: usize) -> Vec<IpAddr> {
        let pool = u32::try_from(pool).ok();
        let doubtful = last.map(|slot| slot.node);
        let is_seen = |entry: &Entry| matches!(entry.slot.status, Status::Bound { seen: true, .. });
        let mut by_node: BTreeMap<_, Vec<IpAddr>> = BTreeMap::new();
        for (spot, entry) in self.rows.iter().filter(|(_, e)| e.stock == pool && is_seen(e)) {
            let node = entry.slot.node;
            let of_node = by_node.entry((Some(node) == doubtful, node)).or_default();
            if of_node.len() < limit {
                of_node.push(spot.address);
            }
        }
        let turns = (0..limit).flat_map(|turn| by_node.values().filter_map(move |n| n.get(turn)));
        turns.copied().take(limit).collect()
    }
}
