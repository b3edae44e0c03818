//! Every way to fail, at work. Whatever the guest does, the decision is answered by the built-in
//! strategy, in time, and the fault is counted by its kind.

use std::time::{Duration, Instant};

use serde_json::json;
use tenure_core::decision::*;
use tenure_core::ports::Policies;
use tenure_policy_host::{COOLDOWN, LONG_GRACE};

use crate::world::*;

/// Far above any budget, far below a hang: the machine of the test may be busy.
const IN_TIME: Duration = Duration::from_secs(5);

/// What the hostile guest can do in any hook.
const ANYWHERE: [(&str, FaultKind); 10] = [
    ("loop", FaultKind::Fuel),
    ("memory", FaultKind::Memory),
    ("recurse", FaultKind::Stack),
    ("panic", FaultKind::Trap),
    ("trap", FaultKind::Trap),
    ("log-lines", FaultKind::Logs),
    ("log-bytes", FaultKind::Logs),
    ("lookups", FaultKind::Lookups),
    ("policy-error", FaultKind::PolicyError),
    ("short", FaultKind::BadOutput),
];

const IN_SELECT: [(&str, FaultKind); 8] = [
    ("huge-list", FaultKind::BadOutput),
    ("huge-string", FaultKind::BadOutput),
    ("bad-utf8", FaultKind::BadOutput),
    ("out-of-range", FaultKind::BadOutput),
    ("duplicate", FaultKind::BadOutput),
    ("too-many", FaultKind::BadOutput),
    ("nothing", FaultKind::BadOutput),
    ("no-reason", FaultKind::BadOutput),
];

const IN_AFFINITY: [&str; 7] =
    ["empty-key", "long-key", "five", "two", "wrong-family", "no-address", "reuse-nobody"];

fn count(world: &World, kind: FaultKind) -> u64 {
    let faults = world.status("hostile").faults;
    faults.iter().find(|(of, _)| *of == kind).map_or(0, |(_, count)| *count)
}

/// Runs one decision and checks that it left exactly one fault of that kind.
fn leaves<T>(world: &World, mode: &str, kind: FaultKind, decide: impl FnOnce() -> Decided<T>) -> T {
    // Out of the breaker's window: it has its own test.
    world.clock.pass(61);
    let (before, begun) = (count(world, kind), Instant::now());
    let decided = decide();
    assert!(begun.elapsed() < IN_TIME, "{mode} took {:?}", begun.elapsed());
    assert_eq!(decided.by, DecidedBy::BuiltIn, "{mode}");
    assert_eq!(count(world, kind), before + 1, "{mode}: {:?}", world.newest().steps);
    let outcome = &world.newest().steps[0].outcome;
    assert!(
        matches!(outcome, StepOutcome::Fault { kind: of, .. } if *of == kind),
        "{mode}: {outcome:?}"
    );
    decided.answer
}

#[test]
fn whatever_select_does_the_built_in_strategy_answers() {
    let world = World::new();
    world.hostile("hostile", json!({}));
    let not_here = ["short"];
    let all = ANYWHERE.into_iter().chain(IN_SELECT).filter(|(mode, _)| !not_here.contains(mode));
    for (mode, kind) in all {
        let answer = leaves(&world, mode, kind, || world.host.select(&select(mode)));
        assert_eq!(answer, built_in(), "{mode}");
    }
    world.clock.pass(61);
    assert_eq!(
        world.host.select(&select("first")).answer,
        Selection::Ranked(vec![0]),
        "it still works"
    );
}

#[test]
fn whatever_affinity_does_the_built_in_strategy_answers() {
    let world = World::new();
    world.hostile("hostile", json!({}));
    let bad = IN_AFFINITY.into_iter().map(|mode| (mode, FaultKind::BadOutput));
    for (mode, kind) in ANYWHERE.into_iter().filter(|(mode, _)| *mode != "short").chain(bad) {
        let answer = leaves(&world, mode, kind, || world.host.affinity(&affinity(mode)));
        assert_eq!(answer, AffinityAnswer { choice: Affinity::None, tag: 0 }, "{mode}");
    }
}

#[test]
fn whatever_reclaim_does_the_leases_get_the_longest_grace_and_are_not_given_away_unfenced() {
    let world = World::new();
    world.hostile("hostile", json!({}));
    let cautious = Verdict {
        grace: LONG_GRACE,
        retain: RETAIN_AS_AT_ADD,
        cooldown: COOLDOWN,
        permits_unfenced: false,
    };
    for (mode, kind) in ANYWHERE {
        let answer = leaves(&world, mode, kind, || world.host.reclaim(&reclaim(mode, 3)));
        assert_eq!(answer, [cautious; 3], "{mode}");
    }
}

#[test]
fn what_fuel_prices_too_low_is_stopped_by_the_clock() {
    let world = World::new();
    let limits = json!({"fuel": 200_000_000, "fuelPerRow": 1_000_000, "deadlineMs": 10});
    world.hostile("hostile", json!({"limits": limits}));
    let mut request = select("loop");
    request.candidates = vec![candidate(0, 1); 512];
    leaves(&world, "loop", FaultKind::Deadline, || world.host.select(&request));
}

#[test]
fn the_text_of_a_panic_stands_in_the_record() {
    let world = World::new();
    world.hostile("hostile", json!({}));
    world.host.select(&select("panic"));
    let step = world.newest().steps.remove(0);
    let StepOutcome::Fault { message, .. } = step.outcome else { panic!("no fault") };
    assert!(message.contains("the policy says no"), "{message}");
    assert!(message.contains("hostile/src/lib.rs"), "{message}");
}

#[test]
fn after_five_faults_the_policy_is_left_alone_and_half_a_minute_later_tried_again() {
    let world = World::new();
    world.hostile("hostile", json!({}));
    for _ in 0..5 {
        assert!(!world.status("hostile").breaker_open);
        world.host.select(&select("panic"));
    }
    assert!(world.status("hostile").breaker_open);
    assert_eq!(world.host.select(&select("first")).by, DecidedBy::BuiltIn);
    assert_eq!(world.newest().steps[0].outcome, StepOutcome::Skipped);
    world.clock.pass(30);
    assert_eq!(world.host.select(&select("first")).answer, Selection::Ranked(vec![0]));
    assert!(!world.status("hostile").breaker_open);
}

#[test]
fn a_policy_that_cannot_decide_does_not_open_its_breaker() {
    let world = World::new();
    world.hostile("hostile", json!({}));
    for _ in 0..20 {
        world.host.select(&select("policy-error"));
    }
    assert!(!world.status("hostile").breaker_open);
    assert_eq!(count(&world, FaultKind::PolicyError), 20);
}

#[test]
fn while_the_breaker_is_open_leases_get_the_longest_grace() {
    let world = World::new();
    world.hostile("hostile", json!({}));
    for _ in 0..5 {
        world.host.select(&select("panic"));
    }
    let verdict = world.host.reclaim(&reclaim("all", 1)).answer[0];
    assert_eq!((verdict.grace, verdict.permits_unfenced), (LONG_GRACE, false));
}

#[test]
fn more_decisions_than_slots_wait_instead_of_failing() {
    let engine = tenure_policy_host::EngineOptions { slots: 1, ..Default::default() };
    let world = World::with(engine, Default::default());
    world.hostile("hostile", json!({}));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_ne!(world.host.select(&select("first")).by, DecidedBy::BuiltIn);
                }
            });
        }
    });
    assert_eq!(world.status("hostile").faults, []);
}
