//! What the API says of nodes whose agents are silent. Time is moved by hand, in steps of five seconds with a read of the real
//! leases after each, and the witness polls when it is told to. Two tests let time pass, and the poll run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use tenure_core::judge::NodeSays;
use tenure_core::lease::NodeRef;
use tenure_core::time::{Clock, Moment, WallMs};
use tenure_kube::{Facts, FactsOptions, FencedBy, NodeOptions, NodeWitness, OUT_OF_SERVICE};
use tenure_sim::HandClock;

use crate::cluster::{Cluster, until};
use crate::gate::Gate;

/// Time as it passes.
struct RealClock(Instant);

impl Clock for RealClock {
    fn now(&self) -> Moment {
        Moment(self.0.elapsed().as_millis() as u64)
    }
    fn boottime_ms(&self) -> u64 {
        0
    }
    fn wall(&self) -> WallMs {
        WallMs(0)
    }
}

struct Scene {
    cluster: Cluster,
    gate: Gate,
    clock: Arc<HandClock>,
    facts: Arc<Facts>,
    witness: NodeWitness,
    nodes: Vec<Arc<NodeRef>>,
}

/// It polls at its start and when it is woken: a poll that is under way while time is moved would count it for nobody.
fn rarely() -> NodeOptions {
    NodeOptions {
        every: Duration::from_secs(3600),
        call_deadline: Duration::from_secs(2),
        ..NodeOptions::default()
    }
}

/// For real time.
fn often() -> NodeOptions {
    NodeOptions {
        lost: Duration::from_secs(2),
        every: Duration::from_millis(100),
        close: Duration::from_secs(10),
        ..rarely()
    }
}

impl Scene {
    /// Of nodes with these names, with leases that were renewed once.
    async fn of(names: &[&str], options: NodeOptions) -> Self {
        let cluster = Cluster::new().await;
        let mut nodes = Vec::new();
        for name in names {
            nodes.push(Arc::new(cluster.node(name).await));
            cluster.renew(name).await;
        }
        let gate = Gate::before(cluster.lab.config()).await;
        let clock = Arc::new(HandClock::default());
        let facts = Facts::start(cluster.client(), clock.clone(), FactsOptions::default());
        facts.ready().await;
        let witness = witness_of(gate.client(), &facts, clock.clone(), options);
        witness.watch_for(nodes.iter().map(|node| node.name.clone()));
        Self { cluster, gate, clock, facts, witness, nodes }
    }

    /// From now on time passes by itself, and another witness polls often.
    fn let_time_pass(&mut self) {
        let clock = Arc::new(RealClock(Instant::now()));
        self.witness = witness_of(self.cluster.client(), &self.facts, clock, often());
    }

    /// So much time passes, with a read of all leases every five seconds; these are renewed before each.
    async fn pass(&self, seconds: u64, renewing: &[&str]) -> Vec<NodeSays> {
        for _ in 0..seconds / 5 {
            self.read(renewing).await;
            self.clock.pass(Duration::from_secs(5));
        }
        self.read(renewing).await
    }

    async fn read(&self, renewing: &[&str]) -> Vec<NodeSays> {
        for name in renewing {
            self.cluster.renew(name).await;
        }
        self.witness.reread(&self.nodes).await
    }

    fn says(&self) -> NodeSays {
        self.witness.says(&self.nodes[0])
    }

    async fn until(&self, said: NodeSays) {
        until(&format!("it is {said:?}"), async || self.says() == said).await;
    }

    /// Wakes the poll, and waits for it to read.
    async fn poll(&self) {
        let counted = async || self.cluster.lab.counted_of("leases", "GET").await;
        let before = counted().await;
        self.witness.undo("nobody").await.unwrap();
        until("it polls", async || counted().await > before).await;
    }

    async fn taint(&self, key: Option<&str>) {
        self.cluster.taint("n1", key).await;
        until("the taint is told", async || {
            self.facts.node("n1").unwrap().is_out_of_service == (key == Some(OUT_OF_SERVICE))
        })
        .await;
        self.poll().await;
    }
}

fn witness_of(
    client: Client,
    facts: &Arc<Facts>,
    clock: Arc<dyn Clock>,
    options: NodeOptions,
) -> NodeWitness {
    NodeWitness::start(client, facts.clone(), clock, options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_renewed_stops_and_is_renewed_again() {
    let scene = Scene::of(&["n1"], rarely()).await;
    assert_eq!(scene.pass(35, &["n1"]).await, [NodeSays::Unknown]);
    assert_eq!(scene.pass(10, &["n1"]).await, [NodeSays::AgentSilent]);
    assert_eq!(scene.pass(35, &[]).await, [NodeSays::AgentSilent]);
    assert_eq!(scene.pass(10, &[]).await, [NodeSays::Lost]);
    assert_eq!(scene.read(&["n1"]).await, [NodeSays::AgentSilent]);
    scene.witness.heard(&NodeRef { name: "n1".into(), ..NodeRef::default() });
    assert_eq!(scene.says(), NodeSays::Heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_vanishes_is_a_change_and_then_silence() {
    let scene = Scene::of(&["n1"], rarely()).await;
    scene.pass(45, &[]).await;
    scene.cluster.delete_lease("n1").await;
    assert_eq!(scene.read(&[]).await, [NodeSays::AgentSilent]);
    assert_eq!(scene.pass(45, &[]).await, [NodeSays::Lost]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_in_which_the_server_was_away_counts_for_nobody() {
    let scene = Scene::of(&["n1"], rarely()).await;
    scene.pass(30, &[]).await;
    scene.gate.shut();
    assert_eq!(scene.pass(120, &[]).await, [NodeSays::Unknown]);
    assert_eq!(scene.says(), NodeSays::Unknown);
    scene.gate.open();
    until("leases are read again", async || {
        scene.witness.reread(&scene.nodes).await;
        scene.witness.confirmed().await.is_ok()
    })
    .await;
    assert_eq!(scene.read(&[]).await, [NodeSays::Unknown], "30 seconds count");
    assert_eq!(scene.pass(15, &[]).await, [NodeSays::Lost]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_established_is_unknown_where_it_cannot_be_read_again() {
    let scene = Scene::of(&["n1"], rarely()).await;
    assert_eq!(scene.pass(45, &[]).await, [NodeSays::Lost]);
    scene.gate.shut();
    assert_eq!(scene.witness.reread(&scene.nodes).await, [NodeSays::Unknown]);
    scene.witness.heard(&NodeRef { name: "n1".into(), ..NodeRef::default() });
    assert_eq!(scene.witness.reread(&scene.nodes).await, [NodeSays::Heard]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taint_fences_until_an_agent_is_heard_and_again_when_it_is_set_again() {
    let scene = Scene::of(&["n1"], rarely()).await;
    scene.taint(Some(OUT_OF_SERVICE)).await;
    assert_eq!(scene.pass(35, &[]).await, [NodeSays::Unknown]);
    assert_eq!(scene.pass(10, &[]).await, [NodeSays::Fenced]);
    assert!(scene.witness.fence_seen(&scene.nodes[0]).is_some());
    scene.witness.heard(&NodeRef { name: "n1".into(), ..NodeRef::default() });
    assert_eq!(scene.says(), NodeSays::Heard);
    assert_eq!(scene.pass(90, &[]).await, [NodeSays::Lost], "it is the old fence");
    scene.taint(None).await;
    scene.until(NodeSays::Lost).await;
    scene.taint(Some(OUT_OF_SERVICE)).await;
    scene.until(NodeSays::Fenced).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taint_that_is_gone_fences_nobody_even_if_the_watch_has_not_told_it() {
    let scene = Scene::of(&["n1"], rarely()).await;
    scene.taint(Some(OUT_OF_SERVICE)).await;
    let gate = Gate::before(scene.cluster.lab.config()).await;
    let options = FactsOptions {
        call_deadline: Duration::from_secs(2),
        watch_for: Duration::from_secs(600),
        ..FactsOptions::default()
    };
    let facts = Facts::start(gate.client(), scene.clock.clone(), options);
    facts.ready().await;
    let witness = witness_of(scene.cluster.client(), &facts, scene.clock.clone(), rarely());
    witness.watch_for([scene.nodes[0].name.clone()]);
    until("the fence is seen", async || witness.fence_seen(&scene.nodes[0]).is_some()).await;
    for _ in 0..9 {
        witness.reread(&scene.nodes).await;
        scene.clock.pass(Duration::from_secs(5));
    }
    assert_eq!(witness.reread(&scene.nodes).await, [NodeSays::Fenced]);
    gate.freeze();
    scene.cluster.taint("n1", None).await;
    until("it is read that the taint is gone", async || {
        let said = witness.reread(&scene.nodes).await[0];
        // The first read may go out on a connection that is frozen, too.
        assert!(matches!(said, NodeSays::Unknown | NodeSays::Lost), "{said:?}");
        said == NodeSays::Lost
    })
    .await;
    assert!(facts.node("n1").unwrap().is_out_of_service, "the watch has not told it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_fences_a_machine_by_the_uid_of_its_node_and_takes_it_back() {
    let scene = Scene::of(&["n1"], rarely()).await;
    assert_eq!(scene.pass(45, &[]).await, [NodeSays::Lost]);
    let uid = scene.nodes[0].uid.to_string();
    scene.witness.undo(&uid).await.unwrap();
    assert!(scene.witness.confirmed().await.unwrap().is_empty());
    scene.witness.confirm_dead("another", "fire").await.unwrap();
    scene.witness.confirm_dead(&uid, "it was scrapped").await.unwrap();
    assert_eq!(scene.read(&[]).await, [NodeSays::Fenced]);
    assert_eq!(scene.says(), NodeSays::Fenced);
    let map = scene.cluster.fences().get("tenure-fences").await.unwrap().data.unwrap();
    assert_eq!(map.get(&uid).map(String::as_str), Some("it was scrapped"));
    scene.witness.undo(&uid).await.unwrap();
    assert_eq!(scene.read(&[]).await, [NodeSays::Lost]);
    assert_eq!(scene.witness.confirmed().await.unwrap().len(), 1);
    assert!(scene.witness.confirm_dead("", "nobody").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_of_six_that_are_lost_at_once_are_many() {
    let names = ["n1", "n2", "n3", "n4", "n5", "n6"];
    let scene = Scene::of(&names, rarely()).await;
    let (many, silent) = (NodeSays::LostWithMany, NodeSays::AgentSilent);
    assert_eq!(
        scene.pass(45, &["n4", "n5", "n6"]).await,
        [many, many, many, silent, silent, silent]
    );
    let scene = Scene::of(&names, rarely()).await;
    let said = scene.pass(45, &["n3", "n4", "n5", "n6"]).await;
    assert_eq!(said[..3], [NodeSays::Lost, NodeSays::Lost, silent]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leases_of_many_nodes_are_read_by_lists() {
    let mut scene = Scene::of(&["n1"], rarely()).await;
    scene.let_time_pass();
    let absent = (0..99).map(|n| format!("absent-{n}").into());
    scene.witness.watch_for(absent.chain([scene.nodes[0].name.clone()]));
    let absent = NodeRef { name: "absent-7".into(), ..NodeRef::default() };
    scene.until(NodeSays::LostWithMany).await;
    assert_eq!(scene.witness.says(&absent), NodeSays::LostWithMany);
    let gets = scene.cluster.lab.counted_of("leases", "GET").await;
    scene.cluster.renew("n1").await;
    scene.until(NodeSays::AgentSilent).await;
    assert_eq!(scene.witness.says(&absent), NodeSays::LostWithMany);
    assert_eq!(scene.cluster.lab.counted_of("leases", "GET").await, gets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_poll_alone_sees_a_node_fall_silent_and_return() {
    let mut scene = Scene::of(&["n1"], rarely()).await;
    scene.let_time_pass();
    scene.witness.watch_for([scene.nodes[0].name.clone()]);
    let began = Instant::now();
    scene.witness.heard(&NodeRef { name: "n1".into(), ..NodeRef::default() });
    assert_eq!(scene.says(), NodeSays::Heard);
    scene.until(NodeSays::Lost).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    scene.cluster.renew("n1").await;
    scene.until(NodeSays::AgentSilent).await;
    scene.until(NodeSays::Lost).await;
    scene.witness.heard(&NodeRef { name: "n1".into(), ..NodeRef::default() });
    assert_eq!(scene.says(), NodeSays::Heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_word_of_an_operator_that_an_agent_has_proved_wrong_is_taken_back_for_all() {
    let scene = Scene::of(&["n1", "n2"], rarely()).await;
    let uids: Vec<String> = scene.nodes.iter().map(|node| node.uid.to_string()).collect();
    scene.pass(45, &[]).await;
    for uid in &uids {
        scene.witness.confirm_dead(uid, "power cut").await.unwrap();
    }
    scene.read(&[]).await;
    assert!(scene.witness.lift_ended(&scene.nodes).await.is_empty(), "nobody was heard");
    scene.witness.heard(&NodeRef { name: "n1".into(), ..NodeRef::default() });
    assert_eq!(scene.witness.lift_ended(&scene.nodes[1..]).await, [], "that is another one");
    assert_eq!(*scene.witness.lift_ended(&scene.nodes).await, [scene.nodes[0].uid.clone()]);
    let stand = scene.witness.confirmed().await.unwrap();
    assert_eq!(stand.keys().collect::<Vec<_>>(), [&uids[1]]);
    // A process that begins now, and never hears the agent that has lived since.
    let witness = witness_of(scene.cluster.client(), &scene.facts, scene.clock.clone(), rarely());
    witness.watch_for(scene.nodes.iter().map(|node| node.name.clone()));
    for _ in 0..10 {
        witness.reread(&scene.nodes).await;
        scene.clock.pass(Duration::from_secs(5));
    }
    let said = witness.reread(&scene.nodes).await;
    assert_eq!(said, [NodeSays::Lost, NodeSays::Fenced], "only the second is a word that stands");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_since_when_a_node_is_silent_and_who_says_that_it_is_dead() {
    let scene = Scene::of(&["n1"], rarely()).await;
    let look = || scene.witness.look(&scene.nodes[0]);
    scene.witness.heard(&NodeRef { name: "n1".into(), ..NodeRef::default() });
    let seen = look();
    assert_eq!(
        (seen.says, seen.heard, seen.has_lease),
        (NodeSays::Heard, Some(Duration::ZERO), None)
    );
    // Its lease is read once the agent is no longer heard.
    scene.pass(85, &[]).await;
    scene.witness.confirm_dead(&scene.nodes[0].uid, "burnt").await.unwrap();
    scene.read(&[]).await;
    scene.clock.pass(Duration::from_secs(3));
    let seen = look();
    assert_eq!((seen.says, seen.has_lease), (NodeSays::Fenced, Some(true)));
    assert_eq!(seen.heard, Some(Duration::from_secs(88)));
    // The word of the operator wakes the witness, and of two reads that overlap nothing lies between.
    let silent = seen.lease_silent.as_secs();
    assert!(silent == 40 || silent == 45, "{silent}");
    let fences: Vec<_> = seen.fences.iter().map(|one| (one.by, one.seen, one.has_ended)).collect();
    assert_eq!(fences, [(FencedBy::Operator, Duration::from_secs(3), false)]);
    scene.witness.heard(&NodeRef { name: "n1".into(), ..NodeRef::default() });
    assert!(look().fences[0].has_ended);
    scene.cluster.delete_lease("n1").await;
    scene.read(&[]).await;
    assert_eq!(look().says, NodeSays::Heard);
}
