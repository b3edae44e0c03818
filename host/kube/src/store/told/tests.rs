//! What of a status is written, and how often.

use kube::core::{ApiResource, GroupVersionKind};
use tenure_core::ledger::Counts;

use super::*;
use crate::crds::{GROUP, VERSION};

/// The pool `blue` at a revision, with this status.
fn blue(revision: u64, status: &Value) -> DynamicObject {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, "IPPool"));
    let mut object = DynamicObject::new("blue", &resource);
    object.metadata.resource_version = Some(revision.to_string());
    object.metadata.generation = Some(3);
    object.data = json!({"status": status});
    object
}

fn key() -> Key {
    (ObjectKind::IPPool, ObjectName::new("blue").unwrap())
}

fn listed(revision: u64, status: &Value) -> Told {
    let mut told = Told::default();
    told.list(key(), &blue(revision, status));
    told
}

fn shown(state: Result<u128, &'static str>) -> Shown {
    let counts = |held| Counts { size: 9, free: 9 - held, held, ..Counts::default() };
    let refusal = |reason| Refusal { reason, message: "of p".to_owned() };
    Shown::Pool { name: key().1, state: state.map(counts).map_err(refusal) }
}

/// The status after a patch, as the server makes it.
fn patched(mut status: Value, patch: &Value) -> Value {
    json_patch_of(&mut status, &patch["status"]);
    status
}

fn json_patch_of(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            json_patch_of(&mut target[key], value);
        }
    }
}

#[test]
fn only_what_differs_is_written() {
    let start = Instant::now();
    let (_, patch) = listed(1, &Value::Null).due(&shown(Ok(2)), start).unwrap();
    let status = patched(Value::Null, &patch);
    assert_eq!((&status["held"], &status["free"]), (&json!("2"), &json!("7")));
    assert_eq!(status["conditions"][0]["status"], "True");
    assert_eq!(status["conditions"][0]["observedGeneration"], 3);
    assert_eq!(listed(2, &status).due(&shown(Ok(2)), start), None, "it stands there");
    let (_, patch) = listed(2, &status).due(&shown(Ok(3)), start).unwrap();
    assert_eq!(patch, json!({"status": {"held": "3", "free": "6"}}));
}

#[test]
fn counts_go_when_a_pool_is_not_served_any_more() {
    let (_, patch) = listed(1, &Value::Null).due(&shown(Ok(2)), Instant::now()).unwrap();
    let served = patched(Value::Null, &patch);
    let (_, patch) = listed(2, &served).due(&shown(Err("Overlaps")), Instant::now()).unwrap();
    let status = patched(served, &patch);
    assert_eq!(status.as_object().unwrap().keys().collect::<Vec<_>>(), ["conditions"]);
    assert_eq!(status["conditions"][0]["reason"], "Overlaps");
}

#[test]
fn an_object_is_written_at_most_once_in_ten_seconds_whatever_lists_and_watches_tell() {
    let start = Instant::now();
    let mut told = listed(1, &Value::Null);
    let mut writes = Vec::new();
    for second in 0..35 {
        let now = start + Duration::from_secs(second);
        let held = u128::from(second % 9);
        if let Some((_, patch)) = told.due(&shown(Ok(held)), now) {
            let status = patched(json!({}), &patch);
            let revision = 10 + second;
            told.hear(ObjectKind::IPPool, &blue(revision, &status));
            told.take(listed(revision, &status));
            writes.push(second);
        }
    }
    assert_eq!(writes, [0, 10, 20, 30]);
}

#[test]
fn what_somebody_else_wrote_over_it_comes_right_and_old_news_change_nothing() {
    let start = Instant::now();
    let mut told = listed(5, &Value::Null);
    let (_, patch) = told.due(&shown(Ok(2)), start).unwrap();
    let status = patched(Value::Null, &patch);
    told.hear(ObjectKind::IPPool, &blue(6, &status));
    told.hear(ObjectKind::IPPool, &blue(4, &json!({"held": "old"})));
    let later = start + Duration::from_secs(60);
    assert_eq!(told.due(&shown(Ok(2)), later), None, "the newest word counts");
    told.take(listed(5, &json!({"held": "old"})));
    assert_eq!(told.due(&shown(Ok(2)), later), None, "also over a late list");
    let mut theirs = status;
    theirs["held"] = json!("7");
    told.hear(ObjectKind::IPPool, &blue(7, &theirs));
    let (_, patch) = told.due(&shown(Ok(2)), later).unwrap();
    assert_eq!(patch, json!({"status": {"held": "2"}}));
}

#[test]
fn a_policy_says_what_serves_instead_and_at_which_stage_the_new_one_failed() {
    let name = ObjectName::new("mine").unwrap();
    let serving = tenure_core::ports::PolicyStatus {
        name: name.clone(),
        digest: tenure_core::name::Digest::of(b"good"),
        component: "grace".to_owned(),
        version: "1.2.0".to_owned(),
        hooks: vec![tenure_core::decision::Hook::Reclaim],
        mode: "active".to_owned(),
        decisions: 3,
        faults: vec![(tenure_core::decision::FaultKind::Fuel, 2)],
        breaker_open: false,
        stage: tenure_core::ports::SERVING.to_owned(),
        last_refusal: None,
        fuel: Some(tenure_core::ports::FuelUse { mean: 20_000, max: 50_000, max_percent: 3 }),
        latency: Some(tenure_core::ports::Latency { p50_us: 18, p99_us: 40, max_us: 900 }),
        shadow: None,
    };
    let of = |serving: Option<&tenure_core::ports::PolicyStatus>, stage: Option<&'static str>| {
        let refusal = stage.map(|stage| PolicyRefusal {
            policy: name.clone(),
            stage,
            why: "no such export".to_owned(),
        });
        let serving = serving.cloned().map(Box::new);
        let shown = Shown::Policy { name: name.clone(), serving, refusal };
        status_of(&shown, &Value::Null, Some(1))
    };
    let good = of(Some(&serving), None);
    assert_eq!(good["digest"], json!(serving.digest));
    assert_eq!((&good["hooks"], &good["faults"]), (&json!(["reclaim"]), &json!({"fuel": 2})));
    assert_eq!((&good["conditions"][0]["status"], good.get("stage")), (&json!("True"), None));
    let message = |status: &Value| status["conditions"][0]["message"].as_str().unwrap().to_owned();
    let refused = of(Some(&serving), Some("checking the exports"));
    assert_eq!(
        (&refused["stage"], &refused["digest"]),
        (&json!("checking the exports"), &good["digest"])
    );
    assert_eq!(refused["conditions"][0]["reason"], "Refused");
    let said = message(&refused);
    assert!(said.contains("while checking the exports: no such export"), "{said}");
    assert!(said.contains(&format!("{}, goes on serving", serving.digest)), "{said}");
    assert!(message(&of(None, Some("compiling"))).contains("the built-in strategy answers"));
    let taken_back = tenure_core::ports::PolicyStatus {
        last_refusal: Some("sha256:0 was taken back".to_owned()),
        stage: "serving on probation".to_owned(),
        ..serving
    };
    let taken_back = of(Some(&taken_back), None);
    assert_eq!(taken_back["stage"], "serving on probation");
    assert_eq!(taken_back["conditions"][0]["reason"], "TakenBack");
    assert_eq!(taken_back["conditions"][0]["status"], "False");
}
