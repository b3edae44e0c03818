//! The scale test of Kubernetes mode: a hundred agents, fifty thousand leases, and a steady stream of ADDs and DELs.
//!
//! Real are kube-apiserver and etcd (with fsync), two `tenured allocator`, and of each agent everything but its machine: its
//! code (`tenure-link`), its TLS connections, its token and the review of it, its folder. Real are the Pod objects, one for each lease,
//! which the allocators watch. Played are the kernels of the nodes (a hundred machines are not to be had), their kubelets, and the
//! plugin processes: a verb begins at the agent, and all agents share this process. Pods are made before they are measured, and go
//! after their DEL.
//!
//! The stream is open: each verb has its instant, kept whether or not those before it are answered, and its time counts from
//! that instant, so that waiting behind a slow one is not left out.
//!
//! ```text
//! size      how many of what        fleet    the agents        kernel   what their nodes see
//! pace      the open stream         story    fill, measure, restart
//! gauge     one process's memory    alone    the API server by itself      report   rows, aims, what limits them
//! ```

mod alone;
mod fleet;
mod gauge;
mod kernel;
mod pace;
mod report;
mod size;
mod story;

use crate::cluster::Built;

/// Runs it once.
pub(crate) fn run(built: &Built) {
    let size = size::Size::from_env();
    let mut report = report::Report::default();
    story::tell(built, &size, &mut report);
    report.print();
}
