//! The cases of CNI over agent and allocator. Those over the daemon of one machine are in `../conformance.rs`.

use crate::lab;
use crate::world::{Cluster, Machine};

fn node_of_a_cluster() -> Machine {
    let cluster = Cluster::start(2, &["n1"]);
    for (name, spec) in lab::conformance::pools() {
        cluster.pool(name, spec);
    }
    Machine { cluster, node: "n1" }
}

crate::conformance_suite!(node_of_a_cluster);
