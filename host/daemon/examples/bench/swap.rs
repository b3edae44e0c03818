//! What a swap of a policy costs those who are being served: an open loop of a thousand ADDs a second, in which a policy is
//! replaced again and again, against the same without.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tenure_engine::Engine;
use tokio::time::{Instant, sleep_until};

use crate::site::{Folders, object, request};
use crate::{report, report_beside};

const RUNS: usize = 3;
const SPAN: Duration = Duration::from_secs(4);
/// ADDs a second.
const RATE: u32 = 1000;
/// Between two swaps, each to a version that was never seen: it is compiled, by a process of its own, while ADDs are served.
const APART: Duration = Duration::from_secs(1);
/// How much longer the slowest of a hundred ADDs may take meanwhile.
const AIM: f64 = 2.0;

/// `tenured` compiles, as it does for the daemon.
pub(crate) async fn swap(site: &Folders, tenured: &Path) {
    let engine = site.engine_with("swap", &[("p", json!({"cidr": "10.0.0.0/8"}))], tenured).await;
    let next = Arc::new(AtomicUsize::new(0));
    let (mut quiet, mut swapping, mut swaps) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        quiet.push(adds(&engine, &next).await);
        let done = Arc::new(AtomicBool::new(false));
        let swapper = tokio::spawn(swap_until(engine.clone(), site.policies.clone(), done.clone()));
        swapping.push(adds(&engine, &next).await);
        done.store(true, Ordering::SeqCst);
        swaps.push(swapper.await.unwrap());
    }
    for (which, of) in [("p50", 0), ("p99", 1)] {
        let figures = |runs: &[[f64; 2]]| runs.iter().map(|run| run[of]).collect();
        report("swap", &format!("1000 ADD/s, {which}"), "ms", figures(&quiet));
        report("swap", &format!("1000 ADD/s while swapped, {which}"), "ms", figures(&swapping));
    }
    let ratios =
        std::iter::zip(&swapping, &quiet).map(|(with, without)| with[1] / without[1]).collect();
    report_beside(
        ("swap", "p99 while swapped over p99 without", "times"),
        ratios,
        ("at most", vec![AIM]),
    );
    report("swap", "swaps meanwhile", "swaps", swaps);
}

/// ADDs at their times, whatever those before do; a late start counts as waiting. p50 and p99 in milliseconds.
async fn adds(engine: &Arc<Engine>, next: &Arc<AtomicUsize>) -> [f64; 2] {
    let begun = Instant::now();
    let count = RATE * u32::try_from(SPAN.as_secs()).unwrap();
    let mut running = Vec::new();
    for number in 0..count {
        let at = begun + Duration::from_secs(1) * number / RATE;
        sleep_until(at).await;
        let (engine, next) = (engine.clone(), next.clone());
        running.push(tokio::spawn(async move {
            let container = format!("c{}", next.fetch_add(1, Ordering::Relaxed));
            engine.add(request(&container)).await.unwrap();
            at.elapsed().as_secs_f64() * 1e3
        }));
    }
    let mut took = Vec::new();
    for add in running {
        took.push(add.await.unwrap());
    }
    took.sort_by(f64::total_cmp);
    [took[took.len() / 2], took[took.len() * 99 / 100]]
}

/// The same component under a digest of its own: with a custom section that nobody reads.
fn never_seen(mut component: Vec<u8>) -> Vec<u8> {
    let text: [u8; 16] = getrandom::u64().unwrap().to_be_bytes().repeat(2).try_into().unwrap();
    let name = b"bench";
    component.extend([0, (1 + name.len() + text.len()) as u8, name.len() as u8]);
    component.extend(name.iter().chain(&text));
    component
}

async fn swap_until(engine: Arc<Engine>, policies: PathBuf, done: Arc<AtomicBool>) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let (mut swaps, path) = (0, folder.path().join("next.wasm"));
    while !done.load(Ordering::SeqCst) {
        swaps += 1;
        let shipped = ["balanced", "pool-order"][swaps % 2];
        let component = std::fs::read(policies.join(format!("{shipped}.wasm"))).unwrap();
        std::fs::write(&path, never_seen(component)).unwrap();
        let policy = object("IPAMPolicy", "pool-order", json!({"source": {"file": path}}));
        engine.apply(vec![policy], false).await.unwrap();
        tokio::time::sleep(APART).await;
    }
    swaps as f64
}
