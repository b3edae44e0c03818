//! Facts as the API server's watches tell them, and what becomes of them where watches end, freeze and break.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tenure_core::error::Coded as _;
use tenure_kube::{Facts, FactsOptions, OUT_OF_SERVICE};
use tenure_lab::Front;
use tenure_sim::HandClock;

use crate::cluster::{Cluster, SHOP, until};
use crate::gate::Gate;

/// Watches that last a second, and deadlines for a server that is starved by the build of something else.
fn options() -> FactsOptions {
    FactsOptions {
        call_deadline: Duration::from_secs(2),
        watch_for: Duration::from_secs(1),
        ..FactsOptions::default()
    }
}

async fn facts_of(client: Client, options: FactsOptions) -> Arc<Facts> {
    let facts = Facts::start(client, Arc::new(HandClock::default()), options);
    facts.ready().await;
    facts
}

async fn until_seen(facts: &Facts, pod: &str) {
    until(&format!("{pod} is seen"), async || facts.pod(SHOP, pod).is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_three_kinds_are_told_of_and_what_changes_with_them() {
    let cluster = Cluster::new().await;
    let namespaces = Api::<Namespace>::all(cluster.client());
    let marks =
        json!({"labels": {"team": "red"}, "annotations": {"tenure.dev/a": "b", "other": "c"}});
    let patch = Patch::Merge(json!({"metadata": marks}));
    namespaces.patch(SHOP, &PatchParams::default(), &patch).await.unwrap();
    let node = cluster.node("n1").await;
    let owners = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web",
        "uid": "s1", "controller": true}]);
    let metadata = json!({"labels": {"app": "web"}, "annotations": {"tenure.dev/key": "k"},
        "ownerReferences": owners});
    let owner = cluster.pod("web-0", metadata).await;

    let facts = facts_of(cluster.client(), FactsOptions::default()).await;
    let shop = facts.namespace(SHOP).unwrap();
    assert_eq!(shop.labels.get("team"), Some("red"));
    assert_eq!(shop.annotations.iter().collect::<Vec<_>>(), [("tenure.dev/a", "b")]);
    let seen = facts.node("n1").unwrap();
    assert_eq!((&seen.uid, seen.labels.get("zone")), (&node.uid, Some("a")));
    let pod = facts.pod(SHOP, "web-0").unwrap();
    assert_eq!((&pod.uid, pod.node.as_deref()), (&owner.uid, Some("n1")));
    assert_eq!(pod.annotations.get("tenure.dev/key"), Some("k"));
    assert_eq!(&*pod.controller.as_ref().unwrap().kind, "StatefulSet");
    assert!(facts.pod("default", "web-0").is_none() && facts.pod(SHOP, "web").is_none());

    cluster.patch_pod("web-0", json!({"metadata": {"labels": {"app": "shop"}}})).await;
    until("the label is told", async || {
        facts.pod(SHOP, "web-0").unwrap().labels.get("app") == Some("shop")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_is_woken_by_ends_and_taints_only() {
    let cluster = Cluster::new().await;
    cluster.node("n1").await;
    let facts = facts_of(cluster.client(), FactsOptions::default()).await;
    let mut changed = facts.changed();
    cluster.pod("web-0", json!({})).await;
    until_seen(&facts, "web-0").await;
    cluster.patch_pod("web-0", json!({"metadata": {"labels": {"app": "shop"}}})).await;
    until("the label is told", async || {
        facts.pod(SHOP, "web-0").unwrap().labels.get("app").is_some()
    })
    .await;
    assert!(!changed.has_changed().unwrap(), "nothing ended");
    cluster.delete("web-0", 30).await;
    changed.changed().await.unwrap();
    let deletion = facts.pod(SHOP, "web-0").unwrap().deletion.unwrap();
    assert_eq!(deletion.grace, Some(Duration::from_secs(30)));
    cluster.delete("web-0", 0).await;
    until("it is gone", async || facts.pod(SHOP, "web-0").is_none()).await;
    changed.mark_unchanged();
    cluster.taint("n1", Some(OUT_OF_SERVICE)).await;
    changed.changed().await.unwrap();
    assert!(facts.node("n1").unwrap().is_out_of_service);
}

/// Lists come in protobuf, single objects in JSON.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_tells_of_each_object_what_a_read_of_it_tells() {
    let cluster = Cluster::new().await;
    cluster.node("n1").await;
    let owners = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web",
        "uid": "s1", "controller": true}]);
    let metadata = json!({"labels": {"app": "web", "empty": ""}, "ownerReferences": owners,
        "annotations": {"tenure.dev/key": "k", "kubernetes.io/config.hash": "f00"}});
    cluster.pod("web-0", metadata).await;
    cluster.pod("plain", json!({})).await;
    cluster.pod("ending", json!({})).await;
    cluster.delete("ending", 30).await;
    cluster.pod("done", json!({})).await;
    let status = Patch::Merge(json!({"status": {"phase": "Failed"}}));
    cluster.pods().patch_status("done", &PatchParams::default(), &status).await.unwrap();
    let once = json!({"metadata": {"name": "once"}, "spec": {"restartPolicy": "OnFailure",
        "containers": [{"name": "c", "image": "none"}]}});
    let once = serde_json::from_value(once).unwrap();
    cluster.pods().create(&PostParams::default(), &once).await.unwrap();
    cluster.taint("n1", Some(OUT_OF_SERVICE)).await;

    let facts = facts_of(cluster.client(), FactsOptions::default()).await;
    for name in ["web-0", "plain", "ending", "done", "once"] {
        let read = facts.fetch_pod(SHOP, name).await.unwrap();
        assert_eq!(facts.pod(SHOP, name).as_deref(), read.as_ref(), "{name}");
    }
    assert!(facts.pod(SHOP, "ending").unwrap().deletion.is_some_and(|end| end.grace.is_some()));
    assert!(facts.pod(SHOP, "done").unwrap().is_finished);
    let node = facts.fetch_node("n1").await.unwrap();
    assert_eq!(facts.node("n1").as_deref(), node.as_ref());
    assert!(node.unwrap().is_out_of_service);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_many_pages_is_read_to_its_end() {
    let cluster = Cluster::new().await;
    for n in 0..7 {
        cluster.pod(&format!("web-{n}"), json!({})).await;
    }
    let before = cluster.lab.counted_of("pods", "LIST").await;
    let facts = facts_of(cluster.client(), FactsOptions { page: 3, ..options() }).await;
    assert_eq!(facts.counts()[0], 7);
    assert_eq!(cluster.lab.counted_of("pods", "LIST").await - before, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_ends_goes_on_where_it_was_without_another_list() {
    let cluster = Cluster::new().await;
    let facts = facts_of(cluster.client(), options()).await;
    let watches = cluster.lab.counted_of("pods", "WATCH").await;
    let lists = cluster.lab.counted_of("pods", "LIST").await;
    until("watches end", async || cluster.lab.counted_of("pods", "WATCH").await > watches + 2)
        .await;
    cluster.pod("web-0", json!({})).await;
    until_seen(&facts, "web-0").await;
    assert_eq!(cluster.lab.counted_of("pods", "LIST").await, lists);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_watch_is_noticed() {
    let cluster = Cluster::new().await;
    let gate = Gate::before(cluster.lab.config()).await;
    let watch_for = Duration::from_secs(3);
    let facts = facts_of(gate.client(), FactsOptions { watch_for, ..options() }).await;
    cluster.pod("web-0", json!({})).await;
    // A watch has told this, as the list came before it.
    until_seen(&facts, "web-0").await;
    gate.freeze();
    cluster.pod("web-1", json!({})).await;
    until_seen(&facts, "web-1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_away_what_was_known_stays_and_is_not_called_current() {
    let cluster = Cluster::new().await;
    cluster.pod("web-0", json!({})).await;
    let gate = Gate::before(cluster.lab.config()).await;
    let facts = facts_of(gate.client(), options()).await;
    assert!(facts.is_current());
    gate.shut();
    until("it is not current", async || !facts.is_current()).await;
    cluster.delete("web-0", 0).await;
    cluster.pod("web-1", json!({})).await;
    assert!(facts.pod(SHOP, "web-0").is_some());
    gate.open();
    until_seen(&facts, "web-1").await;
    assert!(facts.pod(SHOP, "web-0").is_none());
    until("it is current", async || facts.is_current()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_lost_events_a_list_tells_what_is_gone() {
    let cluster = Cluster::new().await;
    for name in ["web-0", "web-1"] {
        cluster.pod(name, json!({})).await;
    }
    let front = Front::before(cluster.lab.config()).await;
    let client = Client::try_from(front.config()).unwrap();
    let facts = facts_of(client, options()).await;
    let mut changed = facts.changed();
    changed.mark_unchanged();
    front.cut_watches(Some(410));
    cluster.delete("web-0", 0).await;
    cluster.pod("web-2", json!({})).await;
    changed.changed().await.unwrap();
    assert!(facts.pod(SHOP, "web-0").is_none());
    until_seen(&facts, "web-2").await;
    assert!(facts.pod(SHOP, "web-1").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_fetched_as_it_stands_now_and_a_silent_server_is_an_error() {
    let cluster = Cluster::new().await;
    let gate = Gate::before(cluster.lab.config()).await;
    let facts = facts_of(gate.client(), options()).await;
    let owner = cluster.pod("web-0", json!({})).await;
    let fetched = facts.fetch_pod(SHOP, "web-0").await.unwrap().unwrap();
    assert_eq!((fetched.uid, fetched.node.as_deref()), (owner.uid, Some("n1")));
    assert_eq!(facts.fetch_pod(SHOP, "web-1").await.unwrap(), None);
    assert_eq!(facts.fetch_pod("nowhere", "web-0").await.unwrap(), None);
    assert!(facts.fetch_pod("..", "web-0").await.is_err());
    assert!(facts.fetch_pod(SHOP, "web-0/log").await.is_err());
    gate.shut();
    let error = facts.fetch_pod(SHOP, "web-0").await.unwrap_err();
    assert_eq!(error.code(), "API_SILENT");
}
