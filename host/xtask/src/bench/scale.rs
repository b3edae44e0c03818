//! The scale test of Kubernetes mode: a hundred agents, up to fifty thousand leases, ADDs at a steady rate. Like the 1:1 test it
//! is part of the benchmark program of the daemon (`host/daemon/examples/bench/scale`).
//!
//! `TENURE_BENCH_NODES` (100), `TENURE_BENCH_LEVELS` (`1000,10000,50000`), `TENURE_BENCH_RATE` (50 ADDs a second, and as many
//! DELs) and `TENURE_BENCH_SECONDS` (60 at each level) set its size, `TENURE_BENCH_KEEP_LOGS` a folder for the logs of the
//! allocators. It takes some fifteen minutes, most of them to make fifty thousand pods.

use std::path::Path;

use super::figures::Figure;
use super::{Built, by_program};

pub(super) const NAME: &str = "scale";

pub(super) fn run(built: &Built, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    by_program(NAME, built, folder, &[&built.bin, &built.plugin])
}
