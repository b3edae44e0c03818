//! Policies written to break the host: each is refused at a stage with words, or serves and is answered for. None crashes or
//! hangs it, and beside each a good policy goes on deciding.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    dead_code,
    missing_docs,
    reason = "the parts that tests share, which clippy.toml frees only inside test functions"
)]

mod component;
mod core_module;
mod forge;
mod hooks;
mod lifecycle;
#[path = "../suite/world.rs"]
mod world;

use std::time::{Duration, Instant};

use serde_json::json;
use tenure_core::decision::DecidedBy;
use tenure_core::ports::Policies;

use forge::Parts;
use world::*;

/// Far above what any stage may take, far below a hang: the machine of the test may be busy.
const IN_TIME: Duration = Duration::from_secs(20);
/// A refusal is shown in status, conditions and terminals.
const REASON_BYTES: usize = 16 << 10;

/// One hostile policy.
pub struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    then: Then,
}

/// What must become of it.
pub enum Then {
    /// Refused at that stage; the reason has these words.
    Refused(&'static str, &'static str),
    /// Refused at one of these, by what wasmtime happens to look at first.
    RefusedAt(&'static [&'static str]),
    /// It loads, does no harm, and has no opinion.
    Abstains,
}

pub const READING: &str = "reading the component";
pub const RECOGNISING: &str = "recognising the file";
pub const IMPORTS: &str = "checking the imports";
pub const EXPORTS: &str = "checking the exports";
pub const COMPILING: &str = "compiling";
pub const TRIAL: &str = "making a trial instance";
pub const DESCRIPTION: &str = "reading its description";
pub const SETTINGS: &str = "checking the settings";
pub const HOOKS: &str = "trying its hooks";

/// A case of a core module of which some parts are hostile.
pub fn forged(name: &'static str, parts: Parts, then: Then) -> Case {
    Case { name, bytes: parts.component(), then }
}

fn all() -> Vec<Case> {
    let groups = [lifecycle::cases(), hooks::cases(), core_module::cases(), component::cases()];
    groups.into_iter().flatten().collect()
}

#[test]
fn no_policy_crashes_hangs_or_blinds_the_host_and_each_refusal_says_where_and_why() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.wasm");
    let good = folder.path().join("good.wasm");
    std::fs::write(&good, Parts::default().component()).unwrap();
    world.install("good", json!({"source": {"file": good}})).unwrap();
    let cases = all();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for Case { name, bytes, then } in cases {
        std::fs::write(&path, bytes).unwrap();
        let begun = Instant::now();
        let outcome = world.install("hostile", json!({"source": {"file": path}}));
        if let Err(why) = judge(&then, outcome.map_err(|refusal| (refusal.stage, refusal.why))) {
            wrong.push(format!("{name}: {why}"));
        }
        let decided = world.host.select(&select(""));
        assert_eq!((decided.by, decided.answer), (DecidedBy::BuiltIn, built_in()), "{name}");
        let took = begun.elapsed();
        assert!(took < IN_TIME, "{name} took {took:?}");
        // The good one was asked, hostile or not the company.
        let steps = world.newest().steps;
        assert!(steps.iter().any(|step| step.policy.as_str() == "good"), "{name}: {steps:?}");
        world.host.remove(&world::name("hostile"));
        world.clock.pass(61);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn judge<T>(then: &Then, outcome: Result<T, (&'static str, String)>) -> Result<(), String> {
    match (then, outcome) {
        (Then::Abstains, Ok(_)) => Ok(()),
        (Then::Refused(..) | Then::RefusedAt(_), Ok(_)) => Err("it was taken".to_owned()),
        (_, Err((stage, why))) if why.len() > REASON_BYTES => {
            Err(format!("{stage}: the reason has {} bytes", why.len()))
        }
        (Then::Refused(wanted, words), Err((stage, why)))
            if stage == *wanted && why.contains(words) =>
        {
            Ok(())
        }
        (Then::RefusedAt(stages), Err((stage, _))) if stages.contains(&stage) => Ok(()),
        (Then::Refused(wanted, words), Err((stage, why))) => {
            Err(format!("wanted {wanted:?} with {words:?}, refused {stage:?}: {why}"))
        }
        (_, Err((stage, why))) => Err(format!("refused {stage:?}: {why}")),
    }
}
