//! The API over a test site of the engine, with policies that remember what was installed. The command line's
//! tests include this file, too.

#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

pub mod nodes;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tenure_api::{Api, ApiOptions};
use tenure_core::decision::{
    AffinityAnswer, AffinityRequest, Decided, DecidedBy, DecisionRecord, DecisionStep, FaultKind,
    Hook, ReclaimRequest, SelectRequest, Selection, StepOutcome, Verdict,
};
use tenure_core::lease::NodeRef;
use tenure_core::name::ObjectName;
use tenure_core::objects::{API_VERSION, PolicySpec};
use tenure_core::ports::{Pinned, Policies, PolicyRefusal, PolicyStatus, Unpinned};
use tenure_core::time::{Clock as _, WallMs};
use tenure_engine::{Engine, Options, Ports};
pub use tenure_sim::Site;
use tenure_sim::{FakeKernel, FakePolicies, FakeWire, HandClock};
use tenure_store::MemoryStore;

/// A site without objects, whose policies are remembered.
pub fn empty_site() -> Site {
    site_on(Arc::new(MemoryStore::new()))
}

/// The same over a store that holds something already.
pub fn site_on(store: Arc<MemoryStore>) -> Site {
    let (kernel, clock) = (Arc::new(FakeKernel::default()), Arc::new(HandClock::default()));
    let policies = Arc::new(FakePolicies::default());
    let wire = Arc::new(FakeWire::default());
    let ports = Ports {
        store: store.clone(),
        policies: Arc::new(Remembering::new(policies.clone(), clock.wall())),
        kernel: kernel.clone(),
        wire: Some(wire.clone()),
        clock: clock.clone(),
    };
    let node = NodeRef {
        name: "node".into(),
        uid: "".into(),
        agent: "agent".into(),
        boot: "boot-1".into(),
    };
    let engine = Engine::start(ports, Options::new(node)).unwrap();
    Site { store, kernel, policies, clock, wire, engine }
}

/// A site with something of everything: a pod and a container that hold addresses, one that has left, two pools, a
/// reservation and a policy.
pub async fn busy_site() -> Site {
    let site = empty_site();
    let objects = busy_objects().into_iter();
    let objects = objects.map(|object| serde_json::from_value(object).unwrap()).collect();
    site.engine.apply(objects, false).await.unwrap();
    let mut pod = site.request("c1aaaaaaaaaaaaaaaa");
    pod.owner = tenure_sim::pod("web-0", "uid-1");
    site.add_as(&pod).await.unwrap();
    site.add("c2bbbbbbbbbbbbbbbb").await.unwrap();
    site.add("c3cccccccccccccccc").await.unwrap();
    site.del("c3cccccccccccccccc").await;
    site
}

pub fn busy_objects() -> Vec<Value> {
    vec![
        object(
            "IPPool",
            "blue-v4",
            json!({"cidr": "10.6.0.0/28", "gateway": "10.6.0.1", "cooldown": "2m"}),
        ),
        object("IPPool", "wide-v6", json!({"cidr": "fd00::/32", "disabled": true})),
        object(
            "IPReservation",
            "printers",
            json!({"addresses": ["10.6.0.14"], "reason": "the printers"}),
        ),
        object("IPAMPolicy", "grace", json!({"source": {"bundled": "grace"}})),
    ]
}

pub fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

pub fn api(site: &Site) -> Api {
    Api::new(site.engine.clone(), ApiOptions::default())
}

/// The API of an allocator in a cluster that is made up.
pub fn cluster_api(site: &Site) -> Api {
    let nodes = Some(Arc::new(nodes::MadeUp::default()) as Arc<dyn tenure_api::Nodes>);
    Api::new(site.engine.clone(), ApiOptions { nodes, ..ApiOptions::default() })
}

// === policies ===

/// Answers as the inner ones do, and tells what was installed and one decision.
struct Remembering {
    inner: Arc<FakePolicies>,
    started: WallMs,
    installed: Mutex<BTreeMap<ObjectName, PolicyStatus>>,
}

impl Remembering {
    fn new(inner: Arc<FakePolicies>, started: WallMs) -> Self {
        Self { inner, started, installed: Mutex::default() }
    }
}

impl Policies for Remembering {
    fn pinned(&self) -> Box<dyn Pinned + '_> {
        Box::new(Unpinned(self))
    }

    fn affinity(&self, request: &AffinityRequest) -> Decided<AffinityAnswer> {
        self.inner.affinity(request)
    }

    fn select(&self, request: &SelectRequest) -> Decided<Selection> {
        self.inner.select(request)
    }

    fn reclaim(&self, request: &ReclaimRequest) -> Decided<Vec<Verdict>> {
        self.inner.reclaim(request)
    }

    fn check(&self, name: &ObjectName, spec: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal> {
        self.inner.check(name, spec)
    }

    fn install(&self, name: &ObjectName, spec: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal> {
        let mut status = self.inner.install(name, spec)?;
        status.hooks = vec![Hook::Reclaim];
        status.decisions = 3;
        status.faults = vec![(FaultKind::Fuel, 1)];
        self.installed.lock().insert(name.clone(), status.clone());
        Ok(status)
    }

    fn remove(&self, name: &ObjectName) {
        self.installed.lock().remove(name);
    }

    fn status(&self) -> Vec<PolicyStatus> {
        self.installed.lock().values().cloned().collect()
    }

    fn decisions(&self, limit: usize) -> Vec<DecisionRecord> {
        let steps = self.status().into_iter().map(|status| DecisionStep {
            policy: status.name,
            digest: status.digest,
            terms: None,
            outcome: StepOutcome::Fault { kind: FaultKind::Fuel, message: "used up".into() },
            fuel: 1_000,
            memory: 192 << 10,
            micros: 12,
            lookups: Vec::new(),
            log: Vec::new(),
        });
        let record = DecisionRecord {
            id: 7,
            at: self.started,
            hook: Hook::Reclaim,
            by: DecidedBy::BuiltIn,
            steps: steps.collect(),
            request: json!({"leases": []}),
            answer: json!([{"graceS": 300}]),
        };
        let remembered = self.inner.decisions(limit).into_iter();
        remembered.chain([record]).take(limit).collect()
    }
}
