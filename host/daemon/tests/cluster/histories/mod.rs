//! Random histories over real processes: what a seed says is done to agents, allocators, the API server and pods, and after
//! each step it is checked from outside, in the namespaces and in the API, that nothing is broken.
//!
//! ```text
//! steps      what happens, from a seed        run      does it, and knows what every container was told
//! rules      what must be so after each step  finish   what must be so in the end
//! ```
//!
//! The steps of a seed are always the same; what meets what within a step is up to the machine. `TENURE_CLUSTER_SEED=N` runs
//! that one only, `TENURE_CLUSTER_HISTORIES=N` so many, `TENURE_CLUSTER_STEPS=N` with so many steps.
//!
//! Nothing can be asked on the wire here, so that not even a lost node loses an address to somebody else: I1 holds without
//! its exception. And there is one node: all agents of this lab look at one kernel, so that of two each would report the
//! containers of the other in a census, as no two machines do. What goes on between nodes is in `faults`.

mod finish;
mod rules;
mod run;
mod steps;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use run::Run;
use steps::steps;

use crate::times::row;

/// So many fit into a minute and a half.
const HISTORIES: u64 = 2;
const STEPS: usize = 24;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn no_random_history_over_real_processes_breaks_an_invariant() {
    let first = number("TENURE_CLUSTER_SEED");
    let count =
        number("TENURE_CLUSTER_HISTORIES").unwrap_or(if first.is_some() { 1 } else { HISTORIES });
    let length =
        number("TENURE_CLUSTER_STEPS").map_or(STEPS, |steps| usize::try_from(steps).unwrap());
    let first = first.unwrap_or(1);
    let (began, mut done) = (Instant::now(), 0);
    for seed in first..first + count {
        println!(
            "history of seed {seed}: TENURE_CLUSTER_SEED={seed} TENURE_CLUSTER_STEPS={length} runs it again"
        );
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut run = Run::start();
            for (number, step) in steps(seed, length).into_iter().enumerate() {
                println!("{seed}.{number}: {step:?}");
                run.step(&step);
                done += 1;
            }
            run.finish();
        }));
        if let Err(panic) = outcome {
            eprintln!(
                "the history of seed {seed} failed: TENURE_CLUSTER_SEED={seed} TENURE_CLUSTER_STEPS={length} runs it again"
            );
            resume_unwind(panic);
        }
    }
    row(&format!("{count} random histories of {length} steps each"), began.elapsed());
    assert!(done > 0);
}
