//! Kubernetes mode with real processes: `tenured agent`, `tenured allocator` and the shipped plugin against a real
//! kube-apiserver and etcd. Pods and nodes are objects of the API, containers are real network namespaces.
//!
//! All tests share one API server in one network namespace, and take turns.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

#[path = "../lab/mod.rs"]
mod lab;

mod affinity;
mod conformance;
mod faults;
mod histories;
mod registry;
mod times;
mod verbs;
mod world;
