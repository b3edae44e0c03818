//! Policies that misbehave leave every ADD answered, and are counted by the kind of their fault (I11).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod lab;

use std::time::{Duration, Instant};

use lab::{Lab, netns, policies};
use serde_json::{Value, json};

/// How long an ADD may take that meets a faulty policy: its budget and a busy machine.
const BUDGET: Duration = Duration::from_secs(2);

/// ADDs under a hostile `select` policy, one per mode: each is answered by the built-in strategy within its budget.
/// Answers the kinds of the faults that were counted, in alphabetical order. A breaker opens at the fifth fault.
fn under(modes: &[&str]) -> Vec<String> {
    let mut lab = Lab::enter()
        .configure("[log]\nlevel = \"warn\"\n")
        .pool("p", json!({"cidr": "10.7.0.0/24"}));
    let file = policies().join("test/hostile.wasm");
    let settings = json!({"attribute": "cni.args/mode"});
    let spec = json!({"source": {"file": file}, "hooks": ["select"], "settings": settings, "priority": 100});
    lab.object("IPAMPolicy", "hostile", spec);
    let lab = lab.start();
    for mode in modes {
        netns(mode);
        let config = lab.network("1.1.0", "bridge", json!({"args": {"cni": {"mode": mode}}}));
        let begun = Instant::now();
        let addresses = lab.plugin("ADD", mode, &config).addresses();
        assert!(begun.elapsed() < BUDGET, "{mode}: {:?}", begun.elapsed());
        assert_eq!(addresses.len(), 1, "{mode}: the built-in strategy answers");
    }
    let mut kinds = counted(&lab, "hostile");
    kinds.sort();
    kinds
}

/// The kinds of faults counted for a policy.
fn counted(lab: &Lab, policy: &str) -> Vec<String> {
    let (_, text) = lab.http("GET", "/metrics", "");
    let mut kinds = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("tenure_policy_faults_total")) {
        let (labels, value) = line.rsplit_once(' ').unwrap();
        if labels.contains(&format!("\"{policy}\"")) && value != "0" {
            let kind = labels.split("kind=\"").nth(1).unwrap().split('"').next().unwrap();
            kinds.push(kind.to_owned());
        }
    }
    kinds
}

#[test]
fn loops_bombs_and_deep_recursion_are_cut_off_and_counted() {
    assert_eq!(under(&["loop", "memory", "recurse"]), ["fuel", "memory", "stack"]);
}

#[test]
fn traps_and_floods_are_cut_off_and_counted() {
    assert_eq!(under(&["trap", "log-lines", "lookups"]), ["logs", "lookups", "trap"]);
}

#[test]
fn answers_that_cannot_be_used_are_faults() {
    assert_eq!(under(&["out-of-range"]), ["bad-output"]);
    assert_eq!(under(&["huge-list"]), ["bad-output"]);
    assert_eq!(under(&["bad-utf8"]), ["bad-output"]);
}

#[test]
fn a_policy_of_the_wrong_shape_never_gets_to_serve_and_says_why() {
    let lab = Lab::enter().pool("p", json!({"cidr": "10.7.0.0/24"})).start();
    let refused = |bytes: &[u8]| -> Value {
        let file = lab.folder.path().join("bad.wasm");
        std::fs::write(&file, bytes).unwrap();
        let object = json!({"apiVersion": "tenure.dev/v1alpha1", "kind": "IPAMPolicy", "metadata": {"name": "bad"},
            "spec": {"source": {"file": file}}});
        let (status, body) = lab.http("POST", "/v1/apply", &object.to_string());
        assert_eq!(status, 400, "{body}");
        serde_json::from_str(&body).unwrap()
    };
    for bytes in [&b""[..], b"not wasm", b"\0asm\x01\0\0\0"] {
        let error = refused(bytes);
        assert_eq!(error["error"]["code"], "POLICY_REFUSED", "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains("bad"), "{error}");
    }
}
