//! One engine for many nodes: each lease is judged by the witnesses of its own node, and by no others.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tenure_core::judge::{ApiSays, NodeSays};
use tenure_core::lease::{Generation, LeaseKey, Netns, NodeRef};
use tenure_core::name::IfName;
use tenure_core::ports::{Census, Kernel, Question, Sight, WireLink, WitnessError};
use tenure_core::time::Clock as _;
use tenure_engine::{
    AddRequest, AgentCall, Background, Caller, Claim, DelRequest, Engine, EngineError, GcRequest,
    LeaseView, Options, Past, Ports, SpoolInstant,
};
use tenure_sim::{FakeKernel, Site, attachment, pod, start_add, until};

type Answer = Result<Vec<IpAddr>, EngineError>;

/// The kernels of some nodes, each with cookies of its own that begin at 1, and what is known of the nodes.
#[derive(Default)]
struct Nodes {
    kernels: Mutex<HashMap<Arc<str>, Arc<FakeKernel>>>,
    says: Mutex<HashMap<Arc<str>, NodeSays>>,
    api: Mutex<Option<ApiSays>>,
    /// The agents of all questions, in their order.
    asked: Mutex<Vec<Arc<str>>>,
}

impl Kernel for Nodes {
    fn identify(&self, path: &Path) -> Result<Netns, WitnessError> {
        Err(WitnessError::NoSuchNamespace { path: path.into() })
    }

    fn look_at(&self, questions: &[Question]) -> Vec<Sight> {
        let one = |question: &Question| {
            let kernel = self.kernels.lock().get(&question.node.agent).cloned();
            let seen = kernel.map(|kernel| kernel.look_at(std::slice::from_ref(question))[0]);
            let says = self.says.lock().get(&question.node.agent).copied();
            let api = self.api.lock().unwrap_or(ApiSays::Nothing);
            Sight { node: says.unwrap_or(NodeSays::Heard), api, ..seen.unwrap_or(Sight::SILENT) }
        };
        self.asked.lock().extend(questions.iter().map(|question| question.node.agent.clone()));
        questions.iter().map(one).collect()
    }

    fn hears(&self, node: &NodeRef) -> bool {
        self.says.lock().get(&node.agent).is_none_or(|says| *says == NodeSays::Heard)
    }

    fn census(&self) -> Result<Census, WitnessError> {
        Ok(Census::default())
    }
}

/// An engine that stands on no node itself.
struct Cluster {
    site: Site,
    nodes: Arc<Nodes>,
    engine: Arc<Engine>,
}

impl Cluster {
    async fn new() -> Self {
        Self::with_pool(json!({"cidr": "10.0.0.0/24", "cooldown": "0s"})).await
    }

    async fn with_pool(pool: serde_json::Value) -> Self {
        let site = Site::new(&[("p", pool)]).await;
        let nodes = Arc::new(Nodes::default());
        let engine = engine_of(&site, &nodes);
        Self { site, nodes, engine }
    }

    /// Another process of the same engine: it has heard of no agent.
    fn restart(&mut self) {
        self.engine = engine_of(&self.site, &self.nodes);
    }

    /// The agent of a node speaks; its kernel is made if there is none.
    fn hear(&self, name: &str, boot: &str) -> Arc<FakeKernel> {
        let node = node(name, boot);
        self.engine.note_agent(&node);
        self.nodes.kernels.lock().entry(node.agent).or_default().clone()
    }

    async fn add(&self, name: &str, boot: &str, container: &str) -> IpAddr {
        let request = self.request(name, boot, container);
        self.engine.add(request).await.unwrap().addresses[0].address.addr()
    }

    fn request(&self, name: &str, boot: &str, container: &str) -> AddRequest {
        let node = node(name, boot);
        let kernel = self.nodes.kernels.lock()[&node.agent].clone();
        kernel.make(container);
        let netns = kernel.identify(&PathBuf::from(container)).ok();
        AddRequest {
            caller: Caller::Agent(AgentCall {
                node: Arc::new(node),
                netns,
                boottime_ms: self.site.clock.boottime_ms(),
                past: Past::None,
            }),
            owner: pod(container, &format!("uid-{container}")),
            ..self.site.request(container)
        }
    }

    /// The one address of `n1` is in quarantine, for that node is lost; an ADD of `n2` that would have it began before.
    async fn quarantined_under_a_waiter() -> (Self, tokio::task::JoinHandle<Answer>) {
        let one = json!({"cidr": "10.0.0.0/29", "ranges": ["10.0.0.1"], "cooldown": "0s"});
        let cluster = Self::with_pool(one).await;
        cluster.hear("n1", "boot-1");
        cluster.hear("n2", "boot-2");
        cluster.add("n1", "boot-1", "c1").await;
        let request = AddRequest {
            link: Some(WireLink::Macvlan { parent: IfName::new("eth1").unwrap() }),
            wait: Duration::from_secs(30),
            ..cluster.request("n2", "boot-2", "c2")
        };
        let waiter = start_add(&cluster.engine, request);
        until(|| cluster.engine.waiting() == 1).await;
        cluster.site.policies.verdict.lock().permits_unfenced = true;
        cluster.nodes.says.lock().insert(agent("n1"), NodeSays::Lost);
        *cluster.nodes.api.lock() = Some(ApiSays::Gone);
        (cluster, waiter)
    }

    /// Three nodes with three containers each, and a sweep that is over.
    async fn busy() -> (Self, Background) {
        let this = Self::new().await;
        for n in 1..=3 {
            this.hear(&format!("n{n}"), "boot-1");
            for c in 0..3 {
                this.add(&format!("n{n}"), "boot-1", &format!("n{n}c{c}")).await;
            }
        }
        let background = Background::start(&this.engine);
        this.swept(1).await;
        (this, background)
    }

    /// The background sweeps so many times more, at least.
    async fn swept(&self, times: u64) {
        let before = self.engine.counters().sweeps.get();
        until(|| self.engine.counters().sweeps.get() >= before + times).await;
    }

    /// How often the agent of each node was asked since the last time.
    fn asked(&self) -> [usize; 3] {
        let asked = std::mem::take(&mut *self.nodes.asked.lock());
        [1, 2, 3].map(|n| asked.iter().filter(|agent| ***agent == format!("agent-of-n{n}")).count())
    }

    async fn view(&self, address: IpAddr) -> LeaseView {
        self.engine.lease("default".parse().unwrap(), address).await.unwrap()
    }

    /// Sweeps until any grace has passed; how many were taken back.
    async fn reclaim(&self) -> usize {
        let mut reclaimed = 0;
        for _ in 0..4 {
            reclaimed += self.engine.sweep().await.unwrap().reclaimed.len();
            self.site.clock.pass(Duration::from_secs(60));
        }
        reclaimed
    }
}

fn engine_of(site: &Site, nodes: &Arc<Nodes>) -> Arc<Engine> {
    let ports = Ports {
        store: site.store.clone(),
        policies: site.policies.clone(),
        kernel: nodes.clone(),
        wire: Some(site.wire.clone()),
        clock: site.clock.clone(),
    };
    let me = NodeRef { agent: "allocator".into(), ..NodeRef::default() };
    Engine::start(ports, Options::new(me)).unwrap()
}

fn node(name: &str, boot: &str) -> NodeRef {
    NodeRef {
        name: name.into(),
        uid: format!("uid-of-{name}").into(),
        agent: format!("agent-of-{name}").into(),
        boot: boot.into(),
    }
}

fn agent(name: &str) -> Arc<str> {
    node(name, "").agent
}

#[tokio::test]
async fn a_lease_is_judged_by_the_kernel_of_its_own_node() {
    let cluster = Cluster::new().await;
    let (n1, n2) = (cluster.hear("n1", "boot-1"), cluster.hear("n2", "boot-1b"));
    let first = cluster.add("n1", "boot-1", "c1").await;
    let second = cluster.add("n2", "boot-1b", "c2").await;
    assert_eq!(n1.cookie("c1"), n2.cookie("c2"), "what tells them apart is the node alone");
    assert_eq!(&*cluster.view(first).await.lease.node.name, "n1");
    n1.end("c1");
    assert_eq!(cluster.reclaim().await, 1);
    assert_eq!(cluster.view(first).await.lease.state_name(), "Released");
    assert_eq!(cluster.view(second).await.view, "held");
}

#[tokio::test]
async fn what_an_agent_could_not_see_is_counted_as_blind_and_kept() {
    let nodes = Cluster::new().await;
    let caller = Caller::Agent(AgentCall {
        node: Arc::new(node("n1", "b1")),
        netns: None,
        boottime_ms: nodes.site.clock.boottime_ms(),
        past: Past::None,
    });
    nodes.hear("n1", "b1");
    nodes.engine.add(AddRequest { caller, ..nodes.site.request("a") }).await.unwrap();
    assert_eq!(nodes.engine.counters().blind.get(), 1);
    assert_eq!(nodes.reclaim().await, 0);
}

#[tokio::test]
async fn of_a_node_whose_agent_has_not_spoken_nothing_is_known() {
    let mut cluster = Cluster::new().await;
    let n1 = cluster.hear("n1", "boot-1");
    let address = cluster.add("n1", "boot-1", "c1").await;
    n1.end("c1");
    cluster.restart();
    assert_eq!(cluster.reclaim().await, 0);
    assert_eq!(cluster.view(address).await.view, "held");
    cluster.hear("n1", "boot-1");
    assert_eq!(cluster.reclaim().await, 1);
}

#[tokio::test]
async fn another_boot_of_an_agent_ends_what_it_held_and_of_no_other() {
    let cluster = Cluster::new().await;
    cluster.hear("n1", "boot-1");
    cluster.hear("n2", "boot-2");
    let dead = cluster.add("n1", "boot-1", "c1").await;
    let alive = cluster.add("n2", "boot-2", "c2").await;
    cluster.hear("n1", "boot-1b");
    assert_eq!(cluster.reclaim().await, 1);
    assert_eq!(cluster.view(dead).await.lease.state_name(), "Released");
    assert_eq!(cluster.view(alive).await.view, "held");
}

#[tokio::test]
async fn another_agent_under_the_name_of_a_node_is_another_machine() {
    let cluster = Cluster::new().await;
    cluster.hear("n1", "boot-1");
    let address = cluster.add("n1", "boot-1", "c1").await;
    let stranger = NodeRef { agent: "another".into(), ..node("n1", "boot-9") };
    cluster.engine.note_agent(&stranger);
    assert_eq!(cluster.reclaim().await, 0);
    assert_eq!(cluster.view(address).await.view, "held");
}

#[tokio::test]
async fn what_a_silent_agent_was_last_heard_to_say_frees_nothing() {
    let cluster = Cluster::new().await;
    let n1 = cluster.hear("n1", "boot-1");
    let address = cluster.add("n1", "boot-1", "c1").await;
    n1.end("c1");
    for says in [NodeSays::AgentSilent, NodeSays::Lost, NodeSays::LostWithMany, NodeSays::Unknown] {
        cluster.nodes.says.lock().insert(agent("n1"), says);
        assert_eq!(cluster.reclaim().await, 0, "{says:?}");
    }
    cluster.nodes.says.lock().insert(agent("n1"), NodeSays::Heard);
    assert_eq!(cluster.reclaim().await, 1);
    assert_eq!(cluster.view(address).await.lease.state_name(), "Released");
}

#[tokio::test]
async fn the_pod_of_a_lost_node_goes_to_quarantine_and_comes_back_when_its_node_does() {
    let cluster = Cluster::new().await;
    cluster.hear("n1", "boot-1");
    let address = cluster.add("n1", "boot-1", "c1").await;
    cluster.site.policies.verdict.lock().permits_unfenced = true;
    cluster.nodes.says.lock().insert(agent("n1"), NodeSays::Lost);
    *cluster.nodes.api.lock() = Some(ApiSays::Alive);
    assert_eq!(cluster.reclaim().await, 0, "its pod is still wanted");
    *cluster.nodes.api.lock() = Some(ApiSays::Gone);
    assert_eq!(cluster.reclaim().await, 1);
    assert_eq!(cluster.view(address).await.view, "quarantined");
    cluster.nodes.says.lock().remove(&agent("n1"));
    cluster.engine.sweep().await.unwrap();
    assert_eq!(cluster.view(address).await.view, "held", "the partition healed, its holder lives");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_gets_what_goes_to_quarantine_once_nobody_answers_for_it() {
    let (cluster, waiter) = Cluster::quarantined_under_a_waiter().await;
    assert_eq!(cluster.reclaim().await, 1);
    until(|| waiter.is_finished()).await;
    assert_eq!(waiter.await.unwrap().unwrap(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(cluster.site.wire.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_address_that_answers_is_asked_for_again_only_after_a_minute() {
    let (cluster, waiter) = Cluster::quarantined_under_a_waiter().await;
    let address = "10.0.0.1".parse().unwrap();
    cluster.site.wire.set_foreign(address, true);
    assert_eq!(cluster.reclaim().await, 1);
    let error = waiter.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("pool p (0 held, 1 in quarantine) after 30 s"), "{error}");
    let asked = cluster.site.wire.asked().len();
    assert!((1..=2).contains(&asked), "asked {asked} times");
    assert_eq!(cluster.view(address).await.view, "quarantined");
}

#[tokio::test]
async fn a_fenced_node_holds_nothing() {
    let cluster = Cluster::new().await;
    cluster.hear("n1", "boot-1");
    cluster.add("n1", "boot-1", "c1").await;
    cluster.nodes.says.lock().insert(agent("n1"), NodeSays::Fenced);
    assert_eq!(cluster.reclaim().await, 1);
}

#[tokio::test]
async fn gc_of_one_node_leaves_the_leases_of_the_others_alone() {
    let cluster = Cluster::new().await;
    let (n1, n2) = (cluster.hear("n1", "boot-1"), cluster.hear("n2", "boot-2"));
    let first = cluster.add("n1", "boot-1", "c1").await;
    cluster.add("n2", "boot-2", "c2").await;
    n1.end("c1");
    n2.end("c2");
    cluster.site.clock.pass(Duration::from_secs(61));
    let clock = cluster.site.clock.clone();
    let passing = tokio::spawn(async move {
        loop {
            clock.pass(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let network = attachment("c1").network;
    let node = Some(node("n1", "boot-1"));
    let gc = GcRequest { node, network, valid: Vec::new(), allow_empty: true };
    let answer = cluster.engine.gc(gc).await.unwrap();
    passing.abort();
    assert_eq!((answer.released, answer.kept), (vec![first], vec![]));
}

#[tokio::test]
async fn a_del_spooled_on_one_node_frees_what_was_bound_before_it_there() {
    let cluster = Cluster::new().await;
    cluster.hear("n1", "boot-1");
    cluster.hear("n2", "boot-2");
    let address = cluster.add("n2", "boot-2", "c2").await;
    cluster.hear("n2", "boot-2b");
    let del = |boot: &str| DelRequest {
        bound_before: Some(SpoolInstant { boot: boot.into(), boottime_ms: 0 }),
        ..DelRequest::of(attachment("c2"))
    };
    cluster.engine.del(del("boot-2")).await.unwrap();
    assert_eq!(cluster.view(address).await.view, "held", "it was spooled before the hold began");
    cluster.engine.del(del("boot-2b")).await.unwrap();
    assert_eq!(cluster.view(address).await.lease.state_name(), "Released");
}

#[tokio::test]
async fn what_was_given_to_another_or_released_is_lost_and_what_the_store_forgot_is_not() {
    let cluster = Cluster::new().await;
    cluster.hear("n1", "boot-1");
    let address = cluster.add("n1", "boot-1", "a").await;
    let claim = |container: &str, generation: u64| Claim {
        attachment: attachment(container),
        key: LeaseKey { space: "default".parse().unwrap(), address },
        generation: Generation(generation),
    };
    let lost = async |claim| cluster.engine.overtaken(vec![claim]).await.unwrap().len();
    assert_eq!(lost(claim("a", 1)).await, 0, "it is as the store says");
    assert_eq!(lost(claim("b", 1)).await, 1, "another one has it");
    let epoch = cluster.engine.epoch();
    assert_eq!(lost(claim("b", 2)).await, 0, "the store knows of no hold so late: it went back");
    let another = cluster.engine.epoch();
    assert!(another > epoch, "a new life of the store begins");
    assert_eq!(lost(claim("b", 2)).await, 0);
    assert_eq!(cluster.engine.epoch(), another, "once for each claim");
    let unknown = Claim {
        key: LeaseKey { address: "10.0.0.200".parse().unwrap(), ..claim("a", 1).key },
        ..claim("a", 1)
    };
    assert_eq!(lost(unknown).await, 0, "the store knows of no hold at all");
    assert!(cluster.engine.epoch() > another);
    cluster.engine.del(DelRequest::of(attachment("a"))).await.unwrap();
    assert_eq!(lost(claim("a", 1)).await, 1, "it was released");
    assert_eq!(lost(claim("a", 2)).await, 0, "in an earlier generation");
}

#[tokio::test(start_paused = true)]
async fn a_whole_sweep_asks_for_all_of_one_node_before_the_next() {
    let (cluster, _background) = Cluster::busy().await;
    let asked = std::mem::take(&mut *cluster.nodes.asked.lock());
    let changes = asked.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!((asked.len(), changes), (9, 2), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn where_a_namespace_ended_only_its_node_and_suspects_are_asked_for() {
    let (cluster, _background) = Cluster::busy().await;
    cluster.asked();
    cluster.hear("n2", "boot-1").end("n2c0");
    cluster.engine.note_end_of(&"agent-of-n2".into());
    cluster.swept(1).await;
    let [n1, n2, n3] = cluster.asked();
    assert!(n2 >= 3 && (n1, n3) == (0, 0), "{n1} {n2} {n3}");
    // Its grace goes by the clock of the site, which stands: it stays suspect, and is looked at with whatever else.
    cluster.engine.note_end_of(&"agent-of-n1".into());
    cluster.swept(1).await;
    let [n1, n2, n3] = cluster.asked();
    assert!(n1 == 3 && n2 >= 1 && n2 < n1 && n3 == 0, "{n1} {n2} {n3}");
    cluster.site.clock.pass(Duration::from_secs(3));
    until(|| cluster.engine.counters().reclaimed.get() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn news_of_owners_make_those_asked_for_whose_agents_are_not_heard() {
    let (cluster, _background) = Cluster::busy().await;
    cluster.asked();
    cluster.engine.note_news_of_owners();
    cluster.swept(1).await;
    assert_eq!(cluster.asked(), [0, 0, 0]);
    cluster.nodes.says.lock().insert("agent-of-n3".into(), NodeSays::Unknown);
    cluster.engine.note_news_of_owners();
    cluster.swept(1).await;
    assert_eq!(cluster.asked(), [0, 0, 3]);
}

#[tokio::test(start_paused = true)]
async fn ends_that_are_told_all_the_time_do_not_keep_the_regular_sweep_away() {
    let (cluster, _background) = Cluster::busy().await;
    cluster.asked();
    for _ in 0..310 {
        cluster.engine.note_end_of(&"agent-of-n1".into());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let [n1, n2, n3] = cluster.asked();
    assert!((3..=6).contains(&n2) && n2 == n3 && n1 > 60, "{n1} {n2} {n3}");
}
