//! An API server that is overrun, and rows that are never as they were read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::json;
use tenure_lab::Front;
use tenure_lab::cluster::resource;

use crate::lab::until;
use crate::times::row;
use crate::world::{Cluster, time_until};

/// Longer than a DEL is tried before the plugin keeps it on disk.
const STORM: Duration = Duration::from_secs(5);

#[test]
fn adds_and_dels_outlast_a_storm_of_429() {
    outlast(429);
}

#[test]
fn adds_and_dels_outlast_a_storm_of_503() {
    outlast(503);
}

/// Ten pods leave and ten come while the API server refuses whatever is asked about leases.
fn outlast(code: u16) {
    let mut cluster = Cluster::empty();
    let front = cluster.front();
    cluster.start_behind(&[&front, &front], &["n1", "n2"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1-10.6.0.20"]}));
    let pods = cluster.pods(&["n1", "n2"], 20);
    let (old, new) = pods.split_at(10);
    for [node, pod, uid] in old {
        cluster.add(node, pod, uid).ok();
    }
    let before = front.asked();
    front.storm(Some(code));
    let began = Instant::now();
    let (mut asked, mut calm) = (0, began);
    let tries = cluster.add_all_while(new, |cluster| {
        cluster.del_all(old);
        sleep(STORM.saturating_sub(began.elapsed()));
        let held = cluster.leases().into_values().filter(|spec| spec["state"] == "Bound");
        let names: Vec<_> = held.map(|spec| spec["owner"]["name"].clone()).collect();
        assert!(old.iter().all(|[_, pod, _]| names.contains(&json!(pod))), "nothing was done yet");
        assert_eq!(names.len(), 10);
        (calm, asked) = (Instant::now(), front.asked() - before);
        front.storm(None);
    });
    row(&format!("from the end of a storm of {code} to 10 ADDs served"), calm.elapsed());
    until("the DELs are done", || cluster.held() == 10);
    row(&format!("from the end of a storm of {code} to 10 DELs done"), calm.elapsed());
    row(&format!("requests in 5 s of {code}, of 10 ADDs and 10 DELs"), asked);
    row(&format!("tries of 10 ADDs in a storm of {code}"), tries);
    assert!(asked < 400, "it would be thousands without pauses");
}

#[test]
fn dels_and_adds_get_through_to_rows_that_somebody_else_writes_without_pause() {
    let mut cluster = Cluster::start(2, &["n1"]);
    let one = json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1"], "cooldown": "0s"});
    cluster.pool("p", one);
    let name = cluster.run("n1", "a").to_string();
    let before = cluster.conflicts();
    let noise = Noise::about(&cluster, &name);
    cluster.end("a");
    let took = time_until("the DEL is done", || {
        cluster.del("n1", "a").ok();
        cluster.held() == 0
    });
    row("DEL of a row that is written without pause", took);
    let uid = cluster.pod("n1", "b");
    let took = time_until("the next one has it", || cluster.add("n1", "b", &uid).exit == 0);
    row("ADD upon a row that is written without pause", took);
    row("writes of others meanwhile", noise.end(&cluster));
    let refused = cluster.conflicts() - before;
    row("writes of ours that were refused for it (409)", refused);
    assert!(refused > 0, "they did meet");
    assert_eq!(cluster.leases()[&name]["owner"]["name"], "b");
    // Nothing of it is left behind: the next life of the address is as any other.
    cluster.agents.get_mut("n1").unwrap().check();
    cluster.del("n1", "b").ok();
    until("it is released", || cluster.held() == 0);
}

/// Somebody who writes a row all the time, nothing of what Tenure wrote changed.
struct Noise {
    over: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<usize>>,
}

impl Noise {
    fn about(cluster: &Cluster, name: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let client = cluster.allocator_client();
        let writer = || {
            let api = Api::<DynamicObject>::all_with(client.clone(), &resource("IPLease"));
            let (over, name) = (over.clone(), name.to_owned());
            cluster.spawn(async move {
                let mut count = 0;
                while !over.load(Ordering::Relaxed) {
                    let note = json!({"metadata": {"annotations": {"noise": count.to_string()}}});
                    let patch = Patch::Merge(note);
                    let written = api.patch(&name, &PatchParams::default(), &patch).await;
                    count += usize::from(written.is_ok());
                }
                count
            })
        };
        let writers = (0..2).map(|_| writer()).collect();
        Self { over, writers }
    }

    /// How many writes there were.
    fn end(self, cluster: &Cluster) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.writers.into_iter().map(|writer| cluster.wait(writer).unwrap()).sum()
    }
}

#[test]
fn replicas_that_hear_nothing_of_each_other_give_all_of_a_pool_and_no_address_twice() {
    let mut cluster = Cluster::empty();
    let fronts = [cluster.front(), cluster.front(), cluster.front()];
    let nodes = ["n1", "n2", "n3"];
    for (number, node) in nodes.iter().enumerate() {
        cluster.start_allocator_behind(number, &fronts[number]);
        cluster.add_node_with(node, &[cluster.allocators[number].port()]);
        cluster.start_agent(node);
    }
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1-10.6.0.60"]}));
    fronts.iter().for_each(|front: &Front| front.lose_events(true));
    let before = cluster.conflicts();
    let pods = cluster.pods(&nodes, 60);
    let began = Instant::now();
    let tries = cluster.add_all_while(&pods, |_| {});
    row("60 ADDs by three replicas that hear nothing of each other", began.elapsed());
    row("tries of them", tries);
    let refused = cluster.conflicts() - before;
    row("writes of them that met an address of another replica (409)", refused);
    assert!(refused > 0, "they did meet");
    assert_eq!(cluster.held(), 60);
}
