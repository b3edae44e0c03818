//! The model histories of `sim/tests/model` over the store on the Kubernetes API, with a real kube-apiserver and etcd behind it.
//! The operations, the model and all rules are the same: none is weaker here.
//!
//! Every second history has its writes meet what networks and API servers do to them: answers that are lost, writes that are
//! lost, 429, 500 and 503, done or not. The store finds out what became of each, so that nothing of it may be seen by the model.
//!
//! What these histories do not see: the engine follows nobody, for the time of a history stands still while that of a watch does
//! not. Feeds are tested in `api/follow.rs`, several replicas and processes in `daemon/tests/cluster`.
//!
//! `TENURE_SIM_KUBE_HISTORIES=N` sets how many histories run, `TENURE_SIM_FIRST=N` at which seed they begin,
//! `TENURE_SIM_SEED=N` which one `replay` shows.

// Not all of the model is used here.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

#[path = "../../../sim/tests/model/acts.rs"]
mod acts;
#[path = "../../../sim/tests/model/cast.rs"]
mod cast;
#[path = "../../../sim/tests/model/finish.rs"]
mod finish;
#[path = "../../../sim/tests/model/history.rs"]
mod history;
#[path = "../../../sim/tests/model/machine.rs"]
mod machine;
#[path = "../../../sim/tests/model/model.rs"]
mod model;
#[path = "../../../sim/tests/model/ops.rs"]
mod ops;
#[path = "../../../sim/tests/model/rules/mod.rs"]
mod rules;
#[path = "../../../sim/tests/model/trace.rs"]
mod trace;
#[path = "../../../sim/tests/model/world.rs"]
mod world;

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use http::Method;
use kube::Client;
use tenure_kube::{KubeOptions, KubeStore};
use tenure_lab::cluster::{empty, install};
use tenure_lab::{ApiServer, Fate, Front, Options};
use tenure_store::Store;
use tokio::runtime::Runtime;

use history::{On, Ran, Stores, from_seed, kept, run, run_all_over, run_over};
use machine::{Backing, Open};
use trace::Trace;

/// A bit more than a minute.
const HISTORIES: u64 = 12;
/// One of so many writes meets a fault.
const FAULTS_APART: u64 = 12;
/// More writes of a kind than a history has.
const FATES: usize = 2000;

/// The API server of this program, on a runtime of its own: the model's stands still.
struct Lab {
    runtime: Runtime,
    server: ApiServer,
    front: Front,
}

static LAB: LazyLock<Lab> = LazyLock::new(Lab::new);
/// One test at a time has it.
static TURN: Mutex<()> = Mutex::new(());

impl Lab {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(ApiServer::start(Options { unsafe_no_fsync: true }));
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        runtime.block_on(async { install(&server.client(), &deploy).await });
        let front = runtime.block_on(Front::before(server.allocator_config()));
        Self { runtime, server, front }
    }

    /// An empty store, of which the writes meet faults if the seed is odd.
    fn fresh(&self, seed: u64) -> Backing {
        self.front.forget_fates();
        if seed % 2 == 1 {
            for method in [Method::POST, Method::PUT, Method::DELETE] {
                self.front.next(method, faults(seed).take(FATES));
            }
        }
        self.runtime.block_on(async {
            let allocator = Client::try_from(self.server.allocator_config()).unwrap();
            empty(&self.server.client(), allocator).await;
        });
        Backing::Other(Open(Arc::new(|| LAB.open())))
    }

    fn open(&self) -> Arc<dyn Store> {
        let opened = KubeStore::open(self.front.config(), KubeOptions::default());
        Arc::new(self.runtime.block_on(opened).unwrap())
    }
}

/// A fate for each write to come; the same for the same seed.
fn faults(seed: u64) -> impl Iterator<Item = Fate> {
    let mut state = seed | 1;
    std::iter::repeat_with(move || {
        for shift in [13, 7, 17] {
            state ^= if shift == 7 { state >> shift } else { state << shift };
        }
        match state % (6 * FAULTS_APART) {
            0 => Fate::AnswerLost,
            1 => Fate::LostOnTheWay,
            2 => Fate::Refused(429),
            3 => Fate::Refused(503),
            4 => Fate::DoneAndRefused(503),
            5 => Fate::DoneAndRefused(500),
            _ => Fate::Passed,
        }
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn no_history_over_the_kubernetes_api_breaks_an_invariant() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let count = number("TENURE_SIM_KUBE_HISTORIES").unwrap_or(HISTORIES);
    let first = number("TENURE_SIM_FIRST").unwrap_or(2_000_000);
    LazyLock::force(&LAB);
    let began = Instant::now();
    let (name, fresh) = ("the Kubernetes API", |seed| LAB.fresh(seed));
    run_all_over(count, first, &Stores { name, fresh: &fresh, at_once: 1, shrinks: false });
    println!("{count} histories from seed {first} on: {:.1?}", began.elapsed());
}

#[test]
fn kept_histories_stay_mended_over_the_kubernetes_api() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for (seed, ops) in kept() {
        let Ran { trace, outcome, .. } = run_over(&ops, LAB.fresh(seed), Trace::kept());
        let outcome = outcome.map_err(|(step, breach)| format!("step {step}: {}", breach.0));
        assert_eq!(outcome, Ok(()), "kept history {seed}\n{}", trace.join("\n"));
    }
}

#[test]
fn replay() {
    let Some(seed) = number("TENURE_SIM_SEED") else { return };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Ran { trace, outcome, .. } = run_over(&from_seed(seed), LAB.fresh(seed), Trace::kept());
    println!("{}", trace.join("\n"));
    outcome.map_err(|(step, breach)| format!("step {step}: {}", breach.0)).unwrap();
}

#[test]
fn the_same_seed_gives_the_same_trace_as_over_the_memory_store() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for seed in 1..=2 {
        let ops = from_seed(seed);
        let over_the_api = run_over(&ops, LAB.fresh(seed), Trace::kept()).trace;
        assert_eq!(over_the_api, run(&ops, On::Memory, Trace::kept()).trace, "seed {seed}");
    }
}
