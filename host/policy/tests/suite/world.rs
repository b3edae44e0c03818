//! A host, a clock that tests turn, and requests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure_core::address::{Families, Family};
use tenure_core::decision::*;
use tenure_core::lease::{Owner, OwnerKind};
use tenure_core::name::{ObjectName, PoolName};
use tenure_core::objects::PolicySpec;
use tenure_core::ports::{Policies, PolicyRefusal, PolicyStatus};
use tenure_core::time::{Clock, Moment, WallMs};
use tenure_policy_host::{EngineOptions, PolicyHost, PolicyHostOptions, RingOptions};

pub const ATTRIBUTE: &str = "cni.args/hostile";

#[derive(Default)]
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        Moment(self.0.load(Ordering::SeqCst))
    }
    fn boottime_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn wall(&self) -> WallMs {
        WallMs(1_800_000_000_000 + self.0.load(Ordering::SeqCst))
    }
}

pub struct World {
    pub host: PolicyHost,
    pub clock: Arc<TestClock>,
}

impl World {
    pub fn new() -> Self {
        Self::with(EngineOptions::default(), RingOptions::default())
    }

    pub fn with(engine: EngineOptions, ring: RingOptions) -> Self {
        let clock = Arc::new(TestClock::default());
        let options = PolicyHostOptions { folder: folder(), engine, ring, ..Default::default() };
        Self { host: PolicyHost::new(options, clock.clone()).unwrap(), clock }
    }

    /// A host that keeps what served in `state`, as a daemon does over its restarts. The shipped policies are read in
    /// `folder`.
    pub fn keeping(state: &Path, folder: &Path) -> Self {
        let clock = Arc::new(TestClock::default());
        let (state, folder) = (Some(state.to_owned()), folder.to_owned());
        let options = PolicyHostOptions { folder, state, ..Default::default() };
        Self { host: PolicyHost::new(options, clock.clone()).unwrap(), clock }
    }

    pub fn install(&self, policy: &str, spec: Value) -> Result<PolicyStatus, PolicyRefusal> {
        let spec: PolicySpec = serde_json::from_value(spec).unwrap();
        self.host.install(&name(policy), &spec)
    }

    /// The hostile guest, with `spec` laid over its source.
    pub fn hostile(&self, policy: &str, spec: Value) {
        let mut whole = json!({"source": {"file": guest("hostile")}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.install(policy, whole).unwrap();
    }

    pub fn status(&self, policy: &str) -> PolicyStatus {
        self.host.status().into_iter().find(|status| status.name == name(policy)).unwrap()
    }

    pub fn newest(&self) -> DecisionRecord {
        self.host.decisions(1).remove(0)
    }
}

/// Waits for a condition that another thread brings about.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

pub fn folder() -> PathBuf {
    let folder = std::env::var_os("TENURE_TEST_POLICIES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/policies")),
        PathBuf::from,
    );
    assert!(folder.is_dir(), "{} is missing: run `cargo xtask policies` first", folder.display());
    folder
}

pub fn guest(guest: &str) -> PathBuf {
    let path = folder().join("test").join(format!("{guest}.wasm"));
    assert!(path.is_file(), "{} is missing: run `cargo xtask policies` first", path.display());
    path
}

/// A pod that tells the hostile guest what to do.
pub fn holder(mode: &str) -> Holder {
    Holder {
        owner: Owner {
            kind: OwnerKind::Pod,
            namespace: "shop".into(),
            name: "web-0".into(),
            uid: "u".into(),
        },
        attributes: [
            (ATTRIBUTE.to_owned(), mode.to_owned()),
            ("cni.args/SECRET".into(), "x".into()),
        ]
        .into(),
        ..Holder::default()
    }
}

pub fn catalogue() -> Arc<Catalogue> {
    let pool = |name: &str| PoolFacts { name: PoolName::new(name).unwrap(), labels: [].into() };
    Arc::new(Catalogue { pools: ["blue", "red", "green"].map(pool).into() })
}

pub fn candidate(pool: u32, free: u64) -> Candidate {
    Candidate { free, ..Candidate::of(pool, Family::V4) }
}

/// Three pools; the built-in strategy takes the middle one first.
pub fn select(mode: &str) -> SelectRequest {
    SelectRequest {
        holder: holder(mode),
        families: Families { v4: true, v6: false },
        candidates: vec![candidate(0, 1), candidate(1, 9), candidate(2, 5)],
        catalogue: catalogue(),
        now: WallMs(0),
        seed: 7,
    }
}

pub fn affinity(mode: &str) -> AffinityRequest {
    AffinityRequest {
        holder: holder(mode),
        families: Families { v4: true, v6: false },
        previous: Vec::new(),
        catalogue: catalogue(),
        now: WallMs(0),
        seed: 7,
    }
}

pub fn suspect(mode: &str) -> Suspect {
    Suspect {
        tag: 0,
        pool: 0,
        owner: OwnerKind::Pod,
        kernel_gone: true,
        api_gone: true,
        api_alive: false,
        terminating: false,
        finished: false,
        node_lost: false,
        node_fenced: false,
        sticky: false,
        held_s: 60,
        suspect_s: 1,
        terminating_s: 0,
        termination_grace_s: 30,
        node_lost_s: 0,
        holder: holder(mode),
    }
}

pub fn reclaim(mode: &str, rows: usize) -> ReclaimRequest {
    ReclaimRequest {
        leases: vec![suspect(mode); rows],
        pressure: vec![Pressure { pool: 0, free: 9, size: 10, waiting: 0 }],
        catalogue: catalogue(),
        now: WallMs(0),
        seed: 7,
    }
}

/// What the built-in strategy says to [`select`].
pub fn built_in() -> Selection {
    Selection::Ranked(vec![1, 2, 0])
}
