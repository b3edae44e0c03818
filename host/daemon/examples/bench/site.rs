//! An engine as the daemon makes it, on a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure_core::lease::{Attachment, NodeRef, Owner};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName};
use tenure_core::objects::{API_VERSION, Object};
use tenure_core::time::{Clock, Moment, WallMs};
use tenure_engine::{AddRequest, Caller, Engine, NetnsRef, Options, Ports};
use tenure_policy_host::{CompileBounds, Compiler, PolicyHost, PolicyHostOptions};
use tenure_store::{RedbOptions, RedbStore};
use tenure_witness::KernelWitness;

/// The namespace that `cargo xtask bench` made for all containers.
pub(crate) const NETNS: &str = "/run/netns/bench";

pub(crate) struct Folders {
    pub(crate) state: PathBuf,
    pub(crate) policies: PathBuf,
}

pub(crate) struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment(self.0.elapsed().as_millis() as u64)
    }
    fn boottime_ms(&self) -> u64 {
        self.now().0
    }
    fn wall(&self) -> WallMs {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        WallMs(now.as_millis() as u64)
    }
}

impl Folders {
    pub(crate) fn policies(&self) -> Arc<PolicyHost> {
        let options = PolicyHostOptions { folder: self.policies.clone(), ..Default::default() };
        Arc::new(PolicyHost::new(options, Arc::new(SystemClock(Instant::now()))).unwrap())
    }

    /// A new store under `name`, the shipped policies, and these pools.
    pub(crate) async fn engine(&self, name: &str, pools: &[(&str, Value)]) -> Arc<Engine> {
        self.engine_of(name, pools, self.policies()).await
    }

    /// The same with policies that `tenured` compiles, kept as a daemon keeps them.
    pub(crate) async fn engine_with(
        &self,
        name: &str,
        pools: &[(&str, Value)],
        tenured: &Path,
    ) -> Arc<Engine> {
        let program = tenured.to_owned();
        let compiler = Compiler::Child { program, bounds: CompileBounds::default() };
        let state = Some(self.state.join(format!("{name}-state")));
        let folder = self.policies.clone();
        let options = PolicyHostOptions { folder, compiler, state, ..Default::default() };
        let clock = Arc::new(SystemClock(Instant::now()));
        self.engine_of(name, pools, Arc::new(PolicyHost::new(options, clock).unwrap())).await
    }

    pub(crate) async fn engine_of(
        &self,
        name: &str,
        pools: &[(&str, Value)],
        policies: Arc<PolicyHost>,
    ) -> Arc<Engine> {
        let store = RedbStore::open(&self.state.join(name), &RedbOptions::default()).unwrap();
        let node = NodeRef {
            name: "bench".into(),
            agent: "bench".into(),
            boot: "bench".into(),
            uid: "".into(),
        };
        let ports = Ports {
            store: Arc::new(store),
            policies,
            kernel: Arc::new(
                KernelWitness::start(&tenure_witness::Options { earlier_home: None }).unwrap(),
            ),
            wire: None,
            clock: Arc::new(SystemClock(Instant::now())),
        };
        let engine = Engine::start(ports, Options::new(node)).unwrap();
        let shipped = ["pool-order", "sticky-identity", "grace"];
        let mut objects: Vec<Object> = shipped
            .iter()
            .map(|p| object("IPAMPolicy", p, json!({"source": {"bundled": p}})))
            .collect();
        objects.extend(pools.iter().map(|(name, spec)| object("IPPool", name, spec.clone())));
        engine.apply(objects, false).await.unwrap();
        engine
    }
}

pub(crate) fn object(kind: &str, name: &str, spec: Value) -> Object {
    Object::from_json(
        json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}),
    )
    .unwrap()
}

pub(crate) fn attachment(container: &str) -> Attachment {
    Attachment {
        network: NetworkName::new("bench").unwrap(),
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

pub(crate) fn request(container: &str) -> AddRequest {
    AddRequest {
        attachment: attachment(container),
        caller: Caller::Here { netns: Some(NetnsRef { path: NETNS.into(), file: None }) },
        owner: Owner::default(),
        facts: None,
        attributes: std::collections::BTreeMap::new(),
        pools: Vec::new(),
        fixed: Vec::new(),
        config: Digest::of(b"bench"),
        wait: Duration::ZERO,
        link: None,
    }
}
