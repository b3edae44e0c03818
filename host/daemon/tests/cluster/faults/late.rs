//! Writes that land after whoever sent them has given up.

use http::Method;
use rustix::process::Signal;
use serde_json::json;
use tenure_lab::{Fate, Front};
use tokio::sync::oneshot;

use crate::lab::until;
use crate::times::row;
use crate::world::{Cluster, time_until};

/// The ADD of a pod has its write held on the way; then its allocator dies, its runtime loses patience, and the DEL comes.
/// Answers what lets the write go.
fn given_up(cluster: &mut Cluster, front: &Front, pod: &str) -> oneshot::Sender<()> {
    let (go, held) = oneshot::channel();
    let uid = cluster.pod("n1", pod);
    crate::lab::netns(pod);
    let before = front.seen(&Method::POST);
    front.next(Method::POST, [Fate::Held(held)]);
    let mut add = cluster.plugin_call("ADD", "n1", pod, &uid).waiting(30).start();
    until("the write is on its way", || front.seen(&Method::POST) > before);
    cluster.allocators[0].kill();
    add.kill().unwrap();
    add.wait().unwrap();
    cluster.del("n1", pod).ok();
    cluster.start_allocator_behind(0, front);
    let spool = cluster.agents["n1"].path("spool");
    until("the DEL is done", || std::fs::read_dir(&spool).unwrap().count() == 0);
    assert!(!cluster.holds(pod), "nothing was written yet");
    go
}

#[test]
fn a_write_that_lands_after_its_caller_gave_up_and_was_deleted_holds_nothing_for_long() {
    let mut cluster = Cluster::empty();
    let front = cluster.front();
    cluster.start_behind(&[&front], &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    let go = given_up(&mut cluster, &front, "a");
    go.send(()).unwrap();
    until("the late write stands there", || cluster.holds("a"));
    cluster.force_delete("a");
    cluster.end("a");
    let took = time_until("it is taken back", || cluster.held() == 0);
    row("from the end of a container to what a late write gave it being free", took);
}

#[test]
fn a_write_that_lands_late_is_the_answer_of_the_next_add_of_its_attachment() {
    let mut cluster = Cluster::empty();
    let front = cluster.front();
    cluster.start_behind(&[&front], &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    let go = given_up(&mut cluster, &front, "a");
    go.send(()).unwrap();
    until("the late write stands there", || cluster.holds("a"));
    let name = cluster.leases().into_keys().next().unwrap();
    until("the allocator has heard of it", || {
        cluster.allocators[0].admin("/v1/leases").contains(&format!("\"{name}\""))
    });
    let uid = cluster.uid("a");
    let address = cluster.add("n1", "a", &uid).ok().addresses()[0];
    assert_eq!((address.to_string(), cluster.held()), (name, 1), "one set of one attachment");
    cluster.del("n1", "a").ok();
    until("its DEL frees it", || cluster.held() == 0);
}

#[test]
fn a_write_that_lands_after_another_replica_has_answered_holds_nothing() {
    let mut cluster = Cluster::empty();
    let fronts = [cluster.front(), cluster.front()];
    cluster.start_behind(&fronts.each_ref(), &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    let leader = cluster.leader();
    let signal = |cluster: &Cluster, signal| {
        cluster.allocators[leader].daemon.as_ref().unwrap().signal(signal);
    };
    let stuck = &fronts[leader];
    let (go, held): (Vec<_>, Vec<_>) = (0..16).map(|_| oneshot::channel()).unzip();
    stuck.next(Method::POST, held.into_iter().map(Fate::Held));
    let uid = cluster.pod("n1", "a");
    crate::lab::netns("a");
    let add = cluster.plugin_call("ADD", "n1", "a", &uid).waiting(30);
    let add = std::thread::spawn(move || add.run());
    until("the write is on its way", || stuck.seen(&Method::POST) > 0);
    // The other one shall choose another address.
    cluster.reserve("10.6.0.1");
    signal(&cluster, Signal::STOP);
    let address = add.join().unwrap().ok().addresses()[0].to_string();
    signal(&cluster, Signal::CONT);
    for held in go {
        let _ = held.send(());
    }
    until("the late write stands there", || cluster.leases().len() == 2);
    let took = time_until("it is given up", || cluster.held() == 1);
    row("from a write that lands late beside an answered one to its address being free", took);
    assert_eq!(cluster.leases()[&address]["state"], "Bound");
}
