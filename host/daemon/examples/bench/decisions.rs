//! One `select` decision by a Wasm policy on a fresh instance: by itself, beside the same rule as a native call, and as a share of
//! an ADD.

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
use tenure_policy::{Policy as _, Select as _};

use crate::site::{Folders, object, request};
use crate::{report, report_beside};

/// The very source of the shipped policy, as a part of this program.
#[path = "../../../../policies/balanced/src/lib.rs"]
#[allow(dead_code, unreachable_pub)]
mod balanced;

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

/// `balanced` in Wasm, with instance, `init`, checks and record, beside its `select` called natively on rows that are there.
pub(crate) fn native(site: &Folders) {
    let host = site.policies();
    let spec = serde_json::from_value(json!({"source": {"bundled": "balanced"}})).unwrap();
    host.install(&ObjectName::new("balanced").unwrap(), &spec).unwrap();
    let rule = balanced::Balanced::new(tenure_policy::parse_settings("{}").unwrap()).unwrap();
    let asked = tenure_policy::SelectRequest::builder().build();
    for candidates in [1u32, 16, 100, 512] {
        let request = question(candidates);
        let rows: Vec<_> = request.candidates.iter().map(native_row).collect();
        let rows = tenure_policy::Candidates::of(&rows);
        let (mut wasm, mut native) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            wasm.push(per_call(|| drop(std::hint::black_box(host.select(&request)))));
            native.push(per_call(|| drop(std::hint::black_box(rule.select(&asked, &rows)))));
        }
        let case = format!("balanced, {candidates} candidates, beside the same rule natively");
        report_beside(("select", &case, "us"), wasm, ("native call", native));
    }
}

/// What policies take of a durable ADD in the engine, one at a time, with the policies that are shipped.
pub(crate) async fn share(site: &Folders) {
    const ADDS: usize = 400;
    let host = site.policies();
    let engine =
        site.engine_of("share", &[("p", json!({"cidr": "10.0.0.0/8"}))], host.clone()).await;
    let mut figures = Vec::new();
    for run in 0..RUNS {
        let before = host.decisions(1).first().map_or(0, |record| record.id);
        let begun = Instant::now();
        for number in 0..ADDS {
            engine.add(request(&format!("c{run}-{number}"))).await.unwrap();
        }
        let whole = begun.elapsed().as_secs_f64() * 1e6;
        let records = host.decisions(ADDS * 2);
        let own = records.iter().filter(|record| record.id > before);
        let policies: u64 = own.flat_map(|record| &record.steps).map(|step| step.micros).sum();
        assert!(policies > 0, "no policy was asked");
        figures.push(policies as f64 * 100.0 / whole);
    }
    report("select", "all policies of an ADD, share of its time", "%", figures);
}

fn per_call(mut call: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..CALLS {
        call();
    }
    begun.elapsed().as_secs_f64() * 1e6 / CALLS as f64
}

fn native_row(row: &Candidate) -> tenure_policy::Candidate {
    tenure_policy::Candidate {
        pool: row.pool,
        free: row.free,
        used: row.used,
        named: row.named,
        order: row.order,
        ..tenure_policy::Candidate::default()
    }
}

fn question(candidates: u32) -> SelectRequest {
    let facts = |n: u32| PoolFacts {
        name: PoolName::new(format!("pool-{n}")).unwrap(),
        labels: BTreeMap::new(),
    };
    let row = |pool: u32| Candidate {
        free: u64::from(pool) * 7919 % 251 + 1,
        used: u64::from(pool) * 104_729 % 251,
        named: pool.is_multiple_of(2),
        order: pool.is_multiple_of(2).then_some(pool),
        ..Candidate::of(pool, Family::V4)
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
