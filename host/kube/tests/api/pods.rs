//! What the API says of owners.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_core::judge::ApiSays;
use tenure_core::lease::{Owner, OwnerKind};
use tenure_kube::{Facts, FactsOptions, PodWitness};
use tenure_sim::HandClock;

use crate::cluster::{Cluster, SHOP, until};
use crate::gate::Gate;

struct Scene {
    cluster: Cluster,
    gate: Gate,
    clock: Arc<HandClock>,
    facts: Arc<Facts>,
    witness: PodWitness,
}

impl Scene {
    async fn new() -> Self {
        let cluster = Cluster::new().await;
        let gate = Gate::before(cluster.lab.config()).await;
        let clock = Arc::new(HandClock::default());
        let options =
            FactsOptions { call_deadline: Duration::from_secs(2), ..FactsOptions::default() };
        let facts = Facts::start(gate.client(), clock.clone(), options);
        facts.ready().await;
        let witness = PodWitness::new(facts.clone(), clock.clone());
        Self { cluster, gate, clock, facts, witness }
    }

    async fn live(&self, owner: &Owner) -> ApiSays {
        self.witness.says_live(std::slice::from_ref(owner)).await[0]
    }

    async fn deletion_told(&self, pod: &str) {
        let is_told = || self.facts.pod(SHOP, pod).is_some_and(|pod| pod.deletion.is_some());
        until("the deletion is told", async || is_told()).await;
    }

    async fn until_cached(&self, owner: &Owner, said: ApiSays) {
        let what = format!("the watch tells that {} is {said:?}", owner.name);
        until(&what, async || self.witness.says_cached(owner) == said).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_there_is_alive_until_it_is_finished() {
    let scene = Scene::new().await;
    for phase in ["Succeeded", "Failed"] {
        let owner = scene.cluster.pod(&phase.to_lowercase(), json!({})).await;
        scene.cluster.phase(&owner.name, "Running").await;
        assert_eq!(scene.live(&owner).await, ApiSays::Alive);
        scene.until_cached(&owner, ApiSays::Alive).await;
        scene.cluster.phase(&owner.name, phase).await;
        assert_eq!(scene.live(&owner).await, ApiSays::Gone, "{phase}");
        scene.until_cached(&owner, ApiSays::Gone).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_was_deleted_is_gone_and_another_one_of_its_name_is_not_it() {
    let scene = Scene::new().await;
    let first = scene.cluster.pod("web-0", json!({})).await;
    scene.until_cached(&first, ApiSays::Alive).await;
    scene.cluster.delete("web-0", 0).await;
    assert_eq!(scene.live(&first).await, ApiSays::Gone);
    scene.until_cached(&first, ApiSays::Gone).await;
    let second = scene.cluster.pod("web-0", json!({})).await;
    let said = scene.witness.says_live(&[first.clone(), second.clone(), first.clone()]).await;
    assert_eq!(said, [ApiSays::Gone, ApiSays::Alive, ApiSays::Gone]);
    scene.until_cached(&second, ApiSays::Alive).await;
    assert_eq!(scene.witness.says_cached(&first), ApiSays::Gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminating_pod_is_overdue_once_its_grace_has_passed_since_it_was_seen() {
    let scene = Scene::new().await;
    let owner = scene.cluster.pod("web-0", json!({})).await;
    scene.cluster.delete("web-0", 30).await;
    // What passed before anybody looked counts for nothing.
    assert_eq!(scene.live(&owner).await, ApiSays::Alive);
    // It may come late, and would count from then on.
    scene.deletion_told("web-0").await;
    scene.clock.pass(Duration::from_millis(29_999));
    assert_eq!(scene.live(&owner).await, ApiSays::Alive);
    scene.clock.pass(Duration::from_millis(1));
    assert_eq!(scene.live(&owner).await, ApiSays::Overdue);
    scene.until_cached(&owner, ApiSays::Overdue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_the_watch_told_of_counts_from_then_on() {
    let scene = Scene::new().await;
    let owner = scene.cluster.pod("web-0", json!({})).await;
    scene.cluster.delete("web-0", 30).await;
    scene.deletion_told("web-0").await;
    scene.clock.pass(Duration::from_secs(30));
    assert_eq!(scene.live(&owner).await, ApiSays::Overdue);
    assert_eq!(scene.witness.says_cached(&owner), ApiSays::Overdue);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_says_nothing_of_anybody() {
    let scene = Scene::new().await;
    let there = scene.cluster.pod("web-0", json!({})).await;
    let gone = Owner { name: "web-1".into(), uid: "u".into(), ..there.clone() };
    scene.until_cached(&there, ApiSays::Alive).await;
    scene.gate.shut();
    let said = scene.witness.says_live(&[there.clone(), gone.clone()]).await;
    assert_eq!(said, [ApiSays::Silent; 2]);
    for owner in [&there, &gone] {
        scene.until_cached(owner, ApiSays::Silent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_owners_that_the_api_does_not_know_it_says_nothing() {
    let scene = Scene::new().await;
    let pod = scene.cluster.pod("web-0", json!({})).await;
    let vm = Owner { kind: OwnerKind::Vm, ..pod.clone() };
    let unknown = Owner { uid: "".into(), ..pod.clone() };
    let nameless = Owner { name: "".into(), ..pod.clone() };
    let said = scene.witness.says_live(&[vm.clone(), unknown.clone(), nameless]).await;
    assert_eq!(said, [ApiSays::Nothing, ApiSays::Nothing, ApiSays::Silent]);
    for owner in [vm, unknown] {
        assert_eq!(scene.witness.says_cached(&owner), ApiSays::Nothing);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_pod_is_known_by_the_hash_that_its_node_calls_it_by() {
    let scene = Scene::new().await;
    let hash = json!({"annotations": {"kubernetes.io/config.hash": "abc"}});
    let shown = scene.cluster.pod("proxy-n1", hash).await;
    let holder = Owner { uid: "abc".into(), ..shown.clone() };
    let changed = Owner { uid: "abd".into(), ..shown.clone() };
    let said = scene.witness.says_live(&[holder.clone(), changed, shown]).await;
    assert_eq!(said, [ApiSays::Alive, ApiSays::Gone, ApiSays::Alive]);
    scene.until_cached(&holder, ApiSays::Alive).await;
}
