//! Everything about one address, whatever it is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{api, busy_site};
use tenure_core::decision::{Affinity, IfHeld};
use tenure_core::name::IfName;
use tenure_sim::pod;
use tower::ServiceExt as _;

const POD: &str = "c1aaaaaaaaaaaaaaaa";

async fn send(router: &Router, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = Body::from(body.to_string());
    let request = Request::builder().method(method).uri(path).body(body).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status.as_u16(), serde_json::from_slice(&bytes).unwrap())
}

async fn explain(router: &Router, address: &str) -> Value {
    let path = format!("/v1/leases/{address}/explain");
    let (status, answer) = send(router, "GET", &path, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The summary, what the kernel says, and what happens next.
fn told(answer: &Value) -> (&str, &str, Vec<&str>) {
    let next = answer["next"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    let kernel = answer["witnesses"][0]["says"].as_str().unwrap_or_default();
    (answer["summary"].as_str().unwrap(), kernel, next.collect())
}

#[tokio::test]
async fn a_held_address_names_its_holder_its_witness_and_what_would_end_it() {
    let router = tenure_api::router(api(&busy_site().await));
    let answer = explain(&router, "10.6.0.2").await;
    let (summary, kernel, next) = told(&answer);
    assert_eq!(summary, "held by net/c1aaaaaaaaaaaaaaaa/eth0 for pod shop/web-0");
    assert_eq!(kernel, "the network namespace of its holder exists");
    assert_eq!(next, ["it keeps the address until its DEL, or until its network namespace ends"]);
    assert_eq!((&answer["pool"], &answer["lease"]["view"]), (&json!("blue-v4"), &json!("held")));
    assert_eq!(answer["decisions"], json!([]), "none is remembered");
}

#[tokio::test]
async fn the_decisions_that_chose_an_address_are_those_of_its_own_add() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.policies.remembers.store(true, Ordering::Relaxed);
    let request = |container: &str, name: &str, uid: &str| {
        let mut request = site.request(container);
        request.owner = pod(name, uid);
        request
    };
    for (container, name, uid) in [
        ("c6", "web-5", "uid-6"),
        ("c5", "web-5", "uid-5"),
        ("c7", "web-7", "uid-7"),
        // The same pod again while its first container lives: another holder, decided later.
        ("c8", "web-5", "uid-5"),
    ] {
        site.add_as(&request(container, name, uid)).await.unwrap();
        site.clock.pass(Duration::from_secs(1));
    }
    let answer = explain(&router, "10.6.0.6").await;
    assert_eq!(answer["lease"]["lease"]["owner"]["uid"], "uid-5");
    let decisions = answer["decisions"].as_array().unwrap();
    let hooks: Vec<_> = decisions.iter().map(|one| one["hook"].as_str().unwrap()).collect();
    assert_eq!(hooks, ["select", "affinity"], "{answer}");
    let ids: Vec<_> = decisions.iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [4, 3], "two for each ADD");
    for decision in decisions {
        assert_eq!(decision["request"]["holder"]["owner"]["uid"], "uid-5");
        assert_eq!(decision["steps"][0]["fuel"], 4_211);
        assert_eq!(decision["steps"][0]["log"], json!(["zone of the holder: none"]));
    }
}

#[tokio::test]
async fn decisions_about_others_are_not_taken_for_those_of_an_address() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    let mut request = site.request("c5");
    request.owner = pod("web-5", "uid-5");
    let mut other_interface = request.clone();
    other_interface.attachment.ifname = IfName::new("eth1").unwrap();
    let mut other_pod = site.request("c6");
    other_pod.owner = pod("web-5", "uid-6");
    let nameless = site.request("c7");
    site.policies.remembers.store(true, Ordering::Relaxed);
    site.add_as(&request).await.unwrap();
    site.policies.remembers.store(false, Ordering::Relaxed);
    for other in [&other_interface, &other_pod] {
        site.add_as(other).await.unwrap();
    }
    // Two who have no name are not one for that.
    site.policies.remembers.store(true, Ordering::Relaxed);
    site.add("c8").await.unwrap();
    site.policies.remembers.store(false, Ordering::Relaxed);
    site.add_as(&nameless).await.unwrap();
    for (address, remembered) in
        [("10.6.0.5", 2), ("10.6.0.6", 0), ("10.6.0.7", 0), ("10.6.0.9", 0)]
    {
        let answer = explain(&router, address).await;
        assert_eq!(answer["lease"]["view"], "held", "{address}");
        assert_eq!(answer["decisions"].as_array().unwrap().len(), remembered, "{address}");
    }
}

#[tokio::test]
async fn a_zombie_says_when_it_comes_back_and_asking_does_not_hasten_it() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.kernel.end(POD);
    for _ in 0..3 {
        let answer = explain(&router, "10.6.0.2").await;
        let (_, kernel, next) = told(&answer);
        assert_eq!(kernel, "the network namespace of its holder was seen and is no more");
        assert_eq!(next, ["reclaimed in 2 s at the earliest, unless a look finds it alive"]);
        site.clock.pass(Duration::from_secs(60));
    }
    assert!(site.engine.sweep().await.unwrap().reclaimed.is_empty());
    site.clock.pass(Duration::from_secs(3));
    let answer = explain(&router, "10.6.0.2").await;
    assert_eq!(told(&answer).2, ["reclaimed by the next sweep"]);
}

#[tokio::test]
async fn a_resting_address_says_how_long_and_a_free_one_that_it_waits_its_turn() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.clock.pass(Duration::from_secs(20));
    let answer = explain(&router, "10.6.0.4").await;
    let (summary, kernel, next) = told(&answer);
    assert!(summary.starts_with("resting; last held by net/c3ccc"), "{summary}");
    assert_eq!(kernel, "the network namespace of its last holder exists");
    assert!(next[0].starts_with("rests for 100 s more; under pressure"), "{next:?}");
    site.clock.pass(Duration::from_secs(100));
    let answer = explain(&router, "10.6.0.4").await;
    let (summary, _, next) = told(&answer);
    assert!(summary.starts_with("free; last held by net/c3ccc"), "{summary}");
    assert!(next[0].starts_with("given when it is its turn"), "{next:?}");
}

#[tokio::test]
async fn a_lingering_address_says_who_is_still_seen() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.kernel.put_on_link(POD, "10.6.0.2".parse().unwrap());
    site.engine.sweep().await.unwrap();
    site.del(POD).await;
    site.engine.sweep().await.unwrap();
    let answer = explain(&router, "10.6.0.2").await;
    let (summary, kernel, next) = told(&answer);
    assert!(summary.starts_with("lingering; last held by"), "{summary}");
    assert!(kernel.ends_with("exists, and the address was last seen on a link of it"), "{kernel}");
    assert_eq!(next.len(), 1);
    assert!(next[0].contains("until the kernel no longer sees it on a link"), "{next:?}");
}

#[tokio::test]
async fn a_retained_address_says_for_how_long() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    *site.policies.affinity.lock() = Affinity::Sticky {
        key: "shop/web-5".into(),
        if_held: IfHeld::Wait,
        retain_s: 600,
        preferred: Vec::new(),
    };
    site.add("c5eeeeeeeeeeeeeeee").await.unwrap();
    site.del("c5eeeeeeeeeeeeeeee").await;
    site.clock.pass(Duration::from_secs(100));
    let answer = explain(&router, "10.6.0.5").await;
    let (summary, _, next) = told(&answer);
    assert!(summary.starts_with("retained; last held by"), "{summary}");
    assert_eq!(next, ["kept for its sticky key for 500 s more, then free"]);
}

#[tokio::test]
async fn a_quarantined_address_says_who_did_it_and_why_and_how_it_ends() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    let body = json!({"generation": 1, "evenIfLive": true, "reason": "node rebuilt"});
    let (status, _) = send(&router, "POST", "/v1/leases/10.6.0.2/release", body).await;
    assert_eq!(status, 200);
    let answer = explain(&router, "10.6.0.2").await;
    let (summary, kernel, next) = told(&answer);
    assert!(
        summary.starts_with("quarantined, by an operator (an unknown user: node rebuilt)"),
        "{summary}"
    );
    assert_eq!(kernel, "the network namespace of its holder exists");
    assert_eq!(next.len(), 1);
    assert!(next[0].contains("`tenure release 10.6.0.2 --generation 1`"), "{next:?}");
    site.kernel.end(POD);
    let answer = explain(&router, "10.6.0.2").await;
    assert!(told(&answer).2[0].starts_with("reclaimed in 2 s"), "{answer}");
}

#[tokio::test]
async fn an_address_that_nobody_held_is_free_or_says_which_rule_keeps_it_back() {
    let router = tenure_api::router(api(&busy_site().await));
    let answer = explain(&router, "10.6.0.9").await;
    assert_eq!(answer["lease"], Value::Null);
    let (summary, _, next) = told(&answer);
    assert_eq!(summary, "free; nobody has held it as far as is recorded");
    assert!(next[0].starts_with("given when it is its turn"), "{next:?}");
    for (address, why) in [
        ("10.6.0.1", "it is the gateway"),
        ("10.6.0.15", "it is the broadcast address"),
        ("10.6.0.14", "reservation printers has it (the printers)"),
        ("fd00::5", "pool wide-v6 is disabled or being deleted"),
    ] {
        let answer = explain(&router, address).await;
        let (summary, _, next) = told(&answer);
        assert_eq!(summary, format!("not handed out: {why}"));
        assert_eq!(next, ["nothing, as long as that is so"]);
    }
}

#[tokio::test]
async fn what_was_taken_out_of_a_pool_while_it_was_held_is_not_given_again() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.apply(&[("blue-v4", json!({"cidr": "10.6.0.0/28", "exclude": ["10.6.0.2-10.6.0.4"]}))])
        .await;
    let held = explain(&router, "10.6.0.2").await;
    let why = "after that it is not handed out: spec.exclude has 10.6.0.2-10.6.0.4";
    assert_eq!(told(&held).2[1], why, "{held}");
    site.clock.pass(Duration::from_secs(1000));
    let free = explain(&router, "10.6.0.4").await;
    assert_eq!(told(&free).2, ["it is not handed out: spec.exclude has 10.6.0.2-10.6.0.4"]);
}

#[tokio::test]
async fn an_address_of_no_pool_and_no_record_is_not_found() {
    let router = tenure_api::router(api(&busy_site().await));
    for (path, status, code) in [
        ("/v1/leases/10.9.9.9/explain", 404, "NOT_FOUND"),
        ("/v1/leases/10.6.0.2/explain?space=other", 404, "NOT_FOUND"),
        ("/v1/leases/ten/explain", 400, "BAD_ADDRESS"),
        ("/v1/leases/10.6.0.2/explain?space=a--b", 400, "BAD_QUERY"),
        ("/v1/leases/10.6.0.2/explain?room=a", 400, "BAD_QUERY"),
    ] {
        let (found, answer) = send(&router, "GET", path, Value::Null).await;
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(code)), "{path}");
    }
}
