//! Whose address comes back to whom, and what a workload may ask for.

use serde_json::{Value, json};

use crate::lab::until;
use crate::world::Cluster;

/// A pod of a StatefulSet.
fn ordinal(set: &str) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": set, "uid": "0", "controller": true});
    json!({"ownerReferences": [owner]})
}

fn annotated(key: &str, value: &str) -> Value {
    json!({"annotations": {key: value}})
}

fn two_nodes(addresses: &str) -> Cluster {
    let cluster = Cluster::start(1, &["n1", "n2"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "ranges": [addresses], "cooldown": "0s"}));
    cluster
}

#[test]
fn a_stateful_set_keeps_its_addresses_over_restart_and_move_and_frees_them_after_a_scale_down() {
    let cluster = two_nodes("10.6.0.1-10.6.0.2");
    cluster.policy("sticky-identity", json!({"retainSeconds": 6}));
    // An address that has just been left rests for a second: a kubelet would come again, this ADD waits.
    let start = |node: &str, pod: &str, sandbox: &str| {
        let uid = cluster.pod_with(node, pod, ordinal("web"));
        let add = cluster.plugin_call("ADD", node, pod, &uid).sandbox(sandbox);
        add.waiting(10).run().ok().addresses()[0]
    };
    let leave = |node: &str, pod: &str, sandbox: &str| {
        cluster.end(sandbox);
        cluster.plugin_call("DEL", node, pod, "").of(sandbox).run().ok();
        cluster.force_delete(pod);
    };
    let (first, second) = (start("n1", "web-0", "s1"), start("n1", "web-1", "s2"));
    leave("n1", "web-0", "s1");
    assert_eq!(start("n1", "web-0", "s3"), first, "after a restart");
    leave("n1", "web-0", "s3");
    assert_eq!(start("n2", "web-0", "s4"), first, "after a move");
    // Scaled down to one: kept for a while, then anybody's.
    leave("n1", "web-1", "s2");
    let other = cluster.pod("n2", "other");
    let refusal = cluster.add("n2", "other", &other);
    assert_eq!(refusal.code(), 11);
    let kept = "1 held, 1 retained for workloads that may return";
    assert!(refusal.body.to_string().contains(kept), "{refusal:?}");
    until("its time is over", || {
        let answer = cluster.call("ADD", "n2", "other", &other);
        answer.exit == 0 && answer.addresses() == [second]
    });
}

#[test]
fn a_sandbox_that_is_made_anew_keeps_the_address_of_its_pod() {
    let cluster = two_nodes("10.6.0.1-10.6.0.2");
    let uid = cluster.pod("n1", "a");
    let add = |sandbox: &str| cluster.plugin_call("ADD", "n1", "a", &uid).sandbox(sandbox).run();
    let address = add("s1").ok().addresses()[0];
    cluster.end("s1");
    assert_eq!(add("s2").ok().addresses(), [address]);
    let lease = cluster.leases()[&address.to_string()].clone();
    assert_eq!(
        (&lease["attachment"]["container"], &lease["generation"]),
        (&json!("s2"), &json!(2))
    );
    // The DEL of the sandbox before comes late.
    cluster.plugin_call("DEL", "n1", "a", &uid).sandbox("s1").run().ok();
    assert_eq!(cluster.held(), 1);
}

#[test]
fn a_pod_of_the_same_name_and_another_uid_has_nothing_of_the_one_before() {
    let cluster = two_nodes("10.6.0.1-10.6.0.2");
    let start = |node: &str, sandbox: &str| {
        let uid = cluster.pod(node, "a");
        let add = cluster.plugin_call("ADD", node, "a", &uid).sandbox(sandbox);
        add.run().ok().addresses()[0]
    };
    let old = start("n1", "s1");
    cluster.force_delete("a");
    let new = start("n2", "s2");
    assert_ne!(old, new, "the first one still lives, whatever the API says");
    // Each ends for itself.
    cluster.plugin_call("DEL", "n1", "a", "").sandbox("s1").run().ok();
    let leases = cluster.leases();
    assert_eq!(leases[&old.to_string()]["state"], "Released");
    assert_eq!(leases[&new.to_string()]["state"], "Bound");
}

#[test]
fn an_annotation_fixes_an_address_or_a_set_of_addresses_for_a_workload() {
    let cluster = two_nodes("10.6.0.1-10.6.0.99");
    cluster.pool("app", json!({"cidr": "10.7.0.0/24", "ranges": ["10.7.0.5-10.7.0.6"]}));
    cluster.policy("sticky-identity", json!({}));
    cluster.policy("pool-order", json!({"defaultPools": ["p"]}));
    let add = |pod: &str, key: &str, value: &str| {
        let uid = cluster.pod_with("n1", pod, annotated(key, value));
        cluster.add("n1", pod, &uid)
    };
    let given = |answer: crate::lab::Answer| answer.ok().addresses()[0].to_string();
    assert_eq!(given(add("fixed", "tenure.dev/ips", "10.6.0.77")), "10.6.0.77");
    assert_eq!(add("rival", "tenure.dev/ips", "10.6.0.77").code(), 11, "it waits for it");
    let mut set = ["app-0", "app-1"].map(|pod| given(add(pod, "tenure.dev/pools", "app")));
    set.sort_unstable();
    assert_eq!(set, ["10.7.0.5", "10.7.0.6"]);
    assert_eq!(add("app-2", "tenure.dev/pools", "app").code(), 11, "none but its own set");
    let plain = cluster.run("n1", "plain").to_string();
    assert!(plain.starts_with("10.6.0."), "{plain}");
}

#[test]
fn a_pod_may_have_several_interfaces_on_one_pool_and_others_on_networks_of_their_own() {
    let cluster = two_nodes("10.6.0.1-10.6.0.9");
    cluster.pool("storage", json!({"cidr": "10.8.0.0/24", "networks": ["storage"]}));
    let uid = cluster.pod("n1", "a");
    let add = |network: &str, ifname: &str| {
        let call = cluster.plugin_call("ADD", "n1", "a", &uid).sandbox("a");
        call.attached(network, ifname).run().ok().addresses()[0].to_string()
    };
    let (eth0, net1) = (add("net", "eth0"), add("net", "net1"));
    assert!(eth0 != net1 && net1.starts_with("10.6.0."), "{eth0} {net1}");
    assert!(add("storage", "net2").starts_with("10.8.0."));
    let del = cluster.plugin_call("DEL", "n1", "a", &uid).sandbox("a");
    del.attached("net", "net1").run().ok();
    let leases = cluster.leases();
    let state = |address: &str| leases[address]["state"].clone();
    assert_eq!((state(&eth0), state(&net1)), (json!("Bound"), json!("Released")));
}
