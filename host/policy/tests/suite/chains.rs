//! Who is asked, in which order, and whose answer counts.

use serde_json::json;
use tenure_core::decision::*;
use tenure_core::ports::Policies;
use tenure_policy_host::{LONG_GRACE, SHORT_GRACE};

use crate::world::*;

/// The names of the policies that were asked by the newest decision, in order.
fn asked(world: &World) -> Vec<String> {
    world.newest().steps.iter().map(|step| step.policy.to_string()).collect()
}

#[test]
fn the_most_specific_policy_is_asked_first_then_priority_then_name() {
    let world = World::new();
    let (shop, blue) = (json!(["shop"]), json!(["blue"]));
    world.hostile("e-all", json!({}));
    world.hostile("a-all-first", json!({"priority": 5}));
    world.hostile("b-all", json!({}));
    world.hostile("c-namespace", json!({"scope": {"namespaces": shop}}));
    world.hostile("d-both", json!({"scope": {"namespaces": shop, "pools": blue}, "priority": -9}));
    world.hostile("f-pool", json!({"scope": {"pools": blue}, "priority": 1}));
    assert_eq!(world.host.select(&select("abstain")).by, DecidedBy::BuiltIn);
    assert_eq!(asked(&world), ["d-both", "f-pool", "c-namespace", "a-all-first", "b-all", "e-all"]);
    let DecidedBy::Policy { name, .. } = world.host.select(&select("first")).by else { panic!() };
    assert_eq!(name.as_str(), "d-both", "the first that does not abstain decides");
    assert_eq!(asked(&world), ["d-both"]);
}

#[test]
fn a_policy_is_not_asked_about_other_namespaces_or_pools() {
    let world = World::new();
    world.hostile("other-namespace", json!({"scope": {"namespaces": ["bank"]}}));
    world.hostile("other-pool", json!({"scope": {"pools": ["grey"]}}));
    world.hostile("other-hook", json!({"hooks": ["affinity"]}));
    assert_eq!(world.host.select(&select("first")).answer, built_in());
    assert_eq!(asked(&world), [""; 0]);
}

#[test]
fn after_a_fault_the_next_is_asked_only_where_the_object_says_so() {
    let world = World::new();
    // The first sees no attribute named so, fails on none, and is told to fail by its own.
    world.hostile("a", json!({"priority": 1, "onFault": "builtIn"}));
    world.hostile("b", json!({"settings": {"attribute": "cni.args/second"}}));
    let mut request = select("panic");
    request.holder.attributes.insert("cni.args/second".to_owned(), "last".to_owned());
    assert_eq!(world.host.select(&request).answer, built_in());
    assert_eq!(asked(&world), ["a"]);
    world.hostile("a", json!({"priority": 1, "onFault": "next"}));
    assert_eq!(world.host.select(&request).answer, Selection::Ranked(vec![2]));
    assert_eq!(asked(&world), ["a", "b"]);
}

#[test]
fn each_lease_goes_down_the_chain_by_itself() {
    let world = World::new();
    // Even rows are judged by the first; the second, limited to a pool, sees what is left of it.
    world.hostile("a", json!({"priority": 1}));
    let verdicts = world.host.reclaim(&reclaim("even", 4)).answer;
    let graces: Vec<u64> = verdicts.iter().map(|verdict| verdict.grace.as_secs()).collect();
    assert_eq!(graces, [7, SHORT_GRACE.as_secs(), 7, SHORT_GRACE.as_secs()]);
    world.hostile("b", json!({}));
    let verdicts = world.host.reclaim(&reclaim("even", 4)).answer;
    let graces: Vec<u64> = verdicts.iter().map(|verdict| verdict.grace.as_secs()).collect();
    // `b` was given rows 1 and 3 as its rows 0 and 1, and judges its even row.
    assert_eq!(graces, [7, 7, 7, SHORT_GRACE.as_secs()]);
    assert_eq!(asked(&world), ["a", "b"]);
}

#[test]
fn a_faulty_policy_touches_only_the_leases_of_its_scope() {
    let world = World::new();
    world.hostile("narrow", json!({"scope": {"pools": ["red"]}}));
    let mut request = reclaim("panic", 2);
    request.leases[1].pool = 1;
    let verdicts = world.host.reclaim(&request).answer;
    assert_eq!((verdicts[0].grace, verdicts[0].permits_unfenced), (SHORT_GRACE, true));
    assert_eq!((verdicts[1].grace, verdicts[1].permits_unfenced), (LONG_GRACE, false));
}

#[test]
fn a_later_opinion_replaces_the_caution_that_a_fault_left() {
    let world = World::new();
    world.hostile("a", json!({"priority": 1, "onFault": "next"}));
    world.hostile("b", json!({"settings": {"attribute": "cni.args/second"}}));
    let mut request = reclaim("panic", 1);
    let attributes = &mut request.leases[0].holder.attributes;
    attributes.insert("cni.args/second".to_owned(), "all".to_owned());
    let decided = world.host.reclaim(&request);
    assert_eq!(decided.answer[0].grace.as_secs(), 7);
    assert!(matches!(decided.by, DecidedBy::Policy { name, .. } if name.as_str() == "b"));
}

#[test]
fn a_policy_sees_the_attributes_that_it_asked_for_and_no_others() {
    let world = World::new();
    world.hostile("hostile", json!({}));
    let Selection::Deny(told) = world.host.select(&select("attributes")).answer else { panic!() };
    assert!(told.contains(ATTRIBUTE) && !told.contains("SECRET"), "{told}");
}

#[test]
fn without_policies_named_pools_come_first_then_priority_zone_and_room() {
    let world = World::new();
    let mut request = select("");
    let named = |order| Candidate { named: true, order: Some(order), ..candidate(0, 0) };
    request.candidates = vec![
        candidate(0, 5),
        Candidate { in_zone: true, ..candidate(0, 1) },
        Candidate { priority: 3, ..candidate(0, 1) },
        named(1),
        named(0),
        candidate(0, 9),
    ];
    assert_eq!(world.host.select(&request).answer, Selection::Ranked(vec![4, 3, 2, 1, 5, 0]));
}

#[test]
fn without_policies_a_workload_that_comes_back_waits_longer_than_one_that_is_gone() {
    let world = World::new();
    let mut request = reclaim("", 2);
    (request.leases[1].api_gone, request.leases[1].api_alive) = (false, true);
    let verdicts = world.host.reclaim(&request).answer;
    assert_eq!((verdicts[0].grace, verdicts[1].grace), (SHORT_GRACE, LONG_GRACE));
    assert!(verdicts.iter().all(|verdict| verdict.permits_unfenced));
}
