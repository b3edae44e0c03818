//! The 1:1 test of Kubernetes mode: as many pods as addresses, on nodes that are simulated down to their processes.
//!
//! Real are kube-apiserver and etcd (with fsync), two `tenured allocator`, one `tenured agent` for each node in a network
//! namespace of its own, the shipped plugin as one process per verb, and the network namespaces of the containers. Played
//! are the kubelets (their retries, their node leases), the controllers that make pods, and the main plugins: no link is
//! made, so a holder is proved gone when its namespace ends.
//!
//! ```text
//! scale     how many pods, nodes, runs; which variants
//! world     server, allocators         nodes     agents, their network, their power     process   one of ours
//! pods      Pod objects in bulk        rooms     network namespaces in bulk
//! plugin    one plugin process         kubelet   many of them, with retries
//! ledger    who was answered what      counters  what the API server counted      usage  CPU and memory
//! floor     the API server by itself   story     the phases of one run            report rows    words what limits them
//! ```

pub(crate) mod counters;
pub(crate) mod floor;
pub(crate) mod kubelet;
mod ledger;
mod nodes;
mod plugin;
pub(crate) mod pods;
pub(crate) mod process;
pub(crate) mod report;
mod rooms;
mod scale;
mod story;
pub(crate) mod usage;
pub(crate) mod words;
pub(crate) mod world;

use std::path::PathBuf;

use report::Report;
use scale::Scale;

/// What `cargo xtask bench` built.
pub(crate) struct Built {
    /// The folder of `tenured`.
    pub(crate) bin: PathBuf,
    /// The shipped plugin.
    pub(crate) plugin: PathBuf,
    /// The folder of the shipped policies.
    pub(crate) policies: PathBuf,
    /// Where everything that must be on a disk is kept.
    pub(crate) folder: PathBuf,
}

/// Runs every variant as often as it is asked for.
pub(crate) fn run(built: &Built) {
    let scale = Scale::from_env();
    let mut report = Report::default();
    for variant in scale.variants() {
        for number in 1..=scale.runs {
            eprintln!("  {variant}: run {number} of {}", scale.runs);
            story::tell(built, &scale, variant, &mut report);
        }
    }
    report.print();
}
