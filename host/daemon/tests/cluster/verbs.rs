//! The verbs, from the plugin's process to the object in the API.

use crate::lab::until;
use crate::world::Cluster;
use serde_json::json;

#[test]
fn an_add_and_a_del_are_one_write_each_and_the_lease_names_pod_and_node() {
    let cluster = Cluster::start(1, &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    let uid = cluster.pod("n1", "web-0");
    let before = ["POST", "PUT", "GET", "LIST"].map(|verb| cluster.counted(verb));
    let address = cluster.add("n1", "web-0", &uid).ok().addresses()[0];
    cluster.del("n1", "web-0").ok();
    let after = ["POST", "PUT", "GET", "LIST"].map(|verb| cluster.counted(verb));
    let calls: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(calls, [1, 1, 0, 0]);
    let leases = cluster.leases();
    let lease = &leases[&address.to_string()];
    assert_eq!(lease["state"], "Released");
    assert_eq!((&lease["owner"]["name"], &lease["owner"]["uid"]), (&json!("web-0"), &json!(uid)));
    assert_eq!(lease["node"]["name"], "n1");
    assert_ne!(lease["node"]["uid"], "");
}

#[test]
fn a_zombie_on_a_node_that_is_up_is_reclaimed_by_its_kernel() {
    let cluster = Cluster::start(2, &["n1", "n2"]);
    cluster.pool(
        "p",
        json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1-10.6.0.2"], "cooldown": "0s"}),
    );
    let first = cluster.run("n1", "a");
    cluster.run("n2", "b");
    let uid = cluster.pod("n2", "c");
    assert_eq!(cluster.add("n2", "c", &uid).code(), 11, "the pool is full");
    // Its DEL never comes, and its pod is gone from the API; the other one is gone from the API only.
    cluster.force_delete("a");
    cluster.force_delete("b");
    cluster.end("a");
    until("the zombie is back", || cluster.held() == 1);
    assert_eq!(cluster.add("n2", "c", &uid).ok().addresses(), [first]);
    assert_eq!(cluster.held(), 2, "b lives: its kernel says so, whatever the API says");
}

#[test]
fn pools_choose_by_labels_of_pods_namespaces_and_nodes() {
    let cluster = Cluster::start(1, &["n1"]);
    cluster.pool(
        "gold",
        json!({"cidr": "10.7.0.0/24", "podSelector": {"matchLabels": {"tier": "gold"}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": "n1"}}}),
    );
    let plain = cluster.pod("n1", "plain");
    assert_eq!(cluster.add("n1", "plain", &plain).code(), 7, "no pool admits it");
    let gold = cluster.pod_with("n1", "gold", json!({"labels": {"tier": "gold"}}));
    let address = cluster.add("n1", "gold", &gold).ok().addresses()[0];
    assert!(address.to_string().starts_with("10.7.0."));
}

#[test]
fn a_claimed_pod_of_another_node_or_uid_counts_as_a_container_of_its_own() {
    let cluster = Cluster::start(1, &["n1", "n2"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    let uid = cluster.pod("n2", "a");
    let address = cluster.add("n1", "a", &uid).ok().addresses()[0];
    let lease = cluster.leases()[&address.to_string()].clone();
    assert_eq!(
        (&lease["owner"]["kind"], &lease["owner"]["uid"]),
        (&json!("container"), &json!("a"))
    );
    // And a node cannot take back what is held on another one.
    cluster.del("n2", "a").ok();
    assert_eq!(cluster.held(), 1);
    cluster.del("n1", "a").ok();
    assert_eq!(cluster.held(), 0);
}
