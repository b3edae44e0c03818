//! Policies in shadow mode: asked beside the decisions, compared, recorded, and without any effect.

use std::time::{Duration, Instant};

use serde_json::json;
use tenure_core::decision::*;
use tenure_core::ports::{Policies, ShadowStatus};

use crate::world::*;

const SHADOW: &str = "cni.args/shadow";

/// A decider that obeys `cni.args/hostile`, and a shadow that obeys `cni.args/shadow`.
fn world(shadow: serde_json::Value) -> World {
    let world = World::new();
    world.hostile("real", json!({}));
    world.hostile(
        "shadow",
        json!({"mode": "shadow", "shadow": shadow, "settings": {"attribute": SHADOW}}),
    );
    world
}

fn request(mode: &str, seed: u64) -> SelectRequest {
    let mut request = select("first");
    request.seed = seed;
    request.holder.attributes.insert(SHADOW.to_owned(), mode.to_owned());
    request
}

fn counts(world: &World) -> ShadowStatus {
    world.status("shadow").shadow.unwrap()
}

#[test]
fn a_shadow_is_asked_compared_and_recorded_and_changes_nothing() {
    let world = world(json!({}));
    for (mode, agreed, differed, abstained) in
        [("first", 1, 0, 0), ("last", 1, 1, 0), ("abstain", 1, 1, 1)]
    {
        let decided = world.host.select(&request(mode, 7));
        assert_eq!(decided.answer, Selection::Ranked(vec![0]), "{mode}");
        until("the shadow was asked", || {
            let counts = counts(&world);
            (counts.agreed, counts.differed, counts.abstained) == (agreed, differed, abstained)
        });
    }
    world.host.select(&request("last", 7));
    until("the record has what the shadow did", || world.newest().steps.len() == 2);
    let note = world.newest().steps[1].log.concat();
    assert!(note.contains("shadow: would answer") && note.contains("[2]"), "{note}");
    assert_eq!(world.status("shadow").mode, "shadow");
    let status = world.status("shadow");
    assert!(status.latency.unwrap().max_us > 0 && status.fuel.unwrap().mean > 0, "{status:?}");
}

#[test]
fn faults_of_a_shadow_are_counted_and_no_version_comes_back_because_of_them() {
    let world = World::new();
    world.hostile("policy", json!({}));
    // The same object, now in shadow mode: what served before must not decide again.
    world.hostile("policy", json!({"mode": "shadow", "settings": {"attribute": SHADOW}}));
    for n in 0..5 {
        assert_eq!(world.host.select(&request("panic", n)).answer, built_in());
    }
    until("five faults are counted", || world.status("policy").faults == [(FaultKind::Trap, 5)]);
    let status = world.status("policy");
    assert_eq!((status.mode.as_str(), status.breaker_open), ("shadow", true));
    assert_eq!(world.host.select(&request("first", 1)).answer, built_in());
}

#[test]
fn a_shadow_is_asked_about_its_share_of_the_requests() {
    let world = world(json!({"percent": 20}));
    for seed in 0..500 {
        world.host.select(&request("first", seed));
    }
    // Each of them was offered before its decision was answered; the last of those that were taken is awaited.
    let asked = |counts: &ShadowStatus| counts.agreed + counts.dropped;
    let expected = 60..=140;
    until("its share was asked", || expected.contains(&asked(&counts(&world))));
    let status = counts(&world);
    assert_eq!((status.percent, status.differed), (20, 0));
}

#[test]
fn a_decision_never_waits_for_a_shadow_and_what_it_cannot_take_is_counted() {
    let world = World::new();
    world.hostile("real", json!({}));
    // One call of it takes two seconds: fuel is ample, and the deadline ends it.
    let limits = json!({"fuel": 200_000_000, "deadlineMs": 2000});
    let spec = json!({"mode": "shadow", "settings": {"attribute": SHADOW}, "limits": limits});
    world.hostile("shadow", spec);
    let begun = Instant::now();
    for seed in 0..200 {
        let decided = world.host.select(&request("loop", seed));
        assert_eq!(decided.answer, Selection::Ranked(vec![0]));
    }
    // 200 calls of the shadow alone would take longer than a minute.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let dropped = counts(&world).dropped;
    assert!(dropped > 0, "128 wait at most");
}

#[test]
fn a_verdict_of_a_shadow_is_compared_for_the_rows_that_it_has_an_opinion_on() {
    let world = World::new();
    world.hostile("real", json!({}));
    world.hostile("shadow", json!({"mode": "shadow", "settings": {"attribute": SHADOW}}));
    let mut request = reclaim("all", 4);
    for lease in &mut request.leases {
        lease.holder.attributes.insert(SHADOW.to_owned(), "even".to_owned());
    }
    world.host.reclaim(&request);
    until("they were compared", || counts(&world).agreed == 1);
}

#[test]
fn a_share_that_is_none_is_refused_by_name() {
    let world = World::new();
    let spec =
        json!({"source": {"file": guest("hostile")}, "mode": "shadow", "shadow": {"percent": 0}});
    let refusal = world.install("x", spec).unwrap_err();
    assert!(refusal.why.contains("spec.shadow.percent is 0"), "{refusal}");
}
