//! The nodes of the cluster as operators see them, and their word that the machine of one is dead.
//!
//! A row is a machine: name and uid of its Node. A Node that was made anew is another row, and leases that name the old one
//! keep that one in the list until nothing is held there. It is as alive as the agents that are known of it, by their ids: a new
//! machine under the name of a dead one does not speak for that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tenure_api::{
    DeathWord, FenceView, FencedBy, NodeLease, NodeState, NodeView, Nodes, NodesError, NodesFuture,
    Unconfirmed,
};
use tenure_core::judge::NodeSays;
use tenure_core::lease::NodeRef;
use tenure_core::time::Clock;
use tenure_engine::Engine;
use tenure_kube::{Facts, NodeLook, NodeWitness};
use tenure_link::allocator::Sessions;

/// The nodes, as this allocator knows them.
pub(crate) struct ClusterNodes {
    pub(crate) nodes: Arc<NodeWitness>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Name and uid of a Node.
type Machine = (Arc<str>, Arc<str>);

/// What the three sources say of a machine.
#[derive(Debug, Default)]
struct Row {
    exists: bool,
    is_tainted: bool,
    is_connected: bool,
    held: usize,
    /// The agents that hold something there, or speak for it now.
    agents: BTreeSet<Arc<str>>,
}

/// Words of operators by uid, or why they cannot be read now.
type Words = Result<BTreeMap<String, String>, String>;

// === impl ClusterNodes ===

impl ClusterNodes {
    /// Tells the witness of all nodes, for as long as this runs, and takes back the words of operators that were wrong.
    pub(crate) async fn keep_up(self) {
        let mut interval = tokio::time::interval(tenure_core::defaults::HEARTBEAT);
        loop {
            interval.tick().await;
            let named = self.facts.nodes().into_iter().map(|(name, _)| name);
            self.nodes.watch_for(named.chain(self.engine.holding_nodes()));
            for uid in self.nodes.lift_ended(&self.speaking()).await {
                tracing::warn!(%uid, "the word of an operator that this node is dead was taken back: its agent is heard");
            }
        }
    }

    /// The machines whose agents are connected, by every uid that their Nodes had while something was bound there.
    fn speaking(&self) -> Vec<Arc<NodeRef>> {
        let mut speaking: Vec<Arc<NodeRef>> =
            self.sessions.views().into_iter().map(|view| view.node).collect();
        let agents: Vec<Arc<str>> = speaking.iter().map(|node| node.agent.clone()).collect();
        let held = self.engine.held_by_node().into_iter().map(|(node, _)| node);
        speaking.extend(held.filter(|node| agents.contains(&node.agent)));
        speaking
    }

    fn rows(&self) -> BTreeMap<Machine, Row> {
        let mut rows: BTreeMap<Machine, Row> = BTreeMap::new();
        for (name, node) in self.facts.nodes() {
            let row = rows.entry((name, node.uid.clone())).or_default();
            (row.exists, row.is_tainted) = (true, node.is_out_of_service);
        }
        for view in self.sessions.views() {
            let machine = (view.node.name.clone(), view.node.uid.clone());
            let row = rows.entry(machine).or_default();
            row.is_connected = true;
            row.agents.insert(view.node.agent.clone());
        }
        for (node, held) in self.engine.held_by_node() {
            let row = rows.entry((node.name.clone(), node.uid.clone())).or_default();
            row.held = row.held.saturating_add(held);
            row.agents.insert(node.agent.clone());
        }
        rows
    }

    async fn words(&self) -> Words {
        self.nodes.confirmed().await.map_err(|error| error.to_string())
    }

    fn view(&self, (name, uid): &Machine, row: &Row, words: &Words) -> NodeView {
        let look = self.look((name, uid), row);
        NodeView {
            name: name.to_string(),
            uid: uid.to_string(),
            exists: row.exists,
            state: state_of(look.says),
            connected: row.is_connected,
            agent_heard_s: look.heard.map(|ago| ago.as_secs()),
            node_lease: match look.has_lease {
                None => NodeLease::NotRead,
                Some(false) => NodeLease::Absent,
                Some(true) => NodeLease::Present,
            },
            node_lease_silent_s: look.lease_silent.as_secs(),
            fence: fence_of(uid, row, words, &look),
            held: row.held,
        }
    }

    /// What is known of the agents of a machine: of the one that is most alive.
    fn look(&self, (name, uid): (&Arc<str>, &Arc<str>), row: &Row) -> NodeLook {
        let machine = (name.clone(), uid.clone());
        let looks = refs(&machine, row).into_iter().map(|node| self.nodes.look(&node));
        let liveliest = looks.max_by_key(|look| liveliness(look.says));
        liveliest.unwrap_or_else(|| self.nodes.look(&node_ref(name, uid)))
    }

    /// The machine with this uid.
    fn find(&self, uid: &str) -> Result<(Machine, Row), NodesError> {
        let mut rows = self.rows();
        let found = rows.keys().find(|(_, known)| **known == *uid && !uid.is_empty()).cloned();
        if let Some((machine, row)) = found.and_then(|machine| rows.remove_entry(&machine)) {
            return Ok((machine, row));
        }
        let of_name = rows.keys().filter(|(name, _)| **name == *uid);
        let uids: Vec<&str> =
            of_name.map(|(_, uid)| &**uid).filter(|uid| !uid.is_empty()).collect();
        match uids.is_empty() {
            true => Err(NodesError::Unknown { uid: uid.to_owned() }),
            false => Err(NodesError::IsName { name: uid.to_owned(), uids: uids.join(", ") }),
        }
    }

    /// By reads that begin now.
    async fn must_be_silent(&self, (machine, row): &(Machine, Row)) -> Result<(), NodesError> {
        let (name, uid) = machine;
        let node = format!("{name} (uid {uid})");
        let refs = refs(machine, row);
        let said = self.nodes.reread(&refs).await;
        let seconds = self.nodes.lost_time().as_secs();
        match said.into_iter().max_by_key(|says| liveliness(*says)) {
            Some(NodeSays::Fenced | NodeSays::Lost | NodeSays::LostWithMany) => Ok(()),
            Some(NodeSays::Heard) => {
                let ago = self.look((name, uid), row).heard.unwrap_or_default();
                let why = format!(
                    "an agent on {name} was heard {} s ago; if the machine is off, try again once it was silent for {seconds} s",
                    ago.as_secs()
                );
                Err(NodesError::IsHeard { node, why })
            }
            Some(NodeSays::AgentSilent) => {
                let why = format!(
                    "its agent is silent, but its kubelet has renewed the node lease within {seconds} s; if the machine is off, try again then"
                );
                Err(NodesError::IsHeard { node, why })
            }
            Some(NodeSays::Unknown) | None => Err(NodesError::NotEstablished { node, seconds }),
        }
    }

    async fn confirm(&self, uid: &str, word: &DeathWord) -> Result<NodeView, NodesError> {
        let found = self.find(uid)?;
        self.must_be_silent(&found).await?;
        let (machine, row) = found;
        let (by, at) = (&word.by, self.clock.wall().to_rfc3339());
        let by = if by.is_empty() { "an operator" } else { by };
        let text = format!("{} ({by}, {at})", word.reason.trim());
        self.nodes.confirm_dead(uid, &text).await.map_err(|error| unread(&error))?;
        tracing::warn!(node = %machine.0, uid, by, reason = word.reason, "an operator says that a node is dead: what is bound there is given to others");
        // What this replica has not seen does not count: with this read it has.
        self.nodes.reread(&refs(&machine, &row)).await;
        self.engine.note_end();
        let (machine, row) = self.find(uid)?;
        Ok(self.view(&machine, &row, &self.words().await))
    }

    async fn unconfirm(&self, uid: &str) -> Result<Unconfirmed, NodesError> {
        let words = self.nodes.confirmed().await.map_err(|error| unread(&error))?;
        let was_confirmed = words.contains_key(uid);
        if !was_confirmed {
            // A name, or a mistake.
            self.find(uid)?;
        }
        self.nodes.undo(uid).await.map_err(|error| unread(&error))?;
        tracing::warn!(uid, was_confirmed, "an operator takes back that a node is dead");
        Ok(Unconfirmed { was_confirmed })
    }
}

impl Nodes for ClusterNodes {
    fn list(&self) -> NodesFuture<'_, Vec<NodeView>> {
        Box::pin(async {
            let words = self.words().await;
            let rows = self.rows();
            Ok(rows.iter().map(|(machine, row)| self.view(machine, row, &words)).collect())
        })
    }

    fn confirm_dead(&self, uid: String, word: DeathWord) -> NodesFuture<'_, NodeView> {
        Box::pin(async move { self.confirm(&uid, &word).await })
    }

    fn unconfirm_dead(&self, uid: String) -> NodesFuture<'_, Unconfirmed> {
        Box::pin(async move { self.unconfirm(&uid).await })
    }
}

/// The word that stands, or else one that has ended.
fn fence_of(uid: &str, row: &Row, words: &Words, look: &NodeLook) -> Option<FenceView> {
    let seen = |by| look.fences.iter().find(|fence| fence.by == by);
    let fence = |by, theirs, reason: String| {
        let seen = seen(theirs);
        let stands = seen.is_some_and(|seen| !seen.has_ended);
        let counts = stands && look.says == NodeSays::Fenced;
        FenceView { by, reason, seen_s: seen.map(|seen| seen.seen.as_secs()), counts }
    };
    let word = match words {
        Ok(words) => words.get(uid).cloned(),
        Err(why) => seen(tenure_kube::FencedBy::Operator)
            .map(|_| format!("the word of an operator; it cannot be read now: {why}")),
    };
    let operator =
        word.map(|word| fence(FencedBy::Operator, tenure_kube::FencedBy::Operator, word));
    let taint = || {
        let reason = format!("taint {}", tenure_kube::OUT_OF_SERVICE);
        row.is_tainted.then(|| fence(FencedBy::Taint, tenure_kube::FencedBy::Taint, reason))
    };
    match operator {
        Some(operator) if operator.counts => Some(operator),
        operator => taint().filter(|taint| taint.counts || operator.is_none()).or(operator),
    }
}

fn state_of(says: NodeSays) -> NodeState {
    match says {
        NodeSays::Heard => NodeState::Up,
        NodeSays::Unknown => NodeState::Unknown,
        NodeSays::AgentSilent => NodeState::Silent,
        NodeSays::Lost => NodeState::Lost,
        NodeSays::LostWithMany => NodeState::LostWithMany,
        NodeSays::Fenced => NodeState::Fenced,
    }
}

/// The machine by each agent that is known of it; without any, by its name.
fn refs((name, uid): &Machine, row: &Row) -> Vec<Arc<NodeRef>> {
    let of = |agent: &Arc<str>| Arc::new(NodeRef { agent: agent.clone(), ..node_ref(name, uid) });
    match row.agents.is_empty() {
        true => vec![Arc::new(node_ref(name, uid))],
        false => row.agents.iter().map(of).collect(),
    }
}

/// Of two agents of one Node the one that lives speaks for it.
fn liveliness(says: NodeSays) -> u8 {
    match says {
        NodeSays::Heard => 5,
        NodeSays::AgentSilent => 4,
        NodeSays::Unknown => 3,
        NodeSays::LostWithMany => 2,
        NodeSays::Lost => 1,
        NodeSays::Fenced => 0,
    }
}

fn node_ref(name: &Arc<str>, uid: &Arc<str>) -> NodeRef {
    NodeRef { name: name.clone(), uid: uid.clone(), ..NodeRef::default() }
}

fn unread(error: &tenure_kube::Unread) -> NodesError {
    NodesError::Unread { why: error.to_string() }
}
