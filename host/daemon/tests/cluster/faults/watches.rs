//! Watches of a replica that tell nothing, or tell nothing of what happened.

use serde_json::{Value, json};
use tenure_lab::Front;

use crate::lab::until;
use crate::times::row;
use crate::world::{Cluster, time_until_within};

/// A watch lasts half a minute; one that is frozen is given up some seconds after that.
const HEARD_AGAIN_WITHIN: std::time::Duration = std::time::Duration::from_secs(90);

/// Node n1 is served by allocator 1, n2 by allocator 0, which stands behind a front.
fn split() -> (Cluster, Front) {
    let mut cluster = Cluster::empty();
    let front = cluster.front();
    cluster.start_allocator_behind(0, &front);
    cluster.start_allocator(1);
    for (node, number) in [("n1", 1), ("n2", 0)] {
        cluster.add_node_with(node, &[cluster.allocators[number].port()]);
        cluster.start_agent(node);
    }
    cluster.pool(
        "p",
        json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1-10.6.0.3"], "cooldown": "0s"}),
    );
    (cluster, front)
}

/// What allocator 0 believes of the pool.
fn believed(cluster: &Cluster, count: &str) -> Value {
    let answer: Value = serde_json::from_str(&cluster.allocators[0].admin("/v1/pools")).unwrap();
    answer["items"][0]["status"][count].clone()
}

/// The replica hears nothing from now on of what the other one does.
fn nothing_twice_and_nothing_overlooked(cluster: &Cluster) {
    let x = cluster.run("n1", "x");
    let y = cluster.run("n2", "y");
    let v = cluster.run("n1", "v");
    assert!(x != y && y != v && v != x, "the row itself says that an address is held");
    assert_eq!(cluster.held(), 3);
    // It comes free, and only the other replica knows.
    cluster.end("x");
    cluster.del("n1", "x").ok();
    until("it is released", || cluster.held() == 2);
    let lists = cluster.counted("LIST");
    let uid = cluster.pod("n2", "z");
    assert_eq!(cluster.add("n2", "z", &uid).ok().addresses(), [x], "the store was asked");
    assert!(cluster.counted("LIST") > lists);
    let uid = cluster.pod("n2", "w");
    assert_eq!(cluster.add("n2", "w", &uid).code(), 11, "now it is full");
    assert_eq!(cluster.held(), 3);
}

#[test]
fn what_a_replica_missed_because_events_were_lost_is_found_before_a_pool_is_called_full() {
    let (cluster, front) = split();
    front.lose_events(true);
    nothing_twice_and_nothing_overlooked(&cluster);
    assert_eq!(believed(&cluster, "free"), json!(0));
}

#[test]
fn a_watch_that_is_frozen_hides_nothing_and_is_given_up_in_the_end() {
    let (cluster, front) = split();
    front.freeze_watches();
    nothing_twice_and_nothing_overlooked(&cluster);
    cluster.end("v");
    cluster.del("n1", "v").ok();
    until("it is released", || cluster.held() == 2);
    assert_eq!(believed(&cluster, "free"), json!(0), "it has not heard of it");
    let took = time_until_within(HEARD_AGAIN_WITHIN, "it hears again", || {
        believed(&cluster, "free") == json!(1)
    });
    row("from a release to a replica hearing of it, its watches frozen", took);
}
