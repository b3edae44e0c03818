//! What the API says at one moment: nodes, pods of the test, leases.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::cluster::{Cluster, is_ready};

/// One look.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Name and whether it is ready.
    pub(crate) nodes: BTreeMap<String, bool>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) leases: Vec<Lease>,
}

/// A pod of the test.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) node: String,
    pub(crate) address: String,
    pub(crate) is_ready: bool,
    /// It is to end.
    pub(crate) is_ending: bool,
    /// Restarts of its containers.
    pub(crate) restarts: u64,
}

/// The record of an address.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) address: String,
    pub(crate) state: String,
    pub(crate) owner: String,
}

// === impl State ===

impl State {
    /// Asks the API.
    pub(crate) fn read(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut this = Self::default();
        for object in cluster.list(&["nodes,pods,ipleases.tenure.dev"])? {
            match text(&object, "/kind") {
                "Node" => {
                    this.nodes.insert(owned(&object, "/metadata/name"), is_ready(&object));
                }
                "Pod" => this.pods.push(Pod::of(&object)),
                _ => this.leases.push(Lease::of(&object)),
            }
        }
        Ok(this)
    }

    /// How many addresses somebody holds.
    pub(crate) fn held(&self) -> usize {
        self.leases.iter().filter(|lease| lease.state == "Bound").count()
    }

    /// How many addresses are in quarantine.
    pub(crate) fn quarantined(&self) -> usize {
        self.leases.iter().filter(|lease| lease.state == "Quarantined").count()
    }

    /// So many pods, all of them ready, on addresses of their own that the leases say are theirs, and nothing else is held.
    pub(crate) fn is_settled(&self, pods: usize) -> bool {
        self.nodes.values().all(|ready| *ready)
            && self.pods.len() == pods
            && self.pods.iter().all(|pod| pod.is_ready && !pod.is_ending)
            && self.held() == pods
            && self.pods.iter().all(|pod| self.owns(pod))
    }

    /// Whether the lease of its address is for this very pod.
    pub(crate) fn owns(&self, pod: &Pod) -> bool {
        let mut of_address = self.leases.iter().filter(|lease| lease.address == pod.address);
        of_address.any(|lease| lease.state == "Bound" && lease.owner == pod.uid)
    }

    /// The pods of one workload.
    pub(crate) fn of<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = &'a Pod> {
        let is_its = move |pod: &&Pod| {
            pod.name.strip_prefix(workload).is_some_and(|rest| rest.starts_with('-'))
        };
        self.pods.iter().filter(is_its)
    }

    pub(crate) fn uids(&self) -> BTreeSet<String> {
        self.pods.iter().map(|pod| pod.uid.clone()).collect()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pods: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for pod in &self.pods {
            let what = match (pod.is_ending, pod.is_ready) {
                (true, _) => "ending",
                (false, true) => "ready",
                (false, false) => "starting",
            };
            let node = if pod.node.is_empty() { "-" } else { &pod.node };
            *pods.entry((node, what)).or_default() += 1;
        }
        for (node, ready) in &self.nodes {
            write!(f, "{node}{} ", if *ready { "" } else { "(lost)" })?;
            for ((_, what), count) in pods.iter().filter(|((at, _), _)| at == node) {
                write!(f, "{count} {what} ")?;
            }
            write!(f, "| ")?;
        }
        for ((_, what), count) in pods.iter().filter(|((at, _), _)| *at == "-") {
            write!(f, "nowhere {count} {what} | ")?;
        }
        let mut leases: BTreeMap<&str, usize> = BTreeMap::new();
        for lease in &self.leases {
            *leases.entry(&lease.state).or_default() += 1;
        }
        write!(f, "leases")?;
        leases.iter().try_for_each(|(state, count)| write!(f, " {count} {state}"))
    }
}

// === impl Pod ===

impl Pod {
    fn of(object: &Value) -> Self {
        Self {
            name: owned(object, "/metadata/name"),
            uid: owned(object, "/metadata/uid"),
            node: owned(object, "/spec/nodeName"),
            address: owned(object, "/status/podIP"),
            is_ready: is_ready(object),
            is_ending: object.pointer("/metadata/deletionTimestamp").is_some(),
            restarts: object
                .pointer("/status/containerStatuses/0/restartCount")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
        }
    }
}

// === impl Lease ===

impl Lease {
    fn of(object: &Value) -> Self {
        Self {
            address: owned(object, "/spec/address"),
            state: owned(object, "/spec/state"),
            owner: owned(object, "/spec/owner/uid"),
        }
    }
}

fn text<'a>(object: &'a Value, at: &str) -> &'a str {
    object.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

fn owned(object: &Value, at: &str) -> String {
    text(object, at).to_owned()
}
