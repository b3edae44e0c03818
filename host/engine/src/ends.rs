//! Whose holders may have ended since the last sweep. A sweep for them looks at them and at all suspects, not at every row:
//! in a large cluster containers end all the time.
//!
//! It is for speed alone. What is told wrongly or not at all is found by the next regular sweep, which looks at everything.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tenure_core::lease::{LeaseKey, NodeRef};
use tenure_core::ledger::Slot;
use tokio::sync::Notify;

use crate::Engine;

/// Which rows a sweep looks at, besides suspects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All that may have a holder.
    All,
    /// Those of some agents.
    Of(Agents),
}

/// Some agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Agents {
    /// By their ids.
    named: HashSet<Arc<str>>,
    /// And all that are not heard: of their holders others are asked.
    unheard: bool,
}

/// What was told since the last sweep.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Written by whoever tells, taken by the sweep.
    told: Mutex<Scope>,
    pub(crate) notify: Notify,
}

// === impl Scope ===

impl Default for Scope {
    /// Suspects only.
    fn default() -> Self {
        Self::Of(Agents::default())
    }
}

impl Scope {
    /// What either has.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Of(mut agents), Self::Of(more)) => {
                agents.named.extend(more.named);
                agents.unheard |= more.unheard;
                Self::Of(agents)
            }
            (Self::All, _) | (_, Self::All) => Self::All,
        }
    }
}

// === impl Ends ===

impl Ends {
    fn tell(&self, scope: Scope) {
        let mut told = self.told.lock();
        *told = std::mem::take(&mut *told).and(scope);
        drop(told);
        self.notify.notify_one();
    }

    pub(crate) fn take(&self) -> Scope {
        std::mem::take(&mut self.told.lock())
    }
}

impl Engine {
    /// Tells that a network namespace of this machine ended: somebody's holder may be gone.
    pub fn note_end(&self) {
        self.ends.tell(Scope::All);
    }

    /// Tells that one ended on the node of this agent.
    pub fn note_end_of(&self, agent: &Arc<str>) {
        let named = HashSet::from([agent.clone()]);
        self.ends.tell(Scope::Of(Agents { named, unheard: false }));
    }

    /// Tells that an API says something else of owners or nodes. Where an agent is heard, its kernel decides whether a holder is
    /// gone, and suspects are looked at in any case; so only what no agent speaks for is looked at.
    pub fn note_news_of_owners(&self) {
        self.ends.tell(Scope::Of(Agents { named: HashSet::new(), unheard: true }));
    }

    /// The rows of a scope that satisfy `keep`, those of one node together: each agent is asked once for many. Suspects of other
    /// nodes are none of them.
    pub(crate) fn keys_in(&self, scope: &Scope, keep: impl Fn(&Slot) -> bool) -> Vec<LeaseKey> {
        let Scope::Of(agents) = scope else {
            return self.state.lock().ledger.keys_by_node(keep);
        };
        // The witness is asked without the lock.
        let nodes = self.state.lock().ledger.nodes_where(&keep);
        let is_meant = |node: &Arc<NodeRef>| {
            let is_unheard = || agents.unheard && !self.ports.kernel.hears(node);
            agents.named.contains(&node.agent) || is_unheard()
        };
        let nodes: HashSet<Arc<NodeRef>> = nodes.into_iter().filter(is_meant).collect();
        if nodes.is_empty() {
            return Vec::new();
        }
        let state = self.state.lock();
        let ledger = &state.ledger;
        ledger.keys_by_node(|slot| keep(slot) && nodes.contains(&ledger.node(slot)))
    }
}
