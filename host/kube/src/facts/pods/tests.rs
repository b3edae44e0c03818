//! What is kept of a pod, by tables.

use serde_json::{Value, json};
use tenure_core::time::{Clock, Moment, WallMs};
use tokio::sync::watch;

use super::*;
use crate::facts::view::View;

struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Moment {
        Moment(0)
    }
    fn boottime_ms(&self) -> u64 {
        0
    }
    fn wall(&self) -> WallMs {
        WallMs(0)
    }
}

fn slim(object: Value) -> SlimPod {
    serde_json::from_value(object).unwrap()
}

fn read(object: Value, before: Option<&PodFacts>, now: u64) -> PodFacts {
    PodFacts::of(&slim(object), before, &mut Words::default(), Moment(now))
}

fn named(uid: &str) -> Value {
    json!({"metadata": {"name": "web-0", "namespace": "shop", "uid": uid}})
}

fn deleted(uid: &str, grace: Value) -> Value {
    json!({"metadata": {"name": "web-0", "namespace": "shop", "uid": uid,
        "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}})
}

#[test]
fn a_pod_is_read_in_full() {
    let facts = read(
        json!({
            "metadata": {
                "name": "web-0", "namespace": "shop", "uid": "u1", "labels": {"app": "web"},
                "annotations": {"tenure.dev/key": "a", "kubectl.kubernetes.io/last": "{}",
                    "k8s.v1.cni.cncf.io/networks": "blue", "k8s.v1.cni.cncf.io/network-status": "[]"},
                "ownerReferences": [
                    {"kind": "Other", "name": "o", "uid": "o1"},
                    {"kind": "StatefulSet", "name": "web", "uid": "s1", "controller": true}],
                "managedFields": [{"manager": "kubectl", "fieldsV1": {}}],
            },
            "spec": {"nodeName": "n1", "restartPolicy": "Never", "containers": [{"name": "c"}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1"},
        }),
        None,
        0,
    );
    assert_eq!((&*facts.uid, facts.node.as_deref()), ("u1", Some("n1")));
    assert_eq!(facts.labels.get("app"), Some("web"));
    let kept: Vec<_> = facts.annotations.iter().collect();
    assert_eq!(kept, [("k8s.v1.cni.cncf.io/networks", "blue"), ("tenure.dev/key", "a")]);
    let controller = facts.controller.unwrap();
    assert_eq!(
        (&*controller.kind, &*controller.name, &*controller.uid),
        ("StatefulSet", "web", "s1")
    );
    assert_eq!(facts.restart, Restart::Never);
    assert!(!facts.is_finished && !facts.is_cut && facts.deletion.is_none());
}

#[test]
fn a_pod_that_says_nothing_is_read_all_the_same() {
    let facts = read(json!({}), None, 0);
    assert_eq!((facts.node, facts.restart, facts.is_finished), (None, Restart::Always, false));
}

#[test]
fn both_last_phases_are_an_end_and_no_other_is() {
    for (phase, is_finished) in [
        ("Pending", false),
        ("Running", false),
        ("Unknown", false),
        ("Succeeded", true),
        ("Failed", true),
    ] {
        assert_eq!(
            read(json!({"status": {"phase": phase}}), None, 0).is_finished,
            is_finished,
            "{phase}"
        );
    }
}

#[test]
fn a_deletion_counts_from_when_it_was_first_seen_of_this_uid() {
    let seen = |facts: &PodFacts| facts.deletion.unwrap().seen;
    let first = read(deleted("u1", json!(30)), Some(&read(named("u1"), None, 1)), 5);
    assert_eq!(
        first.deletion,
        Some(Deletion { seen: Moment(5), grace: Some(Duration::from_secs(30)) })
    );
    let shortened = read(deleted("u1", json!(0)), Some(&first), 9);
    assert_eq!(shortened.deletion, Some(Deletion { seen: Moment(5), grace: Some(Duration::ZERO) }));
    assert_eq!(seen(&read(deleted("u2", json!(30)), Some(&first), 9)), Moment(9));
    for unsaid in [json!(null), json!(-1)] {
        assert_eq!(read(deleted("u1", unsaid), None, 0).deletion.unwrap().grace, None);
    }
}

#[test]
fn a_static_pod_is_known_by_its_hash_and_nobody_by_an_empty_uid() {
    for key in [CONFIG_MIRROR, CONFIG_HASH] {
        let facts = read(json!({"metadata": {"uid": "u1", "annotations": {key: "abc"}}}), None, 0);
        assert!(facts.is_of("abc") && facts.is_of("u1") && !facts.is_of("abd"), "{key}");
    }
    let facts = read(json!({"metadata": {"annotations": {CONFIG_MIRROR: ""}}}), None, 0);
    assert!(!facts.is_of(""));
}

#[test]
fn annotations_that_are_too_long_are_left_out_and_that_is_said() {
    let long = "x".repeat(ANNOTATIONS);
    let facts = read(
        json!({"metadata": {"annotations": {"tenure.dev/a": long, "tenure.dev/b": "short"}}}),
        None,
        0,
    );
    assert_eq!(facts.annotations.iter().collect::<Vec<_>>(), [("tenure.dev/b", "short")]);
    assert!(facts.is_cut);
}

#[test]
fn a_sweep_hears_of_ends_and_of_nothing_else() {
    let (lives, other) = (read(named("u1"), None, 0), read(named("u2"), None, 0));
    let ending = read(deleted("u1", json!(30)), None, 0);
    let moved = PodFacts { node: Some("n1".into()), ..lives.clone() };
    let finished = PodFacts { is_finished: true, ..lives.clone() };
    let table = [
        (None, Some(&lives), false),
        (Some(&lives), Some(&moved), false),
        (Some(&lives), Some(&ending), true),
        (Some(&lives), Some(&finished), true),
        (Some(&lives), Some(&other), true),
        (Some(&lives), None, true),
        (Some(&ending), Some(&ending), false),
        (None, Some(&ending), true),
    ];
    for (at, (before, now, matters)) in table.into_iter().enumerate() {
        assert_eq!(Pods::matters(before, now), matters, "row {at}");
    }
}

/// A pod of a large cluster: half of all labels are of this pod alone.
fn of_many(n: u32) -> SlimPod {
    let workload = n / 20;
    slim(json!({
        "metadata": {
            "name": format!("workload-{workload:04}-5d8f6c7b9d-{n:05}"),
            "namespace": format!("team-{:03}", n % 200),
            "uid": format!("8a1f0c52-3b7e-4d6a-9f00-{n:012x}"),
            "resourceVersion": n.to_string(),
            "labels": {
                "app.kubernetes.io/name": format!("workload-{workload:04}"),
                "app.kubernetes.io/instance": format!("workload-{workload:04}-prod"),
                "pod-template-hash": "5d8f6c7b9d",
                "statefulset.kubernetes.io/pod-name": format!("workload-{workload:04}-{n}"),
                "apps.kubernetes.io/pod-index": (n % 20).to_string(),
            },
            "annotations": {"k8s.v1.cni.cncf.io/networks": "underlay", "tenure.dev/key": n.to_string(),
                "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"},
            "ownerReferences": [{"kind": "StatefulSet", "name": format!("workload-{workload:04}"),
                "uid": format!("0b0f0c52-3b7e-4d6a-9f00-{workload:012x}"), "controller": true}],
        },
        "spec": {"nodeName": format!("node-{:04}", n % 1000), "restartPolicy": "Always"},
        "status": {"phase": "Running"},
    }))
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
#[ignore = "measures its own process: run by the test below, alone"]
fn measured() {
    let view = View::<Pods>::new(Arc::new(NoClock), watch::Sender::default());
    let before = resident();
    view.list_begins();
    for page in 0..100 {
        view.put((page * 500..(page + 1) * 500).map(of_many));
    }
    view.list_ends();
    assert_eq!(view.len(), 50_000);
    println!("taken={}", resident() - before);
}

#[test]
fn fifty_thousand_pods_take_far_less_than_sixty_mebibytes() {
    let arguments = ["--exact", "facts::pods::tests::measured", "--ignored", "--nocapture"];
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let taken = text.lines().find_map(|line| line.split_once("taken=")).expect(&text).1;
    let taken: usize = taken.parse().unwrap();
    println!("50,000 pods take {} MiB", taken >> 20);
    assert!(taken < 48 << 20, "{taken} bytes");
}
