//! How many durable commits a second, on the real disk. Prints a table; run it with
//! `cargo test --release -p tenure-store --test rate -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{file, lease};
use tenure_core::lease::Lease;
use tenure_store::{RedbOptions, RedbStore, Store as _, Write};
use tokio::task::JoinSet;

/// Rows of one case, and rows that are there before: a /16 that is three quarters full.
const ROWS: u32 = 8_192;
const PRELOADED: u32 = 49_152;

/// Callers at once, one case each.
const TASKS: [u32; 3] = [1, 64, 256];

fn nth(n: u32) -> Lease {
    lease(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into(), u64::from(n))
}

/// Median and 99th percentile, in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    (at(50), at(99))
}

/// What one append with fdatasync costs here: no durable commit can be faster.
fn sync_cost(folder: &Path) -> (f64, f64) {
    let mut file = File::create(folder.join("sync")).unwrap();
    let times = (0..500).map(|_| {
        file.write_all(&[7; 4096]).unwrap();
        let start = Instant::now();
        file.sync_data().unwrap();
        start.elapsed()
    });
    percentiles(times.collect())
}

async fn case(store: &Arc<RedbStore>, tasks: u32, first: u32) -> Vec<Duration> {
    let task = |task: u32| {
        let store = Arc::clone(store);
        async move {
            let mut times = Vec::new();
            for n in (task..ROWS).step_by(tasks as usize) {
                let start = Instant::now();
                store.commit(vec![Write::Create(nth(first + n))]).await.unwrap();
                times.push(start.elapsed());
            }
            times
        }
    };
    (0..tasks).map(task).collect::<JoinSet<_>>().join_all().await.concat()
}

/// The store of a /16 that is three quarters full.
async fn preloaded(folder: &Path, options: &RedbOptions) -> Arc<RedbStore> {
    let store = Arc::new(RedbStore::open(folder, options).unwrap());
    for first in (0..PRELOADED).step_by(4096) {
        let batch = (first..first + 4096).map(|n| Write::Create(nth(n))).collect();
        store.commit(batch).await.unwrap();
    }
    store
}

async fn table(folder: &Path, history_events: u64) {
    let options = RedbOptions { history_events, ..RedbOptions::default() };
    let store = preloaded(folder, &options).await;
    println!("history of {history_events} entries");
    println!("tasks  commits/s  p50 ms  p99 ms");
    for (round, tasks) in TASKS.into_iter().enumerate() {
        let start = Instant::now();
        let times = case(&store, tasks, PRELOADED + ROWS * u32::try_from(round).unwrap()).await;
        let rate = f64::from(ROWS) / start.elapsed().as_secs_f64();
        let (p50, p99) = percentiles(times);
        println!("{tasks:>5}  {rate:>9.0}  {p50:>6.2}  {p99:>6.2}");
    }
    store.close();
    let bytes = std::fs::metadata(file(folder)).unwrap().len();
    let start = Instant::now();
    let store = RedbStore::open(folder, &options).unwrap();
    let opened = start.elapsed();
    let mut scanned = 0_u32;
    store.scan(&mut |_| scanned += 1).unwrap();
    let all = start.elapsed() - opened;
    let rows = PRELOADED + u32::try_from(TASKS.len()).unwrap() * ROWS;
    assert_eq!(scanned, rows);
    let start = Instant::now();
    let mut told = 0_u32;
    store.history(Some(&nth(rows - 1).key()), &mut |_| told += 1).unwrap();
    assert_eq!(told, u32::from(history_events > 0));
    println!("{rows} leases: file {bytes} bytes, {} a lease", bytes / u64::from(rows));
    println!("open {opened:?}, scan {all:?}, history of one address {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a check"]
async fn durable_commits_a_second() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (p50, p99) = sync_cost(folder.path());
    println!("append + fdatasync: p50 {p50:.2} ms, p99 {p99:.2} ms");
    // The second is full from the start, so that each event drops one.
    for history_events in [0, u64::from(PRELOADED)] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        table(folder.path(), history_events).await;
    }
}
