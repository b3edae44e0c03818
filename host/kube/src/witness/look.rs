//! What is known of one node, for operators: no judgement rests on it.

use std::time::Duration;

use tenure_core::judge::NodeSays;
use tenure_core::lease::NodeRef;
use tenure_core::time::Moment;

use super::silence::LeaseSeen;
use super::table::{FencedBy, Table};

/// What is known of one node. Times are how long ago something was, on the clock of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLook {
    /// What is to be thought of it.
    pub says: NodeSays,
    /// When its agent was last heard.
    pub heard: Option<Duration>,
    /// Whether there was a node lease when it was last read; none if it was never.
    pub has_lease: Option<bool>,
    /// For how long the node lease was read and did not change.
    pub lease_silent: Duration,
    /// All that say that it is dead.
    pub fences: Vec<FenceLook>,
}

/// A word that a node is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FenceLook {
    /// Whose.
    pub by: FencedBy,
    /// When this process first saw it.
    pub seen: Duration,
    /// An agent was heard since.
    pub has_ended: bool,
}

// === impl NodeLook ===

impl NodeLook {
    pub(super) fn of(table: &Table, node: &NodeRef, now: Moment) -> Self {
        let silence = table.silence(&node.name);
        let last_lease = silence.and_then(|silence| silence.last_lease());
        let fence = |by| {
            let seen = table.fence_by(by, node)?;
            let has_ended = table.stands(by, node).is_none();
            Some(FenceLook { by, seen: now.since(seen), has_ended })
        };
        Self {
            says: table.says(node, now),
            heard: table.last_heard(node).map(|heard| now.since(heard)),
            has_lease: last_lease.map(|lease| *lease != LeaseSeen::Absent),
            lease_silent: silence.map(|silence| silence.lease_silent()).unwrap_or_default(),
            fences: [FencedBy::Operator, FencedBy::Taint].into_iter().filter_map(fence).collect(),
        }
    }
}
