//! What is read about nodes: their leases, and what fences them. All that is read goes into the table at once.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::Arc;

use futures_util::future::join;
use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use serde::Deserialize;
use tenure_core::time::Clock;

use super::fences::Fences;
use super::silence::{LeaseSeen, Span};
use super::table::{FencedBy, Table};
use crate::facts::{Facts, SlimMeta};
use crate::live::{Live, Read};

/// Where kubelets renew their leases.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/// Reads at once (I12).
const AT_ONCE: usize = 16;
/// From so many nodes on they are read by a list: hundreds of requests every few seconds would come at the worst of times.
const BY_LIST: usize = 64;
/// Leases in a page of such a list.
const PAGE: u32 = 500;

/// Reads for the table.
pub(super) struct Reader {
    pub(super) live: Live,
    pub(super) fences: Fences,
    pub(super) facts: Arc<Facts>,
    pub(super) clock: Arc<dyn Clock>,
    /// Never held while something is waited for.
    pub(super) table: Mutex<Table>,
}

/// What could be read again.
pub(super) struct Reread {
    /// Nodes whose leases were.
    pub(super) leases: HashSet<Arc<str>>,
    /// Nodes of which it is known whether they carry the taint.
    pub(super) taints: HashSet<Arc<str>>,
    /// What operators say.
    pub(super) confirmed: bool,
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

// === impl Reader ===

impl Reader {
    /// One round of the poll: of all who are due.
    pub(super) async fn read_due(&self) {
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

    /// Reads all about these nodes that what is said of them rests on.
    pub(super) async fn reread(&self, names: &HashSet<Arc<str>>) -> Reread {
        let leases = self.read_each(names.iter().cloned().collect());
        let taints = self.reread_taints(names.iter().cloned().collect());
        let fences = join(self.read_confirmed(), taints);
        let (leases, (confirmed, taints)) = join(leases, fences).await;
        self.settle();
        Reread { leases, taints, confirmed }
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

    /// Reads the Nodes of which the watch says that they are out of service, and answers of whom it is known now whether
    /// they are.
    async fn reread_taints(&self, names: Vec<Arc<str>>) -> HashSet<Arc<str>> {
        let reads = names.into_iter().map(|name| async {
            let told = self.facts.node(&name).filter(|node| node.is_out_of_service);
            let Some(told) = told else { return Some(name) };
            let now = self.facts.fetch_node(&name).await.ok()?;
            if now.is_none_or(|now| now.uid != told.uid || !now.is_out_of_service) {
                self.table.lock().unfenced(FencedBy::Taint, &told.uid);
            }
            Some(name)
        });
        let reads = stream::iter(reads).buffer_unordered(AT_ONCE);
        reads.filter_map(std::future::ready).collect().await
    }

    fn settle(&self) {
        let present = self.facts.nodes().into_iter().map(|(name, _)| name).collect();
        self.table.lock().settle(present, self.clock.now());
    }
}

// === impl LeaseSeen ===

impl From<SlimLease> for LeaseSeen {
    fn from(lease: SlimLease) -> Self {
        let SlimLease { metadata, spec } = lease;
        Self::Is { uid: metadata.uid, renewed: spec.renew_time, version: metadata.resource_version }
    }
}
