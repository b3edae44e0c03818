//! What decides while versions come and go: each decision, and all decisions of one ADD, see one whole version.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tenure_core::decision::*;
use tenure_core::ports::Policies;

use crate::world::*;

/// A version that obeys the attribute of this name.
fn version(attribute: &str) -> Value {
    json!({"settings": {"attribute": format!("cni.args/{attribute}")}})
}

/// Told to rank the first pool by one version, and the last one by the other.
fn request() -> SelectRequest {
    let mut request = select("");
    for (attribute, mode) in [("one", "first"), ("other", "last")] {
        request.holder.attributes.insert(format!("cni.args/{attribute}"), mode.to_owned());
    }
    request
}

#[test]
fn what_began_with_a_version_ends_with_it_whatever_is_swapped_meanwhile() {
    let world = World::new();
    world.hostile("p", version("one"));
    let pinned = world.host.pinned();
    world.hostile("p", version("other"));
    assert_eq!(pinned.select(&request()).answer, Selection::Ranked(vec![0]));
    assert_eq!(world.host.select(&request()).answer, Selection::Ranked(vec![2]));
    world.host.remove(&name("p"));
    assert_eq!(pinned.select(&request()).answer, Selection::Ranked(vec![0]));
    drop(pinned);
    assert_eq!(world.host.select(&request()).answer, built_in());
}

#[test]
fn under_a_storm_of_swaps_every_decision_is_that_of_one_version() {
    let world = World::new();
    world.hostile("p", version("one"));
    let stop = AtomicBool::new(false);
    let decided: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let decide = || {
            let (mut one, mut other) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                match world.host.select(&request()).answer {
                    Selection::Ranked(rows) if rows == [0] => one += 1,
                    Selection::Ranked(rows) if rows == [2] => other += 1,
                    answer => panic!("no version answers so: {answer:?}"),
                }
            }
            (one, other)
        };
        let deciders: Vec<_> = (0..3).map(|_| scope.spawn(decide)).collect();
        for n in 0..60 {
            world.hostile("p", version(if n % 2 == 0 { "other" } else { "one" }));
        }
        stop.store(true, Ordering::Relaxed);
        deciders.into_iter().map(|decider| decider.join().unwrap()).collect()
    });
    assert!(decided.iter().all(|(one, other)| *one > 0 && *other > 0), "{decided:?}");
    assert!(world.status("p").faults.is_empty());
}
