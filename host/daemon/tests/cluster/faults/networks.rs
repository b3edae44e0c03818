//! A node loses both networks: that of its agent, and that of its pods.

use std::time::{Duration, Instant};

use serde_json::json;
use tenure_lab::Relay;

use crate::lab::{ip, netns, until};
use crate::times::row;
use crate::world::{Cluster, time_until, time_until_within};

/// Lost time, the grace of the pod, two looks, and a machine that is busy.
const REUSED_WITHIN: Duration = Duration::from_secs(90);

/// The physical network: a switch with a gateway, and an uplink of each node.
struct Wires;

impl Wires {
    fn new() -> Self {
        netns("gateway");
        ip(&["link", "add", "sw0", "type", "bridge"]);
        ip(&["link", "set", "sw0", "up"]);
        for (ours, theirs) in [("u1", "s1"), ("u2", "s2"), ("g0", "s0")] {
            ip(&["link", "add", ours, "type", "veth", "peer", "name", theirs]);
            ip(&["link", "set", theirs, "master", "sw0"]);
            ip(&["link", "set", theirs, "up"]);
        }
        ip(&["link", "set", "g0", "netns", "gateway"]);
        ip(&["-n", "gateway", "addr", "add", "10.6.0.254/24", "dev", "g0"]);
        ip(&["-n", "gateway", "link", "set", "g0", "up"]);
        ip(&["link", "set", "u1", "up"]);
        ip(&["link", "set", "u2", "up"]);
        Self
    }

    /// Node n1 has no wire any more.
    fn cut() {
        ip(&["link", "set", "s1", "nomaster"]);
    }

    fn heal() {
        ip(&["link", "set", "s1", "master", "sw0"]);
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for link in ["u1", "u2", "s0", "sw0"] {
            let _ = std::process::Command::new("ip").args(["link", "del", link]).output();
        }
    }
}

fn is_up(pod: &str) -> bool {
    let show = ["-n", pod, "-o", "link", "show", "eth0"];
    let shown = std::process::Command::new("ip").args(show).output().unwrap();
    String::from_utf8_lossy(&shown.stdout).contains(",UP")
}

#[test]
fn a_node_that_lost_both_networks_gives_way_to_the_new_holder_once_it_is_back() {
    let mut cluster = Cluster::empty();
    let _wires = Wires::new();
    cluster.start_allocator(0);
    cluster.start_allocator(1);
    let cables: Vec<Relay> =
        (0..2).map(|number| cluster.relay(cluster.allocators[number].port())).collect();
    cluster.add_node_with("n1", &cables.iter().map(Relay::port).collect::<Vec<_>>());
    cluster.add_node("n2");
    for node in ["n1", "n2"] {
        cluster.start_agent(node);
        cluster.reached(node, 2);
    }
    cluster.pool(
        "p",
        json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1"], "gateway": "10.6.0.254", "cooldown": "0s"}),
    );
    let uid = cluster.pod("n1", "a");
    netns("a");
    let address = cluster.plugin_call("ADD", "n1", "a", &uid).on("u1").run_main().addresses()[0];
    assert!(is_up("a"));
    let uid = cluster.pod("n2", "b");
    netns("b");
    let add = cluster.plugin_call("ADD", "n2", "b", &uid).on("u2");
    let del = cluster.plugin_call("DEL", "n2", "b", &uid).on("u2");
    assert_eq!(add.run_main().code(), 11, "the pool has one address");

    // Cut off, and its pod is given up for dead; it lives.
    cables.iter().for_each(Relay::freeze);
    Wires::cut();
    let cut = Instant::now();
    cluster.force_delete("a");
    let took = time_until_within(REUSED_WITHIN, "the new pod has its address", || {
        // As runtimes do: what failed is taken down before it is tried again.
        del.run_main().ok();
        let answer = add.run_main();
        assert!(answer.exit == 0 || answer.code() == 11, "{answer:?}");
        answer.exit == 0
    });
    row("from the loss of both networks to the address in use by another (lost time 10 s)", took);
    assert!(is_up("a") && is_up("b"), "both have it, apart from each other");
    let lease = cluster.leases()[&address.to_string()].clone();
    assert_eq!(lease["owner"]["name"], "b");

    // Healed at one stroke.
    Wires::heal();
    cables.iter().for_each(Relay::thaw);
    let took = time_until("the old holder is silent", || !is_up("a"));
    row("double hold after both networks came back", took);
    row("the cut, before that", cut.elapsed() - took);
    assert!(is_up("b"), "the new holder keeps it");
    cluster.reached("n1", 2);
    // The runtime of n1 hears that the pod is gone: its DEL is of nobody else's address.
    cluster.plugin_call("DEL", "n1", "a", "").on("u1").run_main().ok();
    let spool = cluster.agents["n1"].path("spool");
    until("its DEL is done", || std::fs::read_dir(&spool).is_ok_and(|it| it.count() == 0));
    assert!(cluster.holds("b"));
    assert_eq!(cluster.held(), 1);
}
