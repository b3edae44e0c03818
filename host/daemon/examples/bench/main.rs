//! The parts of `cargo xtask bench` that need more than processes: durable ADDs, one decision, swaps, cost by pool size, and
//! Kubernetes mode.
//!
//! The first ones run what the daemon runs inside this process: redb on a real disk with fsync, the kernel witness, the
//! shipped Wasm policies. The last two start a cluster of processes: see `cluster/mod.rs` and `scale/mod.rs`.
//! Each line of its output is one JSON object; `cargo xtask bench` makes the table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark stops at the first surprise"
)]

mod adds;
mod cluster;
mod decisions;
mod scale;
mod site;
mod swap;

use serde_json::json;

/// One figure: the median of its runs.
pub(crate) fn report(bench: &str, case: &str, unit: &str, figures: Vec<f64>) -> f64 {
    line((bench, case, unit), figures, None)
}

/// The same beside what somebody else took in the same run.
pub(crate) fn report_beside(
    (bench, case, unit): (&str, &str, &str),
    figures: Vec<f64>,
    (name, mut peer): (&str, Vec<f64>),
) {
    peer.sort_by(f64::total_cmp);
    line((bench, case, unit), figures, Some((name, peer[peer.len() / 2])));
}

fn line(
    (bench, case, unit): (&str, &str, &str),
    mut figures: Vec<f64>,
    peer: Option<(&str, f64)>,
) -> f64 {
    figures.sort_by(f64::total_cmp);
    let (median, runs) = (figures[figures.len() / 2], figures.len());
    let round = |figure: f64| (figure * 100.0).round() / 100.0;
    println!(
        "{}",
        json!({
            "bench": bench, "case": case, "unit": unit, "ours": round(median),
            "peer": peer.map(|(_, peer)| round(peer)), "peer_name": peer.map(|(name, _)| name),
            "ratio": peer.map(|(_, peer)| round(median / peer)),
            "runs": runs, "min": round(figures[0]), "max": round(figures[runs - 1]),
        })
    );
    median
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (which, folder, policies) =
        (args.next().unwrap(), args.next().unwrap(), args.next().unwrap());
    if let "cluster" | "scale" = &*which {
        let (bin, plugin) = (args.next().unwrap(), args.next().unwrap());
        let built = cluster::Built {
            bin: bin.into(),
            plugin: plugin.into(),
            policies: policies.into(),
            folder: folder.into(),
        };
        return if which == "scale" { scale::run(&built) } else { cluster::run(&built) };
    }
    let site = site::Folders { state: folder.into(), policies: policies.into() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match which.as_str() {
            "durable" => adds::durable(&site).await,
            "pool-size" => adds::pool_size(&site).await,
            "select" => {
                decisions::select(&site);
                decisions::native(&site);
                decisions::share(&site).await;
            }
            "swap" => swap::swap(&site, std::path::Path::new(&args.next().unwrap())).await,
            other => panic!("no benchmark {other:?}"),
        }
    });
}
