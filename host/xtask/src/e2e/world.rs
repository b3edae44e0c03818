//! What every scenario has: the cluster, the observer, the time line.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::observer::Observer;
use super::state::State;
use crate::cluster::{Cluster, PAUSE, until};

/// Looks are so far apart: each costs the API server a list of everything.
const LOOKS_APART: Duration = Duration::from_millis(700);
/// The pool of `cluster/network.yaml`.
pub(crate) const POOL: usize = 60;

/// A run.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) observer: Observer,
    began: Instant,
    shown: String,
}

// === impl World ===

impl World {
    pub(crate) fn new(cluster: Cluster) -> anyhow::Result<Self> {
        let addresses = (1..=60).map(|last| Ipv4Addr::new(10, 201, 1, last));
        let observer = Observer::start(&cluster, addresses)?;
        Ok(Self { cluster, observer, began: Instant::now(), shown: String::new() })
    }

    /// A line of the time line.
    pub(crate) fn say(&self, what: &str) {
        println!("{:7.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    /// Where in the time line something was.
    pub(crate) fn when(&self, at: Instant) -> f64 {
        at.duration_since(self.began).as_secs_f64()
    }

    /// Looks until it is so, and shows what changes meanwhile.
    pub(crate) fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut is_so: impl FnMut(&State) -> bool,
    ) -> anyhow::Result<State> {
        let began = Instant::now();
        loop {
            // A cluster under load answers late; that is no answer about Tenure.
            let looked = State::read(&self.cluster);
            if let Ok(state) = &looked {
                let line = state.to_string();
                if line != self.shown {
                    self.say(&format!("  {line}"));
                    self.shown = line;
                }
                if is_so(state) {
                    self.say(&format!("{what} after {:.1} s", began.elapsed().as_secs_f64()));
                    return looked;
                }
            }
            if began.elapsed() > patience {
                let state = looked.context("looking at the cluster")?;
                bail!(
                    "after {} s it is still not so that {what}: {}",
                    patience.as_secs(),
                    blame(&state)
                );
            }
            std::thread::sleep(LOOKS_APART);
        }
    }

    /// Until so many pods run, each on an address that is its own.
    pub(crate) fn settled(&mut self, pods: usize, patience: u64) -> anyhow::Result<State> {
        let what = format!("{pods} pods run, each with its own lease,");
        self.until(&what, Duration::from_secs(patience), |state| state.is_settled(pods))
    }

    /// Until every pod that is ready answers on its address: who hears nothing sees no double either.
    pub(crate) fn hears_all(&self) -> anyhow::Result<()> {
        let since = Instant::now();
        let state = State::read(&self.cluster)?;
        let mut silent = Vec::new();
        let is_heard = || {
            let pods = state.pods.iter().filter(|pod| pod.is_ready && !pod.is_ending);
            silent = pods
                .map(|pod| pod.address.clone())
                .filter(|address| !self.observer.heard(address, since))
                .collect();
            Ok(silent.is_empty())
        };
        until("the observer hears every pod", Duration::from_secs(15), is_heard)
            .with_context(|| format!("silent: {silent:?}"))
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<()> {
        self.cluster.ask(arguments).map(|_| ())
    }

    /// A Deployment or StatefulSet of sleepers that leave a lost node soon.
    pub(crate) fn workload(&self, kind: &str, name: &str, replicas: usize) -> anyhow::Result<()> {
        let special = match kind {
            "StatefulSet" => format!("serviceName: {name}\n  podManagementPolicy: Parallel"),
            _ => "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 50%}}".to_owned(),
        };
        self.cluster.apply(&format!(
            r#"apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  {special}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 2
      tolerations:
      - {{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 15}}
      - {{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 15}}
      containers: [{{name: c, image: "{PAUSE}", imagePullPolicy: Never}}]
"#
        ))
    }

    /// In one request: `kubectl delete --all` asks for one pod after the other, and takes a while.
    pub(crate) fn delete_all_pods(&self) -> anyhow::Result<()> {
        self.kubectl(&["delete", "--raw", "/api/v1/namespaces/default/pods"])
    }

    /// SIGKILL for a role of `tenured` on a node, by its pid inside the node.
    pub(crate) fn kill(&self, node: &str, role: &str) -> anyhow::Result<()> {
        let kill = format!("kill -9 $(pgrep -f '^tenured {role} ')");
        self.cluster.node(&["exec", node, "bash", "-c", &kill])
    }

    /// The node where the allocator runs that leads.
    pub(crate) fn leader(&self) -> anyhow::Result<String> {
        let ask = |arguments: &[&str]| {
            self.cluster.ask(&[&["-n", "tenure-system", "get", "-o"], arguments].concat())
        };
        let holder = ask(&["jsonpath={.spec.holderIdentity}", "lease", "tenure-allocator"])?;
        let (pod, _) = holder.rsplit_once('-').context("the leader has no name")?;
        ask(&["jsonpath={.spec.nodeName}", "pod", pod])
    }
}

/// What stands against being settled, shortly.
fn blame(state: &State) -> String {
    let odd = state.pods.iter().filter(|pod| !pod.is_ready || pod.is_ending || !state.owns(pod));
    let odd: Vec<_> = odd
        .map(|pod| {
            let lease = state.leases.iter().find(|lease| lease.address == pod.address);
            let lease = lease.map(|lease| format!("{} for {}", lease.state, lease.owner));
            format!(
                "{} on {} at {:?}, ready {}, ending {}, lease {}",
                pod.name,
                pod.node,
                pod.address,
                pod.is_ready,
                pod.is_ending,
                lease.unwrap_or_default()
            )
        })
        .take(8)
        .collect();
    format!("{state}\n  {}", odd.join("\n  "))
}
