//! The 1:1 test of Kubernetes mode: as many pods as addresses, against a real API server. It needs its own client of the
//! Kubernetes API, so it is part of the benchmark program of the daemon (`host/daemon/examples/bench/cluster`).
//!
//! `TENURE_BENCH_PODS` (1000), `TENURE_BENCH_NODES` (10), `TENURE_BENCH_RUNS` (1) and `TENURE_BENCH_WIDTH` (32 plugin
//! processes at once) set its size, `TENURE_BENCH_ONLY` names one variant, such as `IPv4, 1 pool`, and
//! `TENURE_BENCH_KEEP_LOGS` a folder for the logs of all agents and allocators.

use std::path::Path;

use super::figures::Figure;
use super::{Built, by_program};

pub(super) const NAME: &str = "cluster";

pub(super) fn run(built: &Built, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    by_program(NAME, built, folder, &[&built.bin, &built.plugin])
}
