//! All nodes: what is said of each, by its own silence, its fence, and how many others are lost.
//!
//! ```text
//! its agent was heard within the lost time                          -> Heard
//! for the lost time another agent was heard in its place            -> Lost, or Fenced: see `speakers`
//! not established: see `silence`                                    -> Unknown
//! agent silent, node lease changes                                  -> AgentSilent
//! both silent, fenced, and no agent heard since the fence was seen  -> Fenced
//! both silent                                                       -> Lost, or LostWithMany
//! ```
//!
//! The first that applies, as in the table of the design. So a fence needs an established silence, too: a machine whose
//! kubelet renews its lease is not off, whoever says so; and a process that has just begun sees a fence that a heard agent
//! has ended long ago, and does not know it.
//!
//! Many: three or more nodes were lost within one lost time, and they are a third or more of the nodes that were not lost
//! before. Then more likely it is us, or the network between, that is cut off. Each of them stays so until it returns:
//! that is, until its own agent is heard or its own lease changes. Whoever is silent for half of the lost time counts with
//! those that are lost just now: of nodes that are cut off at once the first would else be lost alone for some seconds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tenure_core::judge::NodeSays;
use tenure_core::lease::NodeRef;
use tenure_core::time::Moment;

use super::silence::{LeaseSeen, Quiet, Rules, Silence, Span};
use super::speakers::{Speakers, Successor};

/// So many lost nodes are many, if they are a third.
const MANY: usize = 3;
/// An agent that was not heard for this part of the lost time is looked after: if it began only when the lost time is
/// over, a silence would take twice as long to establish. Two heartbeats fit in.
const LOOKED_AFTER: u32 = 4;

/// Who says that a machine is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FencedBy {
    /// The taint of its Node.
    Taint,
    /// The operator.
    Operator,
}

/// All nodes.
#[derive(Debug)]
pub(crate) struct Table {
    rules: Rules,
    nodes: HashMap<Arc<str>, Node>,
    /// By uid of the Node: when this process first saw the fence.
    fences: HashMap<(FencedBy, Arc<str>), Moment>,
    /// Nodes that there are, as far as is known.
    present: HashSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Node {
    silence: Silence,
    speakers: Speakers,
    /// Leases name it.
    is_watched: bool,
    lost: Option<Lost>,
}

#[derive(Debug, Clone, Copy)]
struct Lost {
    /// When that was established.
    since: Moment,
    /// It was lost with many.
    is_of_many: bool,
    /// It is lost, and many seem to follow.
    is_first_of_many: bool,
}

// === impl Table ===

impl Table {
    pub(crate) fn new(rules: Rules) -> Self {
        let (nodes, fences) = (HashMap::new(), HashMap::new());
        Self { rules, nodes, fences, present: HashSet::new() }
    }

    /// These are the nodes that leases name.
    pub(crate) fn watch_for(&mut self, names: impl IntoIterator<Item = Arc<str>>) {
        for node in self.nodes.values_mut() {
            node.is_watched = false;
        }
        for name in names {
            self.nodes.entry(name).or_default().is_watched = true;
        }
    }

    /// Those that leases name.
    pub(crate) fn watched(&self) -> Vec<Arc<str>> {
        let watched = self.nodes.iter().filter(|(_, node)| node.is_watched);
        watched.map(|(name, _)| name.clone()).collect()
    }

    /// An agent speaks for its node.
    pub(crate) fn heard(&mut self, speaker: &NodeRef, now: Moment) {
        let node = self.nodes.entry(speaker.name.clone()).or_default();
        node.speakers.heard(speaker, now, self.rules.close);
        node.silence.heard(now);
        node.lost = None;
    }

    /// Whose leases are to be read.
    pub(crate) fn due(&self, now: Moment) -> Vec<Arc<str>> {
        let within = self.rules.lost / LOOKED_AFTER;
        let is_due = |node: &Node| node.is_watched && !node.silence.is_heard(now, within);
        self.nodes.iter().filter(|(_, node)| is_due(node)).map(|(name, _)| name.clone()).collect()
    }

    /// A lease was read.
    pub(crate) fn read(&mut self, name: &str, seen: LeaseSeen, span: Span) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.silence.read(seen, span, self.rules);
        }
    }

    /// These machines are fenced by these, and no others. A fence that stands on counts from when it was first seen.
    pub(crate) fn fenced(
        &mut self,
        by: FencedBy,
        uids: impl IntoIterator<Item = Arc<str>>,
        now: Moment,
    ) {
        let uids: HashSet<_> = uids.into_iter().collect();
        self.fences.retain(|(known, uid), _| *known != by || uids.contains(uid));
        for uid in uids {
            self.fences.entry((by, uid)).or_insert(now);
        }
    }

    /// This one is not.
    pub(crate) fn unfenced(&mut self, by: FencedBy, uid: &Arc<str>) {
        self.fences.remove(&(by, uid.clone()));
    }

    /// When this process first saw a fence of the node that no agent has ended since.
    pub(crate) fn fence(&self, node: &NodeRef) -> Option<Moment> {
        self.stands(FencedBy::Operator, node).or(self.stands(FencedBy::Taint, node))
    }

    /// The same of one who says so.
    pub(crate) fn stands(&self, by: FencedBy, node: &NodeRef) -> Option<Moment> {
        let heard = self.last_heard(node);
        self.fence_by(by, node).filter(|seen| heard.is_none_or(|heard| heard < *seen))
    }

    /// When this process first saw a fence of the node, whether an agent has ended it since or not.
    pub(crate) fn fence_by(&self, by: FencedBy, node: &NodeRef) -> Option<Moment> {
        let seen = self.fences.get(&(by, node.uid.clone())).copied();
        seen.filter(|_| !node.uid.is_empty())
    }

    /// When the agent of this machine was last heard; any of its name, if it is not said which.
    pub(crate) fn last_heard(&self, node: &NodeRef) -> Option<Moment> {
        let known = self.nodes.get(&node.name)?;
        match node.agent.is_empty() {
            true => known.silence.last_heard(),
            false => known.speakers.last_heard(&node.agent),
        }
    }

    /// How long a node was silent.
    pub(crate) fn silence(&self, name: &str) -> Option<&Silence> {
        self.nodes.get(name).map(|node| &node.silence)
    }

    /// Draws the conclusions of all reads up to now. Nobody is said to be lost before.
    pub(crate) fn settle(&mut self, present: HashSet<Arc<str>>, now: Moment) {
        let lost = self.rules.lost;
        self.present = present;
        // What an agent ended must be remembered for as long as its node may be asked for.
        self.nodes.retain(|name, node| {
            let is_of_use = node.is_watched || self.present.contains(name);
            is_of_use || node.silence.is_heard(now, lost)
        });
        for node in self.nodes.values_mut() {
            node.lost = match node.lost {
                _ if !node.silence.both_for(lost) => None,
                None => Some(Lost { since: now, is_of_many: false, is_first_of_many: false }),
                some => some,
            };
        }
        self.find_many(now);
    }

    fn find_many(&mut self, now: Moment) {
        let lost_time = self.rules.lost;
        let mut times: Vec<Moment> =
            self.nodes.values().filter_map(|node| node.lost).map(|lost| lost.since).collect();
        times.sort_unstable();
        let known = self.known();
        let is_many = |count: usize, before: usize| {
            count >= MANY && count.saturating_mul(3) >= known.saturating_sub(before)
        };
        // Those who were lost within one lost time from this moment on, and those before.
        let count = |from: Moment| {
            let before = times.partition_point(|time| *time < from);
            let until = times.partition_point(|time| *time <= from.plus(lost_time));
            (until - before, before)
        };
        let windows: Vec<Moment> = times
            .iter()
            .copied()
            .filter(|from| {
                let (count, before) = count(*from);
                is_many(count, before)
            })
            .collect();
        let recent = Moment(now.0.saturating_sub(millis(lost_time)));
        let quiet = |node: &&Node| node.lost.is_none() && node.silence.both_for(lost_time / 2);
        let follow = self.nodes.values().filter(quiet).count();
        let (count, before) = count(recent);
        let many_follow = is_many(count + follow, before);
        for lost in self.nodes.values_mut().filter_map(|node| node.lost.as_mut()) {
            let is_in = |from: &Moment| *from <= lost.since && lost.since <= from.plus(lost_time);
            lost.is_of_many |= windows.iter().any(is_in);
            lost.is_first_of_many = many_follow && lost.since >= recent;
        }
    }

    /// How many nodes there are: those that the API shows, those that leases name, those that are heard.
    fn known(&self) -> usize {
        let others = self.nodes.keys().filter(|name| !self.present.contains(*name)).count();
        self.present.len() + others
    }

    /// What is to be thought of the node.
    pub(crate) fn says(&self, node: &NodeRef, now: Moment) -> NodeSays {
        let Some(known) = self.nodes.get(&node.name) else { return NodeSays::Unknown };
        let state = known.silence.state(now, self.rules);
        let successor = known.speakers.in_place_of(node).filter(|_| state == Quiet::Heard);
        if let Some(Successor { alone, is_same_node }) = successor {
            return match self.fence(node) {
                _ if alone < self.rules.lost => NodeSays::Unknown,
                Some(_) if !is_same_node => NodeSays::Fenced,
                _ => NodeSays::Lost,
            };
        }
        match (state, known.lost) {
            (Quiet::Heard, _) => NodeSays::Heard,
            (Quiet::Unclear, _) => NodeSays::Unknown,
            (Quiet::Agent, _) => NodeSays::AgentSilent,
            (Quiet::Both, _) if self.fence(node).is_some() => NodeSays::Fenced,
            (Quiet::Both, None) => NodeSays::Unknown,
            (Quiet::Both, Some(lost)) if lost.is_of_many || lost.is_first_of_many => {
                NodeSays::LostWithMany
            }
            (Quiet::Both, Some(_)) => NodeSays::Lost,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
