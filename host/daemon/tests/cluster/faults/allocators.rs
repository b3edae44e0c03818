//! Allocators are killed, or two of them lead.

use rustix::process::Signal;
use serde_json::json;

use crate::lab::until;
use crate::times::row;
use crate::world::{Cluster, time_until};

#[test]
fn another_allocator_serves_when_the_leader_is_killed_and_sweeps_in_its_place() {
    let mut cluster = Cluster::start(2, &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    cluster.run("n1", "a");
    cluster.run("n1", "z");
    let leader = cluster.leader();
    cluster.allocators[leader].kill();
    let uid = cluster.pod("n1", "b");
    let mut answer = None;
    let took = time_until("an ADD is served", || {
        let add = cluster.add("n1", "b", &uid);
        let served = add.exit == 0;
        answer = Some(add);
        served
    });
    row("from the death of the leader to an ADD served", took);
    answer.unwrap().ok();
    // The zombie is found by the one that leads now.
    cluster.force_delete("z");
    cluster.end("z");
    let took = time_until("the zombie is back", || cluster.held() == 2);
    row("from the end of a zombie to its address, with a new leader", took);
    assert_ne!(cluster.leader(), leader);
}

#[test]
fn two_hundred_adds_in_flight_survive_the_death_of_the_leader() {
    let mut cluster = Cluster::start(3, &["n1", "n2"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1-10.6.0.200"]}));
    let pods = cluster.pods(&["n1", "n2"], 200);
    let leader = cluster.leader();
    let tries = cluster.add_all_while(&pods, |cluster| {
        until("some ADDs are done", || cluster.held() >= 20);
        cluster.allocators[leader].kill();
    });
    row("tries of 200 ADDs, the leader killed in between", tries);
    assert_eq!(cluster.held(), 200);
}

#[test]
fn two_allocators_that_both_believe_to_lead_give_no_address_twice() {
    let mut cluster = Cluster::start(2, &["n1", "n2"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1-10.6.0.60"]}));
    let pods = cluster.pods(&["n1", "n2"], 60);
    let leader = cluster.leader();
    let signal = |cluster: &Cluster, signal| {
        cluster.allocators[leader].daemon.as_ref().unwrap().signal(signal);
    };
    signal(&cluster, Signal::STOP);
    until("the other one leads", || cluster.leader() != leader);
    let tries = cluster.add_all_while(&pods, |cluster| {
        until("some ADDs are done", || cluster.held() >= 10);
        // It wakes in the belief that it leads, with an old view and whatever it had begun.
        signal(cluster, Signal::CONT);
    });
    row("tries of 60 ADDs, with two leaders", tries);
    assert_eq!(cluster.held(), 60);
}
