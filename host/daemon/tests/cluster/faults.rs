//! What goes wrong in a cluster, each story by its name.

use serde_json::json;

use crate::lab::until;
use crate::world::{Cluster, time_until};

#[test]
fn a_del_succeeds_with_allocator_and_api_server_away_and_is_done_later() {
    let mut cluster = Cluster::start(1, &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    cluster.run("n1", "a");
    cluster.run("n1", "b");
    cluster.server().kill_server();
    cluster.del("n1", "a").ok();
    cluster.allocators[0].kill();
    cluster.del("n1", "b").ok();
    cluster.start_server();
    assert_eq!(cluster.held(), 2, "nobody could be told");
    cluster.start_allocator(0);
    let took = time_until("both are released", || cluster.held() == 0);
    println!("released {took:.2?} after the allocator was started again");
}

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
    println!("an ADD was served {took:.2?} after the leader was killed");
    answer.unwrap().ok();
    // The zombie is found by the one that leads now.
    cluster.force_delete("z");
    cluster.end("z");
    let took = time_until("the zombie is back", || cluster.held() == 2);
    println!("a zombie was back {took:.2?} after its end, with a new leader");
    assert_ne!(cluster.leader(), leader);
}

#[test]
fn an_agent_that_is_down_keeps_what_its_pods_hold_whatever_the_api_says() {
    let mut cluster = Cluster::start(1, &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "unfencedReclaim": "probe"}));
    cluster.run("n1", "a");
    cluster.agents.get_mut("n1").unwrap().kill();
    cluster.force_delete("a");
    // The kubelet goes on: the node is not lost. One and a half lost times.
    for count in 1..=15 {
        cluster.renew("n1", count);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    assert_eq!(cluster.held(), 1);
    // The agent comes back and sees it alive; then its end is proved.
    cluster.start_agent("n1");
    cluster.reached("n1", 1);
    cluster.end("a");
    until("its kernel says that it is gone", || cluster.held() == 0);
}
