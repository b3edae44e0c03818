//! Reclaim by the operator: what it lists, what it takes back, and that nobody cuts it in half.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{Site, api, busy_site};
use tenure_api::{Api, ApiOptions};
use tower::ServiceExt as _;

const ZOMBIE: &str = "c1aaaaaaaaaaaaaaaa";

async fn send(router: Router, method: &str, path: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status.as_u16(), serde_json::from_slice(&bytes).unwrap())
}

async fn reclaim(router: &Router, query: &str) -> Value {
    let (status, answer) = send(router.clone(), "POST", &format!("/v1/reclaim{query}")).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn view(router: &Router, address: &str) -> Value {
    send(router.clone(), "GET", &format!("/v1/leases/{address}")).await.1["view"].clone()
}

/// Of the runtime's clock, which goes on while all wait: a wait in vain ends the test.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let fulfilled = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), fulfilled).await.unwrap();
}

/// The engine's clock goes with that of the runtime, which stands still unless all wait for it.
fn go_together(site: &Site) {
    let clock = site.clock.clone();
    tokio::spawn(async move {
        loop {
            clock.pass(Duration::from_millis(100));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

fn addresses(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap().iter();
    list.map(|one| one["address"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_dry_run_lists_a_zombie_with_its_evidence_and_time_left_and_begins_nothing() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    assert_eq!(reclaim(&router, "?dryRun=true").await["suspects"], json!([]));
    site.kernel.end(ZOMBIE);
    for _ in 0..3 {
        let answer = reclaim(&router, "?dryRun=true").await;
        let zombie = &answer["suspects"][0];
        assert_eq!((&answer["dryRun"], &answer["reclaimed"]), (&json!(true), &json!([])));
        assert_eq!(addresses(&answer["suspects"]), ["10.6.0.2"]);
        assert_eq!(zombie["owner"]["name"], "web-0");
        assert_eq!(zombie["attachment"]["container"], ZOMBIE);
        assert_eq!(
            zombie["evidence"],
            json!({"node": "heard", "kernel": "gone", "api": "nothing"})
        );
        let figures = ["suspectS", "graceS", "leftS"].map(|key| zombie[key].as_u64().unwrap());
        assert_eq!(figures, [0, 2, 2], "{zombie}");
        assert_eq!((&zombie["verdict"], &zombie["graceBy"]), (&json!("wait"), &json!("builtIn")));
        site.clock.pass(Duration::from_secs(60));
    }
    let swept = site.engine.sweep().await.unwrap();
    assert_eq!(swept.next, Some(Duration::from_secs(2)), "no dry run counted as a look");
    assert!(swept.reclaimed.is_empty());
}

#[tokio::test]
async fn a_dry_run_shows_the_series_of_looks_that_the_sweeps_have() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.kernel.end(ZOMBIE);
    site.engine.sweep().await.unwrap();
    for (passed, suspect, left, verdict) in
        [(1_500, 1, json!(1), "wait"), (1_500, 3, json!(null), "free")]
    {
        site.clock.pass(Duration::from_millis(passed));
        let answer = reclaim(&router, "?dryRun=true").await;
        let zombie = &answer["suspects"][0];
        assert_eq!((&zombie["suspectS"], &zombie["leftS"]), (&json!(suspect), &left), "{zombie}");
        assert_eq!(zombie["verdict"], verdict);
    }
    assert_eq!(view(&router, "10.6.0.2").await, "held");
}

#[tokio::test(start_paused = true)]
async fn a_reclaim_waits_for_what_becomes_due_and_tells_who_lost_what() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.kernel.end(ZOMBIE);
    go_together(&site);
    let answer = reclaim(&router, "").await;
    assert_eq!((&answer["dryRun"], &answer["suspects"]), (&json!(false), &json!([])));
    let expected = json!([{
        "address": "10.6.0.2", "space": "default", "pool": "blue-v4", "generation": 1,
        "attachment": {"network": "net", "container": ZOMBIE, "ifname": "eth0"},
        "owner": {"kind": "pod", "namespace": "shop", "name": "web-0", "uid": "uid-1"},
        "quarantined": false,
    }]);
    assert_eq!(answer["reclaimed"], expected);
    assert_eq!(view(&router, "10.6.0.2").await, "resting");
    assert_eq!(view(&router, "10.6.0.3").await, "held", "its holder lives");
}

#[tokio::test(start_paused = true)]
async fn a_suspect_whose_grace_is_longer_is_left_and_says_how_long() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.policies.verdict.lock().grace = Duration::from_secs(300);
    site.kernel.end(ZOMBIE);
    go_together(&site);
    let answer = reclaim(&router, "").await;
    assert_eq!(answer["reclaimed"], json!([]));
    let left = &answer["suspects"][0];
    assert_eq!((&left["graceS"], &left["verdict"]), (&json!(300), &json!("wait")), "{left}");
    assert!(left["text"].as_str().unwrap().starts_with("reclaimed in "), "{left}");
}

#[tokio::test(start_paused = true)]
async fn what_another_sweep_takes_back_meanwhile_belongs_to_the_answer() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.kernel.end(ZOMBIE);
    let sweeps = site.engine.counters().sweeps.get();
    let asked = tokio::spawn(async move { reclaim(&router, "").await });
    until(async || site.engine.counters().sweeps.get() > sweeps).await;
    site.clock.pass(Duration::from_secs(3));
    let swept = site.engine.sweep().await.unwrap();
    assert_eq!(swept.reclaimed.len(), 1, "this sweep was the first");
    assert_eq!(addresses(&asked.await.unwrap()["reclaimed"]), ["10.6.0.2"]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_requests_does_not_cut_a_reclaim_off() {
    let site = busy_site().await;
    let options = ApiOptions { deadline: Duration::from_millis(20), ..Default::default() };
    let router = tenure_api::router(Api::new(site.engine.clone(), options));
    site.kernel.end(ZOMBIE);
    go_together(&site);
    assert_eq!(addresses(&reclaim(&router, "").await["reclaimed"]), ["10.6.0.2"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_told_and_the_reclaim_takes_effect_later() {
    let site = busy_site().await;
    let options = ApiOptions { deadline: Duration::from_millis(20), ..Default::default() };
    let router = tenure_api::router(Api::new(site.engine.clone(), options));
    site.kernel.end(ZOMBIE);
    site.engine.sweep().await.unwrap();
    site.clock.pass(Duration::from_secs(3));
    let held = site.store.hold().await;
    let (status, answer) = send(router.clone(), "POST", "/v1/reclaim").await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("DEADLINE")));
    drop(held);
    until(async || view(&router, "10.6.0.2").await == "resting").await;
}

#[tokio::test(start_paused = true)]
async fn a_reclaim_goes_on_when_its_caller_has_gone() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.kernel.end(ZOMBIE);
    let sweeps = site.engine.counters().sweeps.get();
    let asked = tokio::spawn(send(router.clone(), "POST", "/v1/reclaim"));
    until(async || site.engine.counters().sweeps.get() > sweeps).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    go_together(&site);
    until(async || view(&router, "10.6.0.2").await == "resting").await;
}

#[tokio::test]
async fn a_second_reclaim_at_once_is_told_so_and_a_dry_run_is_answered() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.kernel.end(ZOMBIE);
    site.engine.sweep().await.unwrap();
    site.clock.pass(Duration::from_secs(3));
    let held = site.store.hold().await;
    let first = tokio::spawn(send(router.clone(), "POST", "/v1/reclaim"));
    // Three ADDs and a DEL were before.
    site.store.until_begun(5).await;
    let (status, answer) = send(router.clone(), "POST", "/v1/reclaim").await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("BUSY")));
    assert_eq!(answer["error"]["message"], "no more than 1 reclaim at once; try later");
    assert_eq!(addresses(&reclaim(&router, "?dryRun=true").await["suspects"]), ["10.6.0.2"]);
    drop(held);
    assert_eq!(addresses(&first.await.unwrap().1["reclaimed"]), ["10.6.0.2"]);
    assert_eq!(reclaim(&router, "").await["reclaimed"], json!([]), "the next one has its turn");
}

#[tokio::test]
async fn a_blind_lease_is_listed_with_the_reason_why_it_is_kept() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    let request = site.request("c5eeeeeeeeeeeeeeee");
    site.kernel.be_silent(true);
    site.add_as(&request).await.unwrap();
    site.kernel.be_silent(false);
    site.kernel.end("c5eeeeeeeeeeeeeeee");
    let answer = reclaim(&router, "").await;
    assert_eq!(answer["reclaimed"], json!([]));
    let blind = &answer["suspects"][0];
    assert_eq!((&blind["address"], &blind["verdict"]), (&json!("10.6.0.5"), &json!("keep")));
    assert_eq!(
        (&blind["evidence"]["kernel"], &blind["waitsFor"]),
        (&json!("blind"), &json!("kernel"))
    );
    let timeless = ["suspectS", "graceS", "graceBy", "leftS"].map(|key| blind[key].is_null());
    assert_eq!(timeless, [true; 4], "no time would help: {blind}");
    let text = blind["text"].as_str().unwrap();
    assert!(text.contains("could not be read at ADD") && text.contains("DEL"), "{text}");
}

#[tokio::test]
async fn a_silent_witness_lists_every_lease_and_takes_back_none() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    site.kernel.end(ZOMBIE);
    site.engine.sweep().await.unwrap();
    site.clock.pass(Duration::from_secs(60));
    site.kernel.be_silent(true);
    let answer = reclaim(&router, "").await;
    assert_eq!(answer["reclaimed"], json!([]));
    assert_eq!(addresses(&answer["suspects"]), ["10.6.0.2", "10.6.0.3"]);
    for suspect in answer["suspects"].as_array().unwrap() {
        assert_eq!((&suspect["verdict"], &suspect["suspectS"]), (&json!("keep"), &Value::Null));
        assert!(suspect["text"].as_str().unwrap().contains("says nothing"), "{suspect}");
    }
}

#[tokio::test]
async fn wrong_requests_are_refused_by_name() {
    let router = tenure_api::router(api(&busy_site().await));
    for (method, path, status, code) in [
        ("POST", "/v1/reclaim?dryrun=true", 400, "BAD_QUERY"),
        ("POST", "/v1/reclaim?dryRun=perhaps", 400, "BAD_QUERY"),
        ("GET", "/v1/reclaim", 405, "WRONG_METHOD"),
    ] {
        let (found, answer) = send(router.clone(), method, path).await;
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(code)), "{method} {path}");
    }
}
