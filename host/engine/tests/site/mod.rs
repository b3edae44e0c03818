//! A site for tests: the real engine over the memory store, with a kernel, policies and a clock that the test
//! moves by hand.

#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tenure_core::decision::{
    Affinity, AffinityAnswer, AffinityRequest, Decided, DecidedBy, DecisionRecord,
    RETAIN_AS_AT_ADD, ReclaimRequest, SelectRequest, Selection, Verdict,
};
use tenure_core::lease::{Attachment, Netns, NodeRef, Owner, OwnerKind};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName, ObjectName, PoolName};
use tenure_core::objects::{API_VERSION, Object, PolicySpec};
use tenure_core::ports::{
    AddressLook, Census, Kernel, KernelLook, NetnsLook, Place, Policies, PolicyRefusal,
    PolicyStatus, Sighting, Wire, WireLook, WireQuestion, WitnessError,
};
use tenure_core::time::{Clock, Moment, WallMs};
use tenure_engine::{AddRequest, DelRequest, Engine, NetnsRef, Options, Ports};
use tenure_store::MemoryStore;

pub struct Site {
    pub store: Arc<MemoryStore>,
    pub kernel: Arc<FakeKernel>,
    pub policies: Arc<FakePolicies>,
    pub clock: Arc<HandClock>,
    pub wire: Arc<FakeWire>,
    pub engine: Arc<Engine>,
}

impl Site {
    pub async fn new(pools: &[(&str, Value)]) -> Self {
        let (store, kernel) = (Arc::new(MemoryStore::new()), Arc::new(FakeKernel::default()));
        let (policies, clock) = (Arc::new(FakePolicies::default()), Arc::new(HandClock::default()));
        let wire = Arc::new(FakeWire::default());
        let engine = start(&store, &kernel, &policies, (&clock, &wire), ("boot-1", None));
        let site = Self { store, kernel, policies, clock, wire, engine };
        site.apply(pools).await;
        site
    }

    pub async fn apply(&self, pools: &[(&str, Value)]) {
        let objects = pools.iter().map(|(name, spec)| pool(name, spec)).collect();
        self.engine.apply(objects, false).await.unwrap();
    }

    /// The daemon starts on another store, knowing or not knowing that it is another one.
    pub fn restart_on(&mut self, store: MemoryStore, went_back: bool) {
        self.store = Arc::new(store);
        let rest = (&self.clock, &self.wire);
        let why = went_back.then(|| "told so".to_owned());
        self.engine = start(&self.store, &self.kernel, &self.policies, rest, ("boot-1", why));
    }

    /// The daemon ends and starts again; everything in memory is lost.
    pub fn restart(&mut self, boot: &str) {
        let rest = (&self.clock, &self.wire);
        self.engine = start(&self.store, &self.kernel, &self.policies, rest, (boot, None));
    }

    pub async fn add(&self, container: &str) -> Result<Vec<IpAddr>, tenure_engine::EngineError> {
        self.add_as(&self.request(container)).await
    }

    pub async fn add_as(
        &self,
        request: &AddRequest,
    ) -> Result<Vec<IpAddr>, tenure_engine::EngineError> {
        let answer = self.engine.add(request.clone()).await?;
        Ok(answer.addresses.iter().map(|granted| granted.address.addr()).collect())
    }

    pub async fn del(&self, container: &str) {
        let attachment = attachment(container);
        self.engine.del(DelRequest { attachment, bound_before: None }).await.unwrap();
    }

    /// An ADD of this container in a namespace of its own, which is made if it does not exist.
    pub fn request(&self, container: &str) -> AddRequest {
        self.kernel.make(container);
        AddRequest {
            attachment: attachment(container),
            netns: Some(NetnsRef { path: PathBuf::from(container), file: None }),
            owner: Owner::default(),
            attributes: BTreeMap::new(),
            pools: Vec::new(),
            fixed: Vec::new(),
            config: Digest::of(b"config"),
            wait: Duration::ZERO,
            link: None,
        }
    }

    pub async fn held(&self) -> usize {
        self.engine.pools().unwrap().iter().map(|p| p.status.counts.held as usize).sum()
    }

    /// The ends of released holders are noticed, and their links are gone.
    pub async fn settle(&self) {
        self.engine.sweep().await.unwrap();
        self.clock.pass(Duration::from_secs(1));
    }

    /// One sweep, and another one after the grace: what is proved dead is back then.
    pub async fn reclaim(&self) -> usize {
        let first = self.engine.sweep().await.unwrap().reclaimed.len();
        self.clock.pass(Duration::from_secs(3));
        first + self.engine.sweep().await.unwrap().reclaimed.len()
    }
}

fn start(
    store: &Arc<MemoryStore>,
    kernel: &Arc<FakeKernel>,
    policies: &Arc<FakePolicies>,
    (clock, wire): (&Arc<HandClock>, &Arc<FakeWire>),
    (boot, went_back): (&str, Option<String>),
) -> Arc<Engine> {
    let node =
        NodeRef { name: "node".into(), uid: "".into(), agent: "agent".into(), boot: boot.into() };
    let ports = Ports {
        store: store.clone(),
        policies: policies.clone(),
        kernel: kernel.clone(),
        wire: Some(wire.clone()),
        clock: clock.clone(),
    };
    Engine::start(ports, Options { went_back, ..Options::new(node) }).unwrap()
}

pub fn pool(name: &str, spec: &Value) -> Object {
    Object::from_json(json!({
        "apiVersion": API_VERSION, "kind": "IPPool", "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

pub fn attachment(container: &str) -> Attachment {
    Attachment {
        network: NetworkName::new("net").unwrap(),
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

pub fn pod(name: &str, uid: &str) -> Owner {
    Owner { kind: OwnerKind::Pod, namespace: "shop".into(), name: name.into(), uid: uid.into() }
}

pub fn names(names: &[&str]) -> Vec<PoolName> {
    names.iter().map(|name| PoolName::new(name).unwrap()).collect()
}

// === kernel ===

#[derive(Default)]
pub struct FakeKernel {
    state: Mutex<KernelState>,
    pub silent: AtomicBool,
    cookies: AtomicU64,
}

#[derive(Default, Clone)]
struct KernelState {
    /// Path -> cookie of the living namespace.
    paths: HashMap<PathBuf, u64>,
    alive: HashSet<u64>,
    links: HashSet<(u64, IpAddr)>,
}

impl FakeKernel {
    /// The namespace of this name, made if it does not exist.
    pub fn make(&self, path: &str) -> u64 {
        let mut state = self.state.lock();
        if let Some(cookie) = state.paths.get(Path::new(path)) {
            return *cookie;
        }
        let cookie = self.cookies.fetch_add(1, Ordering::Relaxed) + 1;
        state.paths.insert(path.into(), cookie);
        state.alive.insert(cookie);
        cookie
    }

    /// It ends, with all its links.
    pub fn end(&self, path: &str) {
        let mut state = self.state.lock();
        let cookie = state.paths.remove(Path::new(path)).unwrap();
        state.alive.remove(&cookie);
        state.links.retain(|(c, _)| *c != cookie);
    }

    pub fn put_on_link(&self, path: &str, address: IpAddr) {
        let mut state = self.state.lock();
        let cookie = state.paths[Path::new(path)];
        state.links.insert((cookie, address));
    }

    pub fn take_off_link(&self, path: &str, address: IpAddr) {
        let mut state = self.state.lock();
        let cookie = state.paths[Path::new(path)];
        state.links.remove(&(cookie, address));
    }

    /// The machine reboots: nothing lives any more.
    pub fn reboot(&self) {
        *self.state.lock() = KernelState::default();
    }

    pub fn be_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }
}

impl Kernel for FakeKernel {
    fn identify(&self, path: &Path) -> Result<Netns, WitnessError> {
        if self.silent.load(Ordering::Relaxed) {
            return Err(WitnessError::Off { why: "silenced".into() });
        }
        let state = self.state.lock();
        let cookie = state.paths.get(path);
        let cookie = *cookie.ok_or_else(|| WitnessError::NoSuchNamespace { path: path.into() })?;
        Ok(netns(cookie))
    }

    fn look(&self) -> Result<Box<dyn KernelLook>, WitnessError> {
        if self.silent.load(Ordering::Relaxed) {
            return Err(WitnessError::Incomplete);
        }
        Ok(Box::new(Look(self.state.lock().clone())))
    }

    fn census(&self) -> Result<Census, WitnessError> {
        if self.silent.load(Ordering::Relaxed) {
            return Err(WitnessError::Off { why: "silenced".into() });
        }
        Ok(self.state.lock().census())
    }
}

struct Look(KernelState);

impl KernelState {
    fn census(&self) -> Census {
        let sighting = |(cookie, address): &(u64, IpAddr)| Sighting {
            place: Place::Netns(netns(*cookie)),
            ifname: "eth0".into(),
            address: *address,
        };
        Census { sightings: self.links.iter().map(sighting).collect(), incomplete: None }
    }
}

fn netns(cookie: u64) -> Netns {
    Netns { cookie, dev: 4, ino: cookie % 3, nsid: Some(cookie as i32) }
}

impl KernelLook for Look {
    fn namespace(&self, netns: &Netns) -> NetnsLook {
        if self.0.alive.contains(&netns.cookie) { NetnsLook::Alive } else { NetnsLook::Gone }
    }

    fn address(&self, netns: &Netns, address: IpAddr) -> AddressLook {
        match (
            self.0.alive.contains(&netns.cookie),
            self.0.links.contains(&(netns.cookie, address)),
        ) {
            (false, _) => AddressLook::NamespaceGone,
            (true, true) => AddressLook::OnLink,
            (true, false) => AddressLook::OnNone,
        }
    }
}

// === wire ===

/// Foreign machines that answer, and whether anything is heard at all.
#[derive(Default)]
pub struct FakeWire {
    pub foreign: Mutex<HashSet<IpAddr>>,
    pub blind: AtomicBool,
    pub asked: Mutex<Vec<IpAddr>>,
}

impl Wire for FakeWire {
    fn probe(&self, question: &WireQuestion) -> WireLook {
        self.asked.lock().push(question.address);
        if self.blind.load(Ordering::Relaxed) {
            return WireLook::Blind { why: "told so".into() };
        }
        if self.foreign.lock().contains(&question.address) {
            return WireLook::Answered { mac: [2, 0, 0, 0, 0, 1] };
        }
        WireLook::Silent
    }
}

// === policies ===

/// Ranks named pools in their order, then all others by index; affinity and grace as the test says.
pub struct FakePolicies {
    pub affinity: Mutex<Affinity>,
    pub deny: Mutex<Option<String>>,
    pub verdict: Mutex<Verdict>,
    pub refuse: AtomicBool,
}

impl Default for FakePolicies {
    fn default() -> Self {
        Self {
            affinity: Mutex::new(Affinity::None),
            deny: Mutex::new(None),
            verdict: Mutex::new(Verdict {
                grace: Duration::from_secs(2),
                retain: RETAIN_AS_AT_ADD,
                cooldown: Duration::from_secs(120),
                permits_unfenced: true,
            }),
            refuse: AtomicBool::new(false),
        }
    }
}

impl Policies for FakePolicies {
    fn affinity(&self, _: &AffinityRequest) -> Decided<AffinityAnswer> {
        decided(AffinityAnswer { choice: self.affinity.lock().clone(), tag: 7 })
    }

    fn select(&self, request: &SelectRequest) -> Decided<Selection> {
        if let Some(reason) = self.deny.lock().clone() {
            return decided(Selection::Deny(reason));
        }
        let mut rows: Vec<u32> = (0..request.candidates.len() as u32).collect();
        rows.sort_by_key(|row| request.candidates[*row as usize].order.unwrap_or(u32::MAX));
        decided(Selection::Ranked(rows))
    }

    fn reclaim(&self, request: &ReclaimRequest) -> Decided<Vec<Verdict>> {
        decided(vec![*self.verdict.lock(); request.leases.len()])
    }

    fn check(&self, name: &ObjectName, _: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal> {
        if self.refuse.load(Ordering::Relaxed) {
            return Err(PolicyRefusal {
                policy: name.clone(),
                stage: "reading it",
                why: "told so".into(),
            });
        }
        Ok(status(name))
    }

    fn install(&self, name: &ObjectName, spec: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal> {
        self.check(name, spec)
    }

    fn remove(&self, _: &ObjectName) {}

    fn status(&self) -> Vec<PolicyStatus> {
        Vec::new()
    }

    fn decisions(&self, _: usize) -> Vec<DecisionRecord> {
        Vec::new()
    }
}

fn decided<T>(answer: T) -> Decided<T> {
    Decided { answer, by: DecidedBy::BuiltIn, record: 0 }
}

fn status(name: &ObjectName) -> PolicyStatus {
    PolicyStatus {
        name: name.clone(),
        digest: Digest::of(b""),
        component: "fake".into(),
        version: "0".into(),
        hooks: Vec::new(),
        mode: "active".into(),
        decisions: 0,
        faults: Vec::new(),
        breaker_open: false,
        last_refusal: None,
    }
}

// === clock ===

/// Stands still until the test moves it.
pub struct HandClock(AtomicU64);

impl Default for HandClock {
    fn default() -> Self {
        Self(AtomicU64::new(1_000_000))
    }
}

impl HandClock {
    pub fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Moment {
        Moment(self.0.load(Ordering::Relaxed))
    }

    fn boottime_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn wall(&self) -> WallMs {
        WallMs(1_700_000_000_000 + self.0.load(Ordering::Relaxed))
    }
}
