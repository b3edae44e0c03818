//! What is to be thought of nodes whose agents are not heard.
//!
//! ```text
//! heard(node)            each word of an agent
//! watch_for(names)       the nodes that leases name
//! every 5 s              node leases of those whose agents are quiet, the operator's fences, taints -> the table
//! says(node)             what the table thinks now; no I/O
//! reread(nodes)          the same after live reads, before something is destroyed on its word
//! ```

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use parking_lot::Mutex;
use tenure_core::judge::NodeSays;
use tenure_core::lease::NodeRef;
use tenure_core::time::{Clock, Moment};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fences::Fences;
use super::look::NodeLook;
use super::reader::Reader;
use super::silence::Rules;
use super::table::{FencedBy, Table};
use crate::facts::Facts;
use crate::live::{Live, Unread};
use crate::store::calls::jittered;

/// Settings of the witness.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The namespace of the allocator, in which the operator's fences stand.
    pub namespace: String,
    /// Who is silent for so long is lost: as long as Kubernetes waits for a node (`node-monitor-grace-period`).
    pub lost: Duration,
    /// How often node leases are read.
    pub every: Duration,
    /// Reads count together if not more than this lies between the beginning of one and the end of the next.
    pub close: Duration,
    /// How long one request may take.
    pub call_deadline: Duration,
}

/// The witness of nodes, for as long as this is kept.
pub struct NodeWitness {
    shared: Arc<Shared>,
    /// Ends with the witness.
    _poll: JoinSet<()>,
}

struct Shared {
    reader: Reader,
    lost: Duration,
    every: Duration,
    /// There is more to look at than before.
    wake: Notify,
}

// === impl NodeOptions ===

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            namespace: "tenure-system".to_owned(),
            lost: Duration::from_secs(40),
            every: Duration::from_secs(5),
            close: Duration::from_secs(15),
            call_deadline: Duration::from_secs(5),
        }
    }
}

// === impl NodeWitness ===

impl NodeWitness {
    /// Begins to look at nodes, on the runtime of the caller. The client should not retry by itself.
    #[must_use]
    pub fn start(
        client: Client,
        facts: Arc<Facts>,
        clock: Arc<dyn Clock>,
        options: NodeOptions,
    ) -> Self {
        let live = Live::new(client, options.call_deadline);
        let fences = Fences::new(live.clone(), &options.namespace, options.call_deadline);
        let table = Mutex::new(Table::new(Rules { lost: options.lost, close: options.close }));
        let reader = Reader { live, fences, facts, clock, table };
        let shared = Arc::new(Shared {
            reader,
            lost: options.lost,
            every: options.every,
            wake: Notify::new(),
        });
        let mut poll = JoinSet::new();
        poll.spawn(shared.clone().poll());
        Self { shared, _poll: poll }
    }

    /// The agent of this node was heard just now.
    pub fn heard(&self, node: &NodeRef) {
        let now = self.shared.reader.clock.now();
        self.shared.reader.table.lock().heard(node, now);
    }

    /// These are the nodes that leases name, and no others.
    pub fn watch_for(&self, names: impl IntoIterator<Item = Arc<str>>) {
        self.shared.reader.table.lock().watch_for(names);
    }

    /// Those of [`NodeWitness::watch_for`].
    #[must_use]
    pub fn watched(&self) -> Vec<Arc<str>> {
        self.shared.reader.table.lock().watched()
    }

    /// What is to be thought of the node, by what was read in the last seconds.
    #[must_use]
    pub fn says(&self, node: &NodeRef) -> NodeSays {
        self.shared.says(node)
    }

    /// When this process first saw the fence that speaks for [`NodeSays::Fenced`], on its own clock: it says nothing about
    /// leases that were bound later.
    #[must_use]
    pub fn fence_seen(&self, node: &NodeRef) -> Option<Moment> {
        self.shared.reader.table.lock().fence(node)
    }

    /// What is to be thought of each of these nodes, in their order, after reads that began with this call: of their
    /// leases, and of what fences them. What could not be read is unknown.
    pub async fn reread(&self, nodes: &[Arc<NodeRef>]) -> Vec<NodeSays> {
        self.shared.reread(nodes).await
    }

    /// Says that the machine of this Node is dead: nothing on it runs, or ever will again. All replicas hear of it, and it
    /// stands until it is undone or its agent is heard.
    ///
    /// # Errors
    /// The API server did not answer in time, or refuses it.
    pub async fn confirm_dead(&self, node_uid: &str, reason: &str) -> Result<(), Unread> {
        self.shared.reader.fences.set(node_uid, reason).await?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Takes that back. That there is none is no error.
    ///
    /// # Errors
    /// The API server did not answer in time, or refuses it.
    pub async fn undo(&self, node_uid: &str) -> Result<(), Unread> {
        self.shared.reader.fences.remove(node_uid).await?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Takes back the words of operators about these nodes whose agents were heard since: else a process that begins later
    /// would see the fence and not know that it has ended. Answers the uids; what could not be taken back now stays for the
    /// next time.
    pub async fn lift_ended(&self, nodes: &[Arc<NodeRef>]) -> Vec<Arc<str>> {
        let ended: HashSet<Arc<str>> = {
            let table = self.shared.reader.table.lock();
            let has_ended = |node: &&Arc<NodeRef>| {
                let by = FencedBy::Operator;
                table.fence_by(by, node).is_some() && table.stands(by, node).is_none()
            };
            nodes.iter().filter(has_ended).map(|node| node.uid.clone()).collect()
        };
        let mut lifted = Vec::new();
        for uid in ended {
            match self.undo(&uid).await {
                Ok(()) => lifted.push(uid),
                Err(error) => tracing::debug!(%error, %uid, "a fence that has ended stays for now"),
            }
        }
        lifted
    }

    /// Who is silent for so long is lost.
    #[must_use]
    pub fn lost_time(&self) -> Duration {
        self.shared.lost
    }

    /// What is known of a node, for operators.
    #[must_use]
    pub fn look(&self, node: &NodeRef) -> NodeLook {
        let reader = &self.shared.reader;
        NodeLook::of(&reader.table.lock(), node, reader.clock.now())
    }

    /// All machines that operators said to be dead: the uid of the Node, and why.
    ///
    /// # Errors
    /// The API server did not answer in time, or refuses it.
    pub async fn confirmed(&self) -> Result<BTreeMap<String, String>, Unread> {
        self.shared.reader.fences.read().await
    }
}

// === impl Shared ===

impl Shared {
    async fn poll(self: Arc<Self>) {
        loop {
            self.reader.read_due().await;
            // Whoever wakes it need not wait; else it goes by the clock.
            let _ = timeout(jittered(self.every), self.wake.notified()).await;
        }
    }

    fn says(&self, node: &NodeRef) -> NodeSays {
        self.reader.table.lock().says(node, self.reader.clock.now())
    }

    async fn reread(&self, nodes: &[Arc<NodeRef>]) -> Vec<NodeSays> {
        let quiet = nodes.iter().filter(|node| self.says(node) != NodeSays::Heard);
        let quiet: HashSet<Arc<str>> = quiet.map(|node| node.name.clone()).collect();
        if quiet.is_empty() {
            return nodes.iter().map(|node| self.says(node)).collect();
        }
        let read = self.reader.reread(&quiet).await;
        let fences_of = |name: &Arc<str>| read.confirmed && read.taints.contains(name);
        let says = |node: &Arc<NodeRef>| match self.says(node) {
            NodeSays::Heard => NodeSays::Heard,
            NodeSays::Fenced if !fences_of(&node.name) => NodeSays::Unknown,
            says if read.leases.contains(&node.name) => says,
            _ => NodeSays::Unknown,
        };
        nodes.iter().map(says).collect()
    }
}
