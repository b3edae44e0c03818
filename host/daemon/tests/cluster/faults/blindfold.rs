//! An agent that sees less of its node than it needs: a manifest without `hostPID` and without the mount of the namespaces.

use serde_json::json;

use crate::lab::until;
use crate::world::Cluster;

/// Whatever a sweep would do, it has done.
const SWEEPS: f64 = 6.0;

#[test]
fn an_agent_that_sees_neither_processes_nor_namespaces_frees_nothing_that_lives_and_says_so() {
    let mut cluster = Cluster::start(1, &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    let address = cluster.run("n1", "a");
    cluster.bring_up("a", address);
    let number = |cluster: &Cluster, name: &str| cluster.allocators[0].metric(name);
    assert_eq!(number(&cluster, "tenure_looks_unseen_total"), 0.0);
    // A new manifest is rolled out.
    cluster.agents.get_mut("n1").unwrap().kill();
    cluster.start_agent_blindfolded("n1");
    cluster.reached("n1", 1);
    cluster.force_delete("a");
    let before = number(&cluster, "tenure_sweeps_total");
    until("some sweeps are done", || number(&cluster, "tenure_sweeps_total") >= before + SWEEPS);
    assert!(cluster.holds("a"), "it lives, whatever can be seen of it");
    assert!(number(&cluster, "tenure_looks_unseen_total") > 0.0, "the metric tells");
    let log = cluster.allocators[0].log();
    let alarm = log.lines().find(|line| line.contains("does not see the network namespaces"));
    assert!(alarm.is_some_and(|line| line.contains("ERROR") && line.contains("node=n1")), "{log}");
    // Whoever comes is told why, where the cluster's users look.
    let uid = cluster.pod("n1", "b");
    let refused = cluster.add("n1", "b", &uid);
    assert_ne!(refused.exit, 0);
    assert!(refused.body["msg"].as_str().unwrap().contains("mount the runtime's namespaces"));
    assert_eq!(cluster.held(), 1);
    // The manifest is mended: what was held is held, and its end is seen.
    cluster.agents.get_mut("n1").unwrap().kill();
    cluster.start_agent("n1");
    cluster.reached("n1", 1);
    cluster.add("n1", "b", &uid).ok();
    cluster.end("a");
    until("the end of the old one is seen", || !cluster.holds("a"));
    assert!(cluster.holds("b"));
}
