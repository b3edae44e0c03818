//! What is known of holders in a cluster, as the engine asks for it.
//!
//! ```text
//! question -> the agent of its node, if it is connected: namespace and link, seen now
//!          -> its node: heard, or what node leases and fences say, read again now
//!          -> its owner: as the watch tells where the kernel says that the holder is gone (it decides when, not whether);
//!             read live where the node is lost (it decides whether)
//! ```

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use tenure_core::judge::{ApiSays, NodeSays};
use tenure_core::lease::{Netns, NodeRef, Owner};
use tenure_core::ports::{
    AddressLook, Census, Kernel, NetnsLook, Question, Sight, Wire, WireLook, WireQuestion,
    WitnessError,
};
use tenure_kube::{Facts, NodeWitness, PodWitness};
use tenure_link::allocator::Sessions;
use tenure_link::messages::Seen;
use tokio::runtime::Handle;

/// So many nodes are named in a message.
const SHOWN: usize = 5;

/// All witnesses of a cluster.
pub(crate) struct Witnesses {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) nodes: Arc<NodeWitness>,
    pub(crate) pods: PodWitness,
    pub(crate) facts: Arc<Facts>,
    /// The engine asks on threads that may block.
    pub(crate) runtime: Handle,
}

impl Witnesses {
    async fn look(&self, questions: &[Question]) -> Vec<Sight> {
        let seen = self.sessions.look(questions).await;
        let nodes = self.look_at_nodes(questions).await;
        let mut sights: Vec<Sight> =
            seen.into_iter().zip(nodes).map(|(seen, node)| sight_of(seen, node)).collect();
        let lost: Vec<usize> = sights
            .iter()
            .enumerate()
            .filter(|(_, sight)| sight.node == NodeSays::Lost)
            .map(|(at, _)| at)
            .collect();
        let owner = |at: usize| questions.get(at).and_then(|question| question.owner.as_ref());
        let (places, owners): (Vec<usize>, Vec<Owner>) =
            lost.into_iter().filter_map(|at| Some((at, owner(at)?.clone()))).unzip();
        for (at, says) in places.into_iter().zip(self.pods.says_live(&owners).await) {
            if let Some(sight) = sights.get_mut(at) {
                sight.api = says;
            }
        }
        for (at, sight) in sights.iter_mut().enumerate() {
            if let (NodeSays::Heard, NetnsLook::Gone, Some(owner)) =
                (sight.node, sight.namespace, owner(at))
            {
                sight.api = self.of_ended(owner);
            }
        }
        sights
    }

    async fn count(&self) -> Census {
        let mut census = self.sessions.census().await;
        let connected: HashSet<Arc<str>> =
            self.sessions.views().into_iter().map(|view| view.node.name.clone()).collect();
        let named = self.facts.nodes().into_iter().map(|(name, _)| name);
        let mut missing: Vec<Arc<str>> = named
            .chain(self.nodes.watched())
            .filter(|name| !connected.contains(name) && !self.is_fenced(name))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let shown: Vec<&str> = missing.iter().take(SHOWN).map(|name| &**name).collect();
            let more = missing.len().saturating_sub(shown.len());
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let why = format!("no agent speaks for node {}{more}", shown.join(", "));
            census.incomplete.get_or_insert(why);
        }
        census
    }

    fn is_fenced(&self, name: &str) -> bool {
        let Some(node) = self.facts.node(name) else { return false };
        let node = NodeRef { name: name.into(), uid: node.uid.clone(), ..NodeRef::default() };
        self.nodes.says(&node) == NodeSays::Fenced
    }

    /// One answer for each question. Nodes that are not heard are read again: something may be destroyed on that word.
    async fn look_at_nodes(&self, questions: &[Question]) -> Vec<NodeSays> {
        let mut known: HashMap<&Arc<NodeRef>, NodeSays> = HashMap::new();
        for question in questions {
            known.entry(&question.node).or_insert_with(|| self.nodes.says(&question.node));
        }
        let quiet: Vec<Arc<NodeRef>> = known
            .iter()
            .filter(|(_, says)| **says != NodeSays::Heard)
            .map(|(node, _)| Arc::clone(node))
            .collect();
        let reread = self.nodes.reread(&quiet).await;
        let now: HashMap<&Arc<NodeRef>, NodeSays> = quiet.iter().zip(reread).collect();
        let says = |question: &Question| {
            let again = now.get(&question.node).or_else(|| known.get(&question.node));
            again.copied().unwrap_or(NodeSays::Unknown)
        };
        questions.iter().map(says).collect()
    }

    /// Of an owner whose namespace has ended on a node that is up. One that is being deleted does not come back, whatever
    /// is left of its own grace: nothing of it runs any more.
    fn of_ended(&self, owner: &Owner) -> ApiSays {
        match self.pods.says_cached(owner) {
            ApiSays::Alive => {
                let pod = self.facts.pod(&owner.namespace, &owner.name);
                let is_ending = pod.is_some_and(|pod| pod.deletion.is_some());
                if is_ending { ApiSays::Overdue } else { ApiSays::Alive }
            }
            says => says,
        }
    }
}

/// A node that is not heard says nothing of its namespaces, even if a session of it still stands.
fn sight_of(seen: Option<Seen>, node: NodeSays) -> Sight {
    let silent = Seen { namespace: NetnsLook::Unknown, link: AddressLook::Unknown };
    let Seen { namespace, link } = seen.filter(|_| node == NodeSays::Heard).unwrap_or(silent);
    Sight { node, namespace, link, api: ApiSays::Nothing }
}

impl Kernel for Witnesses {
    fn identify(&self, _: &Path) -> Result<Netns, WitnessError> {
        Err(no_containers())
    }

    fn hears(&self, node: &NodeRef) -> bool {
        self.sessions.hears(node) && self.nodes.says(node) == NodeSays::Heard
    }

    fn look_at(&self, questions: &[Question]) -> Vec<Sight> {
        self.runtime.block_on(self.look(questions))
    }

    /// Of all nodes. One that the API or a lease names and that does not speak makes it incomplete, unless it is fenced.
    fn census(&self) -> Result<Census, WitnessError> {
        Ok(self.runtime.block_on(self.count()))
    }
}

impl Wire for Witnesses {
    fn probe(&self, question: &WireQuestion) -> WireLook {
        self.runtime.block_on(self.sessions.probe(question.clone()))
    }
}

fn no_containers() -> WitnessError {
    WitnessError::Off { why: "an allocator has no containers of its own".to_owned() }
}
