//! The API server is away, stopped, or killed in the middle of writes.

use rustix::process::Signal;
use serde_json::json;

use crate::lab::until;
use crate::times::row;
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
    row("from the start of the allocator to DELs of before done", took);
}

#[test]
fn an_api_server_that_stops_for_a_minute_costs_adds_and_no_del() {
    let mut cluster = Cluster::start(2, &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    cluster.run("n1", "old");
    let uid = cluster.pod("n1", "new");
    cluster.server().server().unwrap().signal(Signal::STOP);
    let stopped = std::time::Instant::now();
    cluster.del("n1", "old").ok();
    let mut answers = Vec::new();
    while stopped.elapsed().as_secs() < 60 {
        answers.push(cluster.add("n1", "new", &uid));
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    cluster.server().server().unwrap().signal(Signal::CONT);
    let failed = answers.iter().filter(|answer| answer.exit != 0).count();
    assert_eq!(failed, answers.len(), "nothing can be written");
    assert!(
        answers.iter().all(|answer| answer.body["code"] == 11 || answer.body["code"] == 5),
        "{answers:?}"
    );
    let mut address = None;
    let took = time_until("an ADD is served", || {
        let answer = cluster.add("n1", "new", &uid);
        address = (answer.exit == 0).then(|| answer.addresses()[0]);
        address.is_some()
    });
    row("ADDs that failed while the API server stood still for a minute", answers.len());
    row("from the API server going on to an ADD served", took);
    // One address, whatever became of the writes of the tries before.
    until("the DEL is done, and the pod has one address", || cluster.held() == 1);
    let leases = cluster.leases();
    assert_eq!(leases[&address.unwrap().to_string()]["state"], "Bound");
}

#[test]
fn adds_whose_writes_are_cut_off_by_the_end_of_the_api_server_are_served_once_and_leave_nothing_behind()
 {
    let mut cluster = Cluster::start(2, &["n1", "n2"]);
    // Cut to size: a set of which nobody was told would be missed.
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.10-10.6.0.69"]}));
    cluster.pool("q", json!({"cidr": "fd00::/64", "ranges": ["fd00::10-fd00::4b"]}));
    let pods = cluster.pods(&["n1", "n2"], 60);
    let killed = cluster.add_all_while(&pods, |cluster| {
        until("some ADDs are done", || cluster.held() >= 20);
        cluster.server().kill_server();
        cluster.start_server();
    });
    row("tries of 60 ADDs, the API server killed in between", killed);
    until("two addresses each and no more", || cluster.held() == 120);
    cluster.del_all(&pods);
    until("nothing is left behind", || cluster.held() == 0);
}
