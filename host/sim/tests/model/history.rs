//! Histories from seeds: run, shrunk when one fails, kept, and run again.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tenure_sim::MemoryDisk;

use crate::machine::{Backing, Machine};
use crate::ops::{Op, op};
use crate::trace::Trace;
use crate::world::{Breach, Check};

/// Steps of a history, its end not counted.
pub const STEPS: usize = 200;

/// Which store is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Memory,
    Redb,
}

/// Stores of some kind.
pub struct Stores<'a> {
    pub name: &'a str,
    /// Makes an empty one for the history of a seed.
    pub fresh: &'a (dyn Fn(u64) -> Backing + Sync),
    /// There may be so many at once.
    pub at_once: usize,
    /// Fast enough to run a history that fails some hundred times more.
    pub shrinks: bool,
}

impl On {
    pub fn fresh(self) -> Backing {
        match self {
            On::Memory => Backing::Memory,
            On::Redb => Backing::Redb(MemoryDisk::default()),
        }
    }
}

/// The operations that follow from a seed.
pub fn from_seed(seed: u64) -> Vec<Op> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let op = op();
    (0..STEPS).map(|_| op.new_tree(&mut runner).unwrap().current()).collect()
}

/// What became of a history.
pub struct Ran {
    pub trace: Vec<String>,
    /// What it came to, and how often.
    pub reached: BTreeMap<String, u64>,
    /// The step that failed, and why.
    pub outcome: Result<(), (usize, Breach)>,
}

/// Runs operations and the end.
pub fn run(ops: &[Op], on: On, trace: Trace) -> Ran {
    run_over(ops, on.fresh(), trace)
}

/// The same over an empty store of any kind.
pub fn run_over(ops: &[Op], backing: Backing, trace: Trace) -> Ran {
    let mut machine = Machine::new(backing, trace).unwrap();
    let mut step = 0;
    let outcome = quietly(|| {
        for op in ops {
            machine.step(op)?;
            step += 1;
        }
        machine.finish()
    });
    Ran {
        trace: machine.trace.lines.take().unwrap_or_default(),
        reached: machine.model.reached(),
        outcome: outcome.map_err(|breach| (step, breach)),
    }
}

/// A panic is a breach, too.
fn quietly(run: impl FnOnce() -> Check) -> Check {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Breach(format!("panic: {}", text.unwrap_or_default())))
    })
}

/// Runs histories on all cores until one fails.
pub fn run_all(count: u64, first: u64, on: On) {
    let (name, fresh) = (format!("{on:?}"), |_| on.fresh());
    let at_once = std::thread::available_parallelism().map_or(2, usize::from);
    run_all_over(count, first, &Stores { name: &name, fresh: &fresh, at_once, shrinks: true });
}

/// The same over stores of any kind.
pub fn run_all_over(count: u64, first: u64, stores: &Stores<'_>) {
    let next = AtomicU64::new(first);
    let failed: Mutex<Option<u64>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..stores.at_once {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || failed.lock().unwrap().is_some() {
                        break;
                    }
                    if run_over(&from_seed(seed), (stores.fresh)(seed), Trace::default())
                        .outcome
                        .is_err()
                    {
                        failed.lock().unwrap().get_or_insert(seed);
                    }
                }
            });
        }
    });
    if let Some(seed) = failed.into_inner().unwrap() {
        report(seed, stores);
    }
}

/// Shrinks a history that fails, keeps it, and says how to run it again.
fn report(seed: u64, stores: &Stores<'_>) -> ! {
    let (on, fresh) = (stores.name, || (stores.fresh)(seed));
    let ops = from_seed(seed);
    let ops = if stores.shrinks { shrunk(ops, &fresh) } else { ops };
    let Ran { trace, outcome, .. } = run_over(&ops, fresh(), Trace::kept());
    let Err((step, Breach(why))) = outcome else {
        panic!(
            "history {seed} on {on} failed once and not again: it depends on more than its seed"
        );
    };
    let line = format!("{seed} {}\n", serde_json::to_string(&ops).unwrap());
    let kept = match keep(&line) {
        Ok(()) => format!("kept in {}", regressions().display()),
        Err(error) => format!("not kept ({error}): {line}"),
    };
    panic!(
        "history {seed} on {on} fails at step {step} of {}, {:?}: {why}\n{}\n{kept}\nrun it again: \
         TENURE_SIM_SEED={seed} cargo test -p {} --test model -- replay --nocapture",
        ops.len(),
        ops.get(step),
        trace.join("\n"),
        env!("CARGO_PKG_NAME"),
    )
}

/// Leaves out whatever is not needed to fail: halves first, then single operations.
fn shrunk(mut ops: Vec<Op>, fresh: &dyn Fn() -> Backing) -> Vec<Op> {
    let fails = |ops: &[Op]| run_over(ops, fresh(), Trace::default()).outcome.is_err();
    let mut size = ops.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < ops.len() {
            let end = (at + size).min(ops.len());
            let mut fewer = ops.clone();
            fewer.drain(at..end);
            if fails(&fewer) {
                ops = fewer;
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    ops
}

// === kept histories ===

fn regressions() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/model/regressions.txt")
}

fn keep(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(regressions())?;
    file.write_all(line.as_bytes())
}

/// The kept histories: the seed they came from, and what was left of them.
pub fn kept() -> Vec<(u64, Vec<Op>)> {
    let text = std::fs::read_to_string(regressions()).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let history = |line: &str| {
        let (seed, ops) = line.split_once(' ').unwrap();
        (seed.parse().unwrap(), serde_json::from_str(ops).unwrap())
    };
    lines.map(history).collect()
}
