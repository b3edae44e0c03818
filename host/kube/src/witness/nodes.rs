//! What is to be thought of nodes whose agents are not heard.
//!
//! ```text
//! heard(name)            each word of an agent
//! watch_for(names)       the nodes that leases name
//! every 5 s              node leases of those whose agents are quiet, the operator's fences, taints -> the table
//! says(node)             what the table thinks now; no I/O
//! reread(nodes)          the same after live reads, before something is destroyed on its word
//! ```

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use futures_util::stream::{self, StreamExt as _};
use kube::Client;
use parking_lot::Mutex;
use serde::Deserialize;
use tenure_core::judge::NodeSays;
use tenure_core::lease::NodeRef;
use tenure_core::time::{Clock, Moment};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fences::Fences;
use super::silence::{LeaseSeen, Rules, Span};
use super::table::{FencedBy, Table};
use crate::facts::{Facts, SlimMeta};
use crate::live::{Live, Read, Unread, jittered};

/// Where kubelets renew their leases.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/// Reads at once (I12).
const AT_ONCE: usize = 16;
/// From so many nodes on they are read by a list: hundreds of requests every five seconds would come at the worst of times.
const BY_LIST: usize = 64;
/// Leases in a page of such a list.
const PAGE: u32 = 500;

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
    live: Live,
    fences: Fences,
    facts: Arc<Facts>,
    clock: Arc<dyn Clock>,
    options: NodeOptions,
    /// Never held while something is waited for.
    table: Mutex<Table>,
    /// There is more to look at than before.
    wake: Notify,
}

/// Of a node lease.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SlimLease {
    metadata: SlimMeta,
    spec: SlimLeaseSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SlimLeaseSpec {
    renew_time: String,
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
        let wake = Notify::new();
        let shared = Arc::new(Shared { live, fences, facts, clock, options, table, wake });
        let mut poll = JoinSet::new();
        poll.spawn(shared.clone().poll());
        Self { shared, _poll: poll }
    }

    /// The agent of this node was heard just now.
    pub fn heard(&self, node: &str) {
        let now = self.shared.clock.now();
        self.shared.table.lock().heard(node, now);
    }

    /// These are the nodes that leases name, and no others.
    pub fn watch_for(&self, names: impl IntoIterator<Item = Arc<str>>) {
        self.shared.table.lock().watch_for(names);
    }

    /// What is to be thought of the node, by what was read in the last seconds.
    #[must_use]
    pub fn says(&self, node: &NodeRef) -> NodeSays {
        self.shared.says(node)
    }

    /// When this process first saw the fence that speaks for [`NodeSays::Fenced`], on its own clock: it says nothing about leases
    /// that were bound later.
    #[must_use]
    pub fn fence_seen(&self, node: &NodeRef) -> Option<Moment> {
        self.shared.table.lock().fence(node)
    }

    /// What is to be thought of each of these nodes, in their order, after reads that began with this call: of their leases, and of what
    /// fences them. What could not be read is unknown.
    pub async fn reread(&self, nodes: &[Arc<NodeRef>]) -> Vec<NodeSays> {
        self.shared.reread(nodes).await
    }

    /// Says that the machine of this Node is dead: nothing on it runs, or ever will again. All replicas hear of it, and it
    /// stands until it is undone or its agent is heard.
    ///
    /// # Errors
    /// The API server did not answer in time, or refuses it.
    pub async fn confirm_dead(&self, node_uid: &str, reason: &str) -> Result<(), Unread> {
        self.shared.fences.set(node_uid, reason).await?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Takes that back. That there is none is no error.
    ///
    /// # Errors
    /// The API server did not answer in time, or refuses it.
    pub async fn undo(&self, node_uid: &str) -> Result<(), Unread> {
        self.shared.fences.remove(node_uid).await?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// All machines that operators said to be dead: the uid of the Node, and why.
    ///
    /// # Errors
    /// The API server did not answer in time, or refuses it.
    pub async fn confirmed(&self) -> Result<BTreeMap<String, String>, Unread> {
        self.shared.fences.read().await
    }
}

// === impl Shared ===

impl Shared {
    async fn poll(self: Arc<Self>) {
        loop {
            self.round().await;
            // Whoever wakes it need not wait; else it goes by the clock.
            let _ = timeout(jittered(self.options.every), self.wake.notified()).await;
        }
    }

    async fn round(&self) {
        let due = self.table.lock().due(self.clock.now());
        let leases = async {
            match due.len() {
                0..BY_LIST => {
                    self.read_each(due).await;
                }
                _ => self.read_all(due).await,
            }
        };
        join(leases, self.read_fences()).await;
        self.settle();
    }

    /// Reads the leases of these nodes, and answers whose could be read.
    async fn read_each(&self, names: Vec<Arc<str>>) -> HashSet<Arc<str>> {
        let reads = names.into_iter().map(|name| async {
            let (read, span) = self.timed(self.live.get::<SlimLease>(LEASES, &name)).await;
            let seen = match read {
                Read::Is(lease) => LeaseSeen::from(lease),
                Read::Absent => LeaseSeen::Absent,
                Read::Silent(error) => {
                    tracing::debug!(%error, "a node lease cannot be read");
                    return None;
                }
            };
            self.table.lock().read(&name, seen, span);
            Some(name)
        });
        let reads = stream::iter(reads).buffer_unordered(AT_ONCE);
        reads.filter_map(std::future::ready).collect().await
    }

    /// The same for many: all leases show one moment, and what is not among them is absent.
    async fn read_all(&self, names: Vec<Arc<str>>) {
        let (leases, span) = self.timed(self.list()).await;
        let Some(mut leases) = leases else { return };
        let mut table = self.table.lock();
        for name in names {
            let seen = leases.remove(&*name).map_or(LeaseSeen::Absent, LeaseSeen::from);
            table.read(&name, seen, span);
        }
    }

    async fn list(&self) -> Option<BTreeMap<String, SlimLease>> {
        let (mut leases, mut next) = (BTreeMap::new(), None::<String>);
        loop {
            let page = match self.live.page::<SlimLease>(LEASES, PAGE, next.as_deref()).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(?error, "node leases cannot be listed");
                    return None;
                }
            };
            let (items, _, more) = page.into_parts();
            leases.extend(items.into_iter().map(|lease| (lease.metadata.name.clone(), lease)));
            next = more;
            if next.is_none() {
                return Some(leases);
            }
        }
    }

    async fn timed<T>(&self, read: impl Future<Output = T>) -> (T, Span) {
        let began = self.clock.now();
        let read = read.await;
        (read, Span { began, ended: self.clock.now() })
    }

    /// Taints as the watch tells of them, and what operators say. What cannot be read stays as it was: before anything is
    /// destroyed on its word it is read again.
    async fn read_fences(&self) {
        if self.facts.nodes_are_current() {
            let nodes = self.facts.nodes().into_iter();
            let fenced = nodes.filter(|(_, node)| node.is_out_of_service);
            let uids: Vec<_> = fenced.map(|(_, node)| node.uid.clone()).collect();
            self.table.lock().fenced(FencedBy::Taint, uids, self.clock.now());
        }
        self.read_confirmed().await;
    }

    async fn read_confirmed(&self) -> bool {
        match self.fences.read().await {
            Ok(fences) => {
                let uids = fences.into_keys().map(Arc::from);
                self.table.lock().fenced(FencedBy::Operator, uids, self.clock.now());
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the operator's fences cannot be read");
                false
            }
        }
    }

    fn settle(&self) {
        let present = self.facts.nodes().into_iter().map(|(name, _)| name).collect();
        self.table.lock().settle(present, self.clock.now());
    }

    fn says(&self, node: &NodeRef) -> NodeSays {
        self.table.lock().says(node, self.clock.now())
    }

    async fn reread(&self, nodes: &[Arc<NodeRef>]) -> Vec<NodeSays> {
        let quiet = nodes.iter().filter(|node| self.says(node) != NodeSays::Heard);
        let quiet: HashSet<Arc<str>> = quiet.map(|node| node.name.clone()).collect();
        if quiet.is_empty() {
            return nodes.iter().map(|node| self.says(node)).collect();
        }
        let (read, (confirmed, taints)) = join(
            self.read_each(quiet.iter().cloned().collect()),
            join(self.read_confirmed(), self.reread_taints(&quiet)),
        )
        .await;
        self.settle();
        let says = |node: &Arc<NodeRef>| match self.says(node) {
            NodeSays::Heard => NodeSays::Heard,
            NodeSays::Fenced if !confirmed || !taints.contains(&node.name) => NodeSays::Unknown,
            says if read.contains(&node.name) => says,
            _ => NodeSays::Unknown,
        };
        nodes.iter().map(says).collect()
    }

    /// Reads the Nodes of which the watch says that they are out of service, and answers of whom it is known now whether they are.
    async fn reread_taints(&self, names: &HashSet<Arc<str>>) -> HashSet<Arc<str>> {
        let reads = names.iter().map(|name| async {
            let told = self.facts.node(name).filter(|node| node.is_out_of_service);
            let Some(told) = told else { return Some(name.clone()) };
            let now = self.facts.fetch_node(name).await.ok()?;
            if now.is_none_or(|now| now.uid != told.uid || !now.is_out_of_service) {
                self.table.lock().unfenced(FencedBy::Taint, &told.uid);
            }
            Some(name.clone())
        });
        let reads = stream::iter(reads).buffer_unordered(AT_ONCE);
        reads.filter_map(std::future::ready).collect().await
    }
}

// === impl LeaseSeen ===

impl From<SlimLease> for LeaseSeen {
    fn from(lease: SlimLease) -> Self {
        let SlimLease { metadata, spec } = lease;
        Self::Is { uid: metadata.uid, renewed: spec.renew_time, version: metadata.resource_version }
    }
}
