//! Real foreign processes for tests: etcd and kube-apiserver, and a registry, on loopback.
//!
//! What it is not: a cluster. There is no controller, no scheduler and no node, so that nothing writes but the test. It is
//! test support and panics where others answer.
//!
//! ```text
//! api_server   ApiServer: starts both, waits until ready, gives a client configuration; kill and start again
//! certificates a CA, a serving certificate and keys, made anew each time
//! cluster      Tenure's manifests, nodes, and the right to speak as allocator or agent
//! front        an HTTP server before the API server, which does things to requests and watches
//! relay        a cable that can be cut
//! registry     Registry: an OCI registry, with or without a password
//! daemon       a process on a leash: it ends with the test, however the test ends
//! ```
//!
//! The programs are built by `cargo xtask tools` into `target/tools/bin`; `cargo xtask test` does it first.

// Tests panic where others answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod api_server;
mod certificates;
pub mod cluster;
mod daemon;
mod front;
mod registry;
mod relay;
mod tools;

pub use api_server::{ApiServer, Options, free_port};
pub use daemon::Daemon;
pub use front::{Fate, Front};
pub use registry::Registry;
pub use relay::Relay;
pub use tools::tool;
