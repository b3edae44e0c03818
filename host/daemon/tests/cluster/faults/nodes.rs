//! Nodes are lost, fenced, come back, or their objects are made anew.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::lab::until;
use crate::times::row;
use crate::world::{Cluster, time_until};

#[test]
fn an_agent_cut_off_while_its_pods_live_gets_their_addresses_back_though_the_pods_were_force_deleted()
 {
    let cluster = Cluster::start(2, &["n1", "n2"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1"], "cooldown": "0s"}));
    let address = cluster.run("n1", "a");
    let generation =
        |cluster: &Cluster| cluster.leases()[&address.to_string()]["generation"].clone();
    let before = generation(&cluster);
    // Neither agent nor kubelet is heard any more.
    cluster.agents["n1"].daemon.as_ref().unwrap().signal(Signal::STOP);
    cluster.force_delete("a");
    let state = |cluster: &Cluster| cluster.leases()[&address.to_string()]["state"].clone();
    let took = time_until("it is quarantined", || state(&cluster) == "Quarantined");
    row("from the last word of a node to quarantine (lost time 10 s)", took);
    // Without a way to ask on the wire nobody else gets it.
    let uid = cluster.pod("n2", "b");
    assert_eq!(cluster.add("n2", "b", &uid).code(), 11);
    cluster.agents["n1"].daemon.as_ref().unwrap().signal(Signal::CONT);
    let took = time_until("it is held again", || state(&cluster) == "Bound");
    row("from its return to its addresses being held again", took);
    assert_eq!(generation(&cluster), before);
    assert_eq!(cluster.add("n2", "b", &uid).code(), 11);
}

#[test]
fn a_late_del_of_a_node_that_was_fenced_frees_nothing_of_its_successor() {
    let mut cluster = Cluster::start(2, &["n1", "n2"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1"], "cooldown": "0s"}));
    let address = cluster.run("n1", "a");
    cluster.agents.get_mut("n1").unwrap().kill();
    // Its plugin keeps the DEL on the disk of a machine that then goes down.
    cluster.del("n1", "a").ok();
    cluster.fence("n1");
    let took = time_until("the fence frees it", || cluster.held() == 0);
    row("from a fence to its addresses being free (lost time 10 s)", took);
    let uid = cluster.pod("n2", "b");
    // Nobody saw its end: the address rests as long as one without proof does.
    let took = time_until("its successor has it", || cluster.add("n2", "b", &uid).exit == 0);
    row("from there to the successor", took);
    cluster.start_agent("n1");
    cluster.reached("n1", 2);
    let spool = cluster.agents["n1"].path("spool");
    until("the late DEL is done", || std::fs::read_dir(&spool).unwrap().count() == 0);
    assert_eq!(cluster.held(), 1, "b holds it");
    let lease = cluster.leases()[&address.to_string()].clone();
    assert_eq!(lease["owner"]["name"], "b");
}

#[test]
fn a_node_object_made_anew_while_its_kubelet_lives_changes_nothing_for_its_pods() {
    let cluster = Cluster::start(1, &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    cluster.run("n1", "a");
    cluster.remake_node("n1");
    let address = cluster.run("n1", "b");
    // Sweeps come every second; two lost times.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(cluster.held(), 2);
    cluster.end("a");
    cluster.force_delete("a");
    until("its kernel still speaks for it", || cluster.held() == 1);
    assert_eq!(cluster.leases()[&address.to_string()]["state"], "Bound");
}

#[test]
fn a_fenced_node_that_lived_after_all_sets_the_links_down_whose_addresses_went_to_others() {
    let cluster = Cluster::start(2, &["n1", "n2"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1"], "cooldown": "0s"}));
    let address = cluster.run("n1", "a");
    cluster.bring_up("a", address);
    // The operator is wrong: the machine is only cut off.
    cluster.agents["n1"].daemon.as_ref().unwrap().signal(Signal::STOP);
    cluster.fence("n1");
    until("the fence frees it", || cluster.held() == 0);
    let uid = cluster.pod("n2", "b");
    until("its successor has it", || cluster.add("n2", "b", &uid).exit == 0);
    let is_up = || {
        let show = std::process::Command::new("ip")
            .args(["-n", "a", "link", "show", "eth0"])
            .output()
            .unwrap();
        String::from_utf8(show.stdout).unwrap().contains(",UP")
    };
    assert!(is_up(), "both answer for it");
    cluster.agents["n1"].daemon.as_ref().unwrap().signal(Signal::CONT);
    let took = time_until("the old one is silent", || !is_up());
    row("double hold after a wrong fence, once the node was heard again", took);
    until("the agent serves again", || {
        cluster.agents["n1"].log().matches("connected to an allocator").count() >= 4
    });
    assert_eq!(cluster.held(), 1);
}
