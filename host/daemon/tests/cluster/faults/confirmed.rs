//! An operator says that a machine is dead: by the admin API of an allocator, as `tenure node confirm-dead` does.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::lab::until;
use crate::world::{Cluster, time_until};

/// One address, which a pod of n1 holds.
fn one_address() -> (Cluster, std::net::IpAddr) {
    let cluster = Cluster::start(2, &["n1", "n2"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1"], "cooldown": "0s"}));
    let address = cluster.run("n1", "a");
    (cluster, address)
}

/// The machine of this name, as the leader shows it.
fn node(cluster: &Cluster, name: &str) -> Value {
    the_node(cluster, "name", name)
}

/// That whose `field` says this.
fn the_node(cluster: &Cluster, field: &str, says: &str) -> Value {
    let answer = cluster.allocators[cluster.leader()].admin("/v1/nodes");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let mut nodes = answer["items"].as_array().unwrap().iter();
    nodes.find(|node| node[field] == says).cloned().unwrap_or_default()
}

fn confirm(cluster: &Cluster, uid: &str) -> (u16, Value) {
    let path = format!("/v1/nodes/{uid}/confirm-dead");
    let word = json!({"reason": "power cut in row 3", "by": "olga"}).to_string();
    let (status, answer) = cluster.allocators[cluster.leader()].ask("POST", &path, &word);
    (status, serde_json::from_str(&answer).unwrap())
}

#[test]
fn what_a_confirmed_dead_node_held_is_given_to_others() {
    let (mut cluster, address) = one_address();
    let uid = node(&cluster, "n1")["uid"].as_str().unwrap().to_owned();
    assert_eq!(node(&cluster, "n1")["state"], "up");
    assert_eq!(
        (&node(&cluster, "n1")["held"], &node(&cluster, "n2")["held"]),
        (&json!(1), &json!(0))
    );
    cluster.agents.get_mut("n1").unwrap().kill();
    let took = time_until("it is lost", || node(&cluster, "n1")["state"] == "lost");
    println!("lost {took:.2?} after the last word of a node (lost time 10 s)");
    let b = cluster.pod("n2", "b");
    assert_eq!(cluster.add("n2", "b", &b).code(), 11, "being lost gives nothing to anybody");
    let (status, refused) = confirm(&cluster, "n1");
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("NODE_NAME")));
    assert!(refused["error"]["message"].as_str().unwrap().contains(&uid), "{refused}");
    assert_eq!(confirm(&cluster, "c0ffee").0, 404);
    assert_eq!(cluster.held(), 1);
    let (status, confirmed) = confirm(&cluster, &uid);
    assert_eq!((status, &confirmed["state"]), (200, &json!("fenced")), "{confirmed}");
    let reason = confirmed["fence"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("power cut in row 3 (olga, 20"), "{reason}");
    let took = time_until("it is free", || cluster.held() == 0);
    println!("freed {took:.2?} after the operator's word");
    let took = time_until("another has it", || cluster.add("n2", "b", &b).exit == 0);
    println!("given to another {took:.2?} later");
    assert_eq!(cluster.leases()[&address.to_string()]["owner"]["name"], "b");
}

#[test]
fn a_node_that_is_heard_is_not_confirmed_dead() {
    let (mut cluster, _) = one_address();
    let uid = node(&cluster, "n1")["uid"].as_str().unwrap().to_owned();
    let (status, refused) = confirm(&cluster, &uid);
    let message = refused["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(status, 409, "{refused}");
    assert!(message.contains("an agent on n1 was heard"), "{message}");
    // The agent is away, and the kubelet is not.
    cluster.agents.get_mut("n1").unwrap().kill();
    let mut count = 0;
    until("only the agent is silent", || {
        count += 1;
        cluster.renew("n1", count);
        node(&cluster, "n1")["state"] == "silent"
    });
    cluster.renew("n1", count + 1);
    let (status, refused) = confirm(&cluster, &uid);
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(status == 409 && message.contains("its kubelet has renewed"), "{refused}");
    assert_eq!(node(&cluster, "n1")["fence"], Value::Null);
    assert_eq!(cluster.held(), 1);
}

#[test]
fn a_word_that_was_wrong_ends_when_the_agent_is_heard_also_for_a_replica_that_begins_later() {
    let mut cluster = Cluster::start(2, &["n1", "n2"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    cluster.run("n1", "a");
    let uid = node(&cluster, "n1")["uid"].as_str().unwrap().to_owned();
    cluster.agents["n1"].daemon.as_ref().unwrap().signal(Signal::STOP);
    until("it is lost", || node(&cluster, "n1")["state"] == "lost");
    assert_eq!(confirm(&cluster, &uid).0, 200);
    cluster.agents["n1"].daemon.as_ref().unwrap().signal(Signal::CONT);
    until("the word is taken back", || {
        let node = node(&cluster, "n1");
        node["state"] == "up" && node["fence"] == Value::Null
    });
    cluster.reached("n1", 2);
    let c = cluster.run("n1", "c");
    // The node is cut off, and both replicas begin anew: they know nothing of the agent that has lived.
    cluster.agents["n1"].daemon.as_ref().unwrap().signal(Signal::STOP);
    for number in 0..2 {
        cluster.allocators[number].kill();
        cluster.start_allocator(number);
    }
    for allocator in &cluster.allocators {
        let socket = allocator.path("admin.sock");
        until("it serves", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    }
    until("it is lost again", || node(&cluster, "n1")["state"] == "lost");
    assert_eq!(cluster.leases()[&c.to_string()]["state"], "Bound");
    cluster.agents["n1"].daemon.as_ref().unwrap().signal(Signal::CONT);
}

#[test]
fn a_new_machine_under_the_name_of_a_dead_one_does_not_speak_for_what_that_held() {
    let mut cluster = Cluster::start(2, &["n1", "n2"]);
    let range = json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1-10.6.0.3"], "cooldown": "0s"});
    cluster.pool("p", range);
    let (gone, stays) = (cluster.run("n1", "a"), cluster.run("n1", "b"));
    let uid = node(&cluster, "n1")["uid"].as_str().unwrap().to_owned();
    cluster.replace_machine("n1");
    let here = cluster.run("n1", "c");
    let state = |cluster: &Cluster, address: std::net::IpAddr| {
        cluster.leases()[&address.to_string()]["state"].clone()
    };
    cluster.force_delete("a");
    let took =
        time_until("the deleted pod's is quarantined", || state(&cluster, gone) == "Quarantined");
    println!("quarantined {took:.2?} after the first word of the successor (lost time 10 s)");
    assert_eq!((state(&cluster, stays), state(&cluster, here)), (json!("Bound"), json!("Bound")));
    let old = the_node(&cluster, "uid", &uid);
    assert_eq!((&old["state"], &old["connected"]), (&json!("lost"), &json!(false)), "{old}");
    let (status, confirmed) = confirm(&cluster, &uid);
    assert_eq!((status, &confirmed["state"]), (200, &json!("fenced")), "{confirmed}");
    let took = time_until("both are free", || {
        [gone, stays].iter().all(|address| state(&cluster, *address) == "Released")
    });
    println!("free {took:.2?} after the operator's word");
    assert_eq!(state(&cluster, here), "Bound");
}
