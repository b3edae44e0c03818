//! One `select` decision by a Wasm policy on a fresh instance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tenure_core::address::{Families, Family};
use tenure_core::decision::{Candidate, Catalogue, Holder, PoolFacts, SelectRequest};
use tenure_core::name::{ObjectName, PoolName};
use tenure_core::objects::Object;
use tenure_core::ports::Policies as _;
use tenure_core::time::WallMs;

use crate::report;
use crate::site::{Folders, object};

const RUNS: usize = 5;
const CALLS: usize = 2000;

pub(crate) fn select(site: &Folders) {
    for policy in ["pool-order", "balanced"] {
        let host = site.policies();
        let Object::IPAMPolicy(wanted) =
            object("IPAMPolicy", policy, json!({"source": {"bundled": policy}}))
        else {
            panic!("not a policy");
        };
        host.install(&ObjectName::new(policy).unwrap(), &wanted.spec).unwrap();
        for candidates in [1u32, 16, 100, 512] {
            let request = question(candidates);
            let mut figures = Vec::new();
            for _ in 0..RUNS {
                let begun = Instant::now();
                for _ in 0..CALLS {
                    std::hint::black_box(host.select(&request));
                }
                figures.push(begun.elapsed().as_secs_f64() * 1e6 / CALLS as f64);
            }
            report("select", &format!("{policy}, {candidates} candidates"), "us", figures);
        }
        assert!(host.status()[0].faults.is_empty(), "faults were timed: {:?}", host.status());
    }
}

fn question(candidates: u32) -> SelectRequest {
    let facts = |n: u32| PoolFacts {
        name: PoolName::new(format!("pool-{n}")).unwrap(),
        labels: BTreeMap::new(),
    };
    let row = |pool: u32| Candidate {
        pool,
        family: Family::V4,
        free: u64::from(pool) * 7919 % 251 + 1,
        used: u64::from(pool) * 104_729 % 251,
        resting: 0,
        retained: 0,
        waiting: 0,
        held_by_namespace: 0,
        held_by_controller: 0,
        priority: 0,
        named: pool.is_multiple_of(2),
        in_zone: false,
        by_selector: false,
        order: pool.is_multiple_of(2).then_some(pool),
    };
    SelectRequest {
        holder: Holder::default(),
        families: Families { v4: true, v6: false },
        candidates: (0..candidates).map(row).collect(),
        catalogue: Arc::new(Catalogue { pools: (0..candidates).map(facts).collect() }),
        now: WallMs(1_795_000_000_000),
        seed: 42,
    }
}
