//! Which agents have spoken under one node's name.
//!
//! A machine is its agent: the random id in its state folder (DESIGN section 5). Another id under the name is another
//! machine, put in the place of the first; it says nothing of the first one, and the node lease, which it renews, says nothing
//! of that either. Where two live machines wear one name by mistake, both are heard, and neither is ever silent.

use std::sync::Arc;
use std::time::Duration;

use tenure_core::lease::NodeRef;
use tenure_core::time::Moment;

/// So many are remembered of one name (I12).
const REMEMBERED: usize = 8;

/// Those who spoke, the last one at the end.
#[derive(Debug, Default)]
pub(crate) struct Speakers {
    spoke: Vec<Word>,
    /// For how long the last one was heard, and nobody else was.
    alone: Duration,
}

/// The last word of an agent.
#[derive(Debug)]
struct Word {
    agent: Arc<str>,
    /// The uid of the Node that it spoke for.
    uid: Arc<str>,
    at: Moment,
}

/// Another machine under the name of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Successor {
    /// For how long it was heard, and nobody else was.
    pub(crate) alone: Duration,
    /// It speaks for the same Node object: whoever fences that does not say which machine he means.
    pub(crate) is_same_node: bool,
}

// === impl Speakers ===

impl Speakers {
    /// An agent speaks. What lies between two words counts if they are close.
    pub(crate) fn heard(&mut self, node: &NodeRef, now: Moment, close: Duration) {
        match self.spoke.last_mut() {
            Some(last) if last.agent == node.agent => {
                let between = now.since(last.at);
                if between <= close {
                    self.alone = self.alone.saturating_add(between);
                }
                (last.at, last.uid) = (now, node.uid.clone());
            }
            _ => {
                self.spoke.retain(|word| word.agent != node.agent);
                if self.spoke.len() >= REMEMBERED {
                    self.spoke.remove(0);
                }
                let (agent, uid) = (node.agent.clone(), node.uid.clone());
                self.spoke.push(Word { agent, uid, at: now });
                self.alone = Duration::ZERO;
            }
        }
    }

    /// Who speaks in the place of this machine; none if it spoke last, or nobody did, or if it is not said which is meant.
    pub(crate) fn in_place_of(&self, node: &NodeRef) -> Option<Successor> {
        let last = self.spoke.last()?;
        let is_other = !node.agent.is_empty() && last.agent != node.agent;
        is_other.then(|| Successor { alone: self.alone, is_same_node: last.uid == node.uid })
    }

    /// When this agent spoke last, or may have: what was forgotten was before what is remembered.
    pub(crate) fn last_heard(&self, agent: &str) -> Option<Moment> {
        let known = self.spoke.iter().find(|word| *word.agent == *agent);
        let oldest = || self.spoke.first().filter(|_| self.spoke.len() >= REMEMBERED);
        known.or_else(oldest).map(|word| word.at)
    }
}
