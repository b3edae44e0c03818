//! Against a real kube-apiserver and etcd. Two tests run at once, each with a pair that it has to itself while it runs, and
//! with a second one where it needs two stores. etcd does not wait for the disk here: nothing below is about it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs
)]

mod admission;
mod authority;
mod cluster;
mod contract;
mod endpoints;
mod facts;
mod faults;
mod follow;
mod gate;
mod killed;
mod lab;
mod leader;
mod nodes;
mod objects;
mod pods;
mod rate;
mod replicas;
mod review;
mod sets;
mod status;
mod writes;
