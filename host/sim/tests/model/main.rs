//! The model test of the engine: histories of calls, failures, restarts and time over the real engine, with a naive
//! model beside it that checks every step.
//!
//! ```text
//! ops       what can happen            history   seeds, shrinking, kept failures
//! cast      who appears in it          machine   runs a step (acts: each operation; finish: the end)
//! model     what is known from outside rules     what DESIGN allows
//! ```
//!
//! `TENURE_SIM_HISTORIES=N` sets how many histories run, `TENURE_SIM_FIRST=N` at which seed they begin,
//! `TENURE_SIM_SEED=N` which one `replay` shows.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

mod acts;
mod cast;
mod finish;
mod history;
mod machine;
mod model;
mod ops;
mod rules;
mod trace;
mod world;

use std::collections::BTreeMap;

use history::{On, Ran, from_seed, kept, run, run_all};
use trace::Trace;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn no_history_over_the_memory_store_breaks_an_invariant() {
    let first = number("TENURE_SIM_FIRST").unwrap_or(1);
    run_all(number("TENURE_SIM_HISTORIES").unwrap_or(10_000), first, On::Memory);
}

#[test]
fn no_history_over_redb_breaks_an_invariant() {
    let count = number("TENURE_SIM_HISTORIES").map_or(200, |count| count.div_ceil(50));
    run_all(count, number("TENURE_SIM_FIRST").unwrap_or(1_000_000), On::Redb);
}

#[test]
fn kept_histories_stay_mended() {
    for (seed, ops) in kept() {
        for on in [On::Memory, On::Redb] {
            let Ran { trace, outcome, .. } = run(&ops, on, Trace::kept());
            let outcome = outcome.map_err(|(step, breach)| format!("step {step}: {}", breach.0));
            assert_eq!(outcome, Ok(()), "kept history {seed} on {on:?}\n{}", trace.join("\n"));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_seven_times() {
    for seed in 1..=10 {
        let ops = from_seed(seed);
        let trace = |on| run(&ops, on, Trace::kept()).trace;
        let first = trace(On::Memory);
        assert!(first.len() > history::STEPS);
        for _ in 1..7 {
            assert_eq!(trace(On::Memory), first);
        }
        assert_eq!(trace(On::Redb), first, "the store behind makes no difference");
    }
}

/// What some history must come to: else the rules about it are never asked.
const WORTH: [&str; 35] = [
    "ADD answered",
    "ADDRESS_UNAVAILABLE",
    "BAD_NETNS",
    "CONFIG_CHANGED",
    "KEY_HELD",
    "POOL_EXHAUSTED",
    "STORE_UNKNOWN",
    "UNSETTLED",
    "answered for on the wire",
    "bound again out of quarantine",
    "collected",
    "ended by its own ADD",
    "forgotten",
    "found by a census",
    "found in two places",
    "freed by hand",
    "given before it was known what is alive",
    "imported",
    "left to the other claimant",
    "lost its retention",
    "moved",
    "quarantined",
    "reclaimed",
    "reclaimed after a reboot",
    "reclaimed out of quarantine",
    "released",
    "released by the spool",
    "repeated",
    "reused early, proved",
    "reused early, unproved",
    "reused while on a link that nobody could see",
    "reused, rested",
    "reused, retained",
    "taken over",
    "waited in vain",
];

#[test]
fn histories_come_to_all_that_they_are_for() {
    let mut reached: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 1..=300 {
        for (what, times) in run(&from_seed(seed), On::Memory, Trace::default()).reached {
            *reached.entry(what).or_default() += times;
        }
    }
    let missed: Vec<_> = WORTH.iter().filter(|what| !reached.contains_key(**what)).collect();
    assert!(missed.is_empty(), "no history came to {missed:?}: {reached:#?}");
}

#[test]
fn replay() {
    let Some(seed) = number("TENURE_SIM_SEED") else { return };
    let Ran { trace, outcome, .. } = run(&from_seed(seed), On::Memory, Trace::kept());
    println!("{}", trace.join("\n"));
    outcome.map_err(|(step, breach)| format!("step {step}: {}", breach.0)).unwrap();
}
