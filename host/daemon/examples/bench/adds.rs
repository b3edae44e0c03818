//! ADDs in the engine, each durable before it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tenure_engine::{DelRequest, Engine};

use crate::report;
use crate::site::{Folders, attachment, request};

const RUNS: usize = 3;
const SPAN: Duration = Duration::from_secs(3);

/// ADDs a second and the 99th percentile of their latency at 1, 64 and 256 at once.
pub(crate) async fn durable(site: &Folders) {
    let engine = site.engine("durable", &[("p", json!({"cidr": "10.0.0.0/8"}))]).await;
    let next = Arc::new(AtomicUsize::new(0));
    for tasks in [1, 64, 256] {
        let (mut rates, mut tails) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (rate, tail) = measure(&engine, &next, tasks).await;
            rates.push(rate);
            tails.push(tail);
        }
        report("durable-add", &format!("{tasks} at once"), "ADD/s", rates);
        report("durable-add", &format!("{tasks} at once, p99"), "ms", tails);
    }
}

async fn measure(engine: &Arc<Engine>, next: &Arc<AtomicUsize>, tasks: usize) -> (f64, f64) {
    let started = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (engine, next) = (engine.clone(), next.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                while started.elapsed() < SPAN {
                    let container = format!("c{}", next.fetch_add(1, Ordering::Relaxed));
                    let begun = Instant::now();
                    engine.add(request(&container)).await.unwrap();
                    took.push(begun.elapsed().as_secs_f64() * 1e3);
                }
                took
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in running {
        all.extend(task.await.unwrap());
    }
    let rate = all.len() as f64 / started.elapsed().as_secs_f64();
    all.sort_by(f64::total_cmp);
    (rate, all[all.len() * 99 / 100])
}

/// One ADD and DEL at a time, in pools of 10^3 to 10^7 addresses.
pub(crate) async fn pool_size(site: &Folders) {
    const ROUNDS: usize = 400;
    let mut medians = Vec::new();
    for (size, prefix) in [("10^3", 22), ("10^4", 18), ("10^5", 15), ("10^6", 12), ("10^7", 8)] {
        let pool = [("p", json!({"cidr": format!("10.0.0.0/{prefix}"), "cooldown": "0s"}))];
        let engine = site.engine(&format!("size-{prefix}"), &pool).await;
        let mut figures = Vec::new();
        for run in 0..RUNS {
            let begun = Instant::now();
            for round in 0..ROUNDS {
                let container = format!("c{run}-{round}");
                engine.add(request(&container)).await.unwrap();
                let attachment = attachment(&container);
                engine.del(DelRequest::of(attachment)).await.unwrap();
            }
            figures.push(begun.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64);
        }
        medians.push(report(
            "pool-size",
            &format!("{size} addresses (/{prefix})"),
            "us per ADD+DEL",
            figures,
        ));
    }
    let (least, most) = medians.iter().fold((f64::MAX, 0f64), |(l, m), f| (l.min(*f), m.max(*f)));
    report("pool-size", "slowest by fastest", "ratio", vec![most / least]);
}
