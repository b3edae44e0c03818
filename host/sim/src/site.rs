//! A site for tests that tell one story: the real engine over the memory store.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tenure_core::lease::{NodeRef, Owner};
use tenure_core::name::Digest;
use tenure_engine::{
    AddRequest, Caller, DelRequest, Engine, EngineError, NetnsRef, Options, Ports,
};
use tenure_store::{MemoryStore, Store};

use crate::{FakeKernel, FakePolicies, FakeWire, HandClock, SimStore, attachment, pool};

/// An engine and what it stands on.
#[derive(Debug)]
pub struct Site {
    /// The store.
    pub store: Arc<MemoryStore>,
    /// The kernel.
    pub kernel: Arc<FakeKernel>,
    /// The policies.
    pub policies: Arc<FakePolicies>,
    /// The clocks.
    pub clock: Arc<HandClock>,
    /// The wire.
    pub wire: Arc<FakeWire>,
    /// The engine; another one after a restart.
    pub engine: Arc<Engine>,
}

impl Site {
    /// An engine with these pools.
    pub async fn new(pools: &[(&str, Value)]) -> Self {
        let (store, kernel) = (Arc::new(MemoryStore::new()), Arc::new(FakeKernel::default()));
        let (policies, clock) = (Arc::new(FakePolicies::default()), Arc::new(HandClock::default()));
        let wire = Arc::new(FakeWire::default());
        let around = (&clock, &wire);
        let engine = start(store.clone(), &kernel, &policies, around, ("boot-1", None));
        let site = Self { store, kernel, policies, clock, wire, engine };
        site.apply(pools).await;
        site
    }

    /// The operator applies pools.
    pub async fn apply(&self, pools: &[(&str, Value)]) {
        let objects = pools.iter().map(|(name, spec)| pool(name, spec)).collect();
        self.engine.apply(objects, false).await.unwrap();
    }

    /// The daemon ends and starts again; everything in memory is lost.
    pub fn restart(&mut self, boot: &str) {
        self.engine = self.started(self.store.clone(), (boot, None));
    }

    /// The daemon starts on another store, knowing or not knowing that it is another one.
    pub fn restart_on(&mut self, store: MemoryStore, went_back: bool) {
        self.store = Arc::new(store);
        let why = went_back.then(|| "told so".to_owned());
        self.engine = self.started(self.store.clone(), ("boot-1", why));
    }

    fn started(&self, store: Arc<dyn Store>, life: (&str, Option<String>)) -> Arc<Engine> {
        start(store, &self.kernel, &self.policies, (&self.clock, &self.wire), life)
    }

    /// Another engine on this site, over this store and in this boot.
    pub fn engine_over(&self, store: Arc<dyn Store>, boot: &str) -> Arc<Engine> {
        self.started(store, (boot, None))
    }

    /// The store under the test's hand, for another engine over the same rows.
    pub fn held_store(&self) -> Arc<SimStore> {
        Arc::new(SimStore::new(self.store.clone(), self.clock.clone()))
    }

    /// An ADD of this container.
    pub async fn add(&self, container: &str) -> Result<Vec<IpAddr>, EngineError> {
        self.add_as(&self.request(container)).await
    }

    /// An ADD as requested.
    pub async fn add_as(&self, request: &AddRequest) -> Result<Vec<IpAddr>, EngineError> {
        let answer = self.engine.add(request.clone()).await?;
        Ok(answer.addresses.iter().map(|granted| granted.address.addr()).collect())
    }

    /// A DEL of this container.
    pub async fn del(&self, container: &str) {
        let attachment = attachment(container);
        self.engine.del(DelRequest::of(attachment)).await.unwrap();
    }

    /// An ADD of this container in a namespace of its own, which is made if it does not exist.
    pub fn request(&self, container: &str) -> AddRequest {
        self.kernel.make(container);
        AddRequest {
            attachment: attachment(container),
            caller: Caller::Here {
                netns: Some(NetnsRef { path: PathBuf::from(container), file: None }),
            },
            owner: Owner::default(),
            facts: None,
            attributes: BTreeMap::new(),
            pools: Vec::new(),
            fixed: Vec::new(),
            config: Digest::of(b"config"),
            wait: Duration::ZERO,
            link: None,
        }
    }

    /// How many addresses are held, in all pools.
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
    store: Arc<dyn Store>,
    kernel: &Arc<FakeKernel>,
    policies: &Arc<FakePolicies>,
    (clock, wire): (&Arc<HandClock>, &Arc<FakeWire>),
    (boot, went_back): (&str, Option<String>),
) -> Arc<Engine> {
    let node =
        NodeRef { name: "node".into(), uid: "".into(), agent: "agent".into(), boot: boot.into() };
    let ports = Ports {
        store,
        policies: policies.clone(),
        kernel: kernel.clone(),
        wire: Some(wire.clone()),
        clock: clock.clone(),
    };
    Engine::start(ports, Options { went_back, ..Options::new(node) }).unwrap()
}
