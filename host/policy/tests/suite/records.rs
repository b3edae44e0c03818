//! The decision ring: what it tells, what it keeps, and that a decision replays.

use serde_json::json;
use tenure_core::decision::*;
use tenure_core::ports::Policies;
use tenure_policy_host::RingOptions;

use crate::world::*;

#[test]
fn a_record_tells_the_request_the_look_ups_the_log_and_the_answer() {
    let world = World::new();
    world.hostile("hostile", json!({}));
    let decided = world.host.select(&select("talk"));
    let record = world.newest();
    assert_eq!(record.id, decided.record);
    assert_eq!((record.hook, &record.by), (Hook::Select, &DecidedBy::BuiltIn));
    assert_eq!(serde_json::from_value::<SelectRequest>(record.request).unwrap(), select("talk"));
    assert_eq!(serde_json::from_value::<Selection>(record.answer).unwrap(), built_in());
    let step = &record.steps[0];
    assert_eq!(step.outcome, StepOutcome::Abstained);
    assert_eq!(step.log, [r#"pool 0 is Some("blue")"#]);
    let lookup = Lookup { call: "pool-name(0)".to_owned(), answer: "\"blue\"".to_owned() };
    assert_eq!(step.lookups, [lookup]);
    assert!(step.fuel > 0);
}

#[test]
fn the_same_request_gives_the_same_answer_for_the_same_fuel() {
    let world = World::new();
    world.hostile("hostile", json!({}));
    world.install("balanced", json!({"source": {"bundled": "balanced"}, "priority": -1})).unwrap();
    let mut request = select("talk");
    request.candidates = (0..100_u32).map(|n| candidate(0, u64::from(n) * 7919 % 251)).collect();
    let runs: Vec<(Selection, Vec<u64>)> = (0..20)
        .map(|_| {
            let answer = world.host.select(&request).answer;
            (answer, world.newest().steps.iter().map(|step| step.fuel).collect())
        })
        .collect();
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]), "{runs:?}");
    assert_eq!(runs[0].1.len(), 2);
}

#[test]
fn the_ring_keeps_the_newest_records_within_its_bound() {
    let world = World::with(Default::default(), RingOptions { records: 3, bytes: 1 << 20 });
    let ids: Vec<u64> = (0..5).map(|_| world.host.select(&select("")).record).collect();
    let kept: Vec<u64> = world.host.decisions(usize::MAX).iter().map(|record| record.id).collect();
    assert_eq!(kept, [ids[4], ids[3], ids[2]]);
    assert_eq!(world.host.decisions(1).len(), 1);
}

#[test]
fn large_requests_push_records_out_by_their_weight() {
    let world = World::with(Default::default(), RingOptions { records: 1000, bytes: 300_000 });
    (0..50).for_each(|_| drop(world.host.reclaim(&reclaim("", 100))));
    let kept = world.host.decisions(usize::MAX).len();
    assert!((1..=10).contains(&kept), "{kept} records of some 40 kB");
}
