//! A pool cut to size: as many attachments as addresses, all at once, and all of them again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod lab;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lab::history::{History, Hold, check};
use lab::{Lab, call, ip, netns};
use serde_json::{Value, json};

const SIZE: usize = 1000;
const WORKERS: usize = 32;

struct Pool {
    lab: Lab,
    config: Value,
    history: History,
}

#[test]
fn a_thousand_attachments_on_a_thousand_addresses_and_all_of_them_again() {
    let lab = Lab::enter()
        .pool("v4", json!({"cidr": "10.9.0.0/16", "ranges": ["10.9.1.1-10.9.4.232"]}))
        .pool("v6", json!({"cidr": "fd09::/64", "ranges": ["fd09::1-fd09::3e8"]}))
        .start();
    let config = lab.network("1.1.0", "bridge", json!({}));
    let pool = Arc::new(Pool { lab, config, history: History::default() });
    for n in 0..SIZE {
        netns(&format!("c{n}"));
    }
    let order: Vec<usize> = (0..SIZE).collect();
    let first = pool.all(&order, |pool, n| pool.take(n, "first"));
    assert_eq!(distinct(&first), 2 * SIZE);
    let more = call(&pool.socket(), "ADD", "one-more", "c0", &pool.config).unwrap();
    assert_eq!(more.code(), 11, "{more:?}");
    let again = pool.all(&shuffled(order), |pool, n| {
        let (addresses, from) = &first[n];
        pool.leave(n, addresses, *from);
        pool.take(n, "again")
    });
    assert_eq!(distinct(&again), 2 * SIZE);
    let mut holds = pool.history.holds.lock().unwrap().clone();
    let end = pool.history.tick();
    for (addresses, from) in &again {
        holds.extend(addresses.iter().map(|address| Hold {
            address: *address,
            from: *from,
            to: end,
        }));
    }
    check(&holds);
}

type Taken = (Vec<IpAddr>, u64);

impl Pool {
    fn socket(&self) -> std::path::PathBuf {
        Path::new(&self.lab.path("cni.sock")).to_owned()
    }

    /// Work for each number, from 32 threads; results by number.
    fn all(
        self: &Arc<Self>,
        order: &[usize],
        work: impl Fn(&Self, usize) -> Taken + Sync,
    ) -> Vec<Taken> {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let mut results: Vec<(usize, Taken)> = std::thread::scope(|scope| {
            let worker = || {
                let mut mine = Vec::new();
                while let Some(n) =
                    order.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    mine.push((*n, work(self, *n)));
                }
                mine
            };
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        results.sort_by_key(|(n, _)| *n);
        results.into_iter().map(|(_, taken)| taken).collect()
    }

    /// An ADD by a caller that tries again for as long as it is told so.
    fn take(&self, n: usize, round: &str) -> Taken {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let answer = call(
                &self.socket(),
                "ADD",
                &format!("{round}-{n}"),
                &format!("c{n}"),
                &self.config,
            )
            .unwrap();
            if answer.exit == 0 {
                return (answer.addresses(), self.history.tick());
            }
            assert_eq!(answer.code(), 11, "{answer:?}");
            assert!(std::time::Instant::now() < deadline, "{n} waits in vain: {answer:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The container ends: a DEL, and its namespace goes; another one takes its place.
    fn leave(&self, n: usize, addresses: &[IpAddr], from: u64) {
        let to = self.history.tick();
        let hold = |address: &IpAddr| Hold { address: *address, from, to };
        self.history.holds.lock().unwrap().extend(addresses.iter().map(hold));
        call(&self.socket(), "DEL", &format!("first-{n}"), &format!("c{n}"), &self.config)
            .unwrap()
            .ok();
        ip(&["netns", "del", &format!("c{n}")]);
        netns(&format!("c{n}"));
    }
}

fn distinct(taken: &[Taken]) -> usize {
    taken.iter().flat_map(|(addresses, _)| addresses).collect::<BTreeSet<_>>().len()
}

fn shuffled(mut order: Vec<usize>) -> Vec<usize> {
    let mut seed: u64 = 20_261_124;
    for at in (1..order.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(at, (seed >> 33) as usize % (at + 1));
    }
    order
}
