//! What each route answers, over the real engine.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{api, busy_site, empty_site, object};
use tower::ServiceExt as _;

async fn send(router: &Router, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let (status, text) = send_text(router, method, path, body.to_string()).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn send_text(
    router: &Router,
    method: &str,
    path: &str,
    body: impl Into<Body>,
) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn get(router: &Router, path: &str) -> (StatusCode, Value) {
    send(router, "GET", path, &Value::Null).await
}

fn small_pool(cidr: &str) -> Value {
    object("IPPool", "small", json!({"cidr": cidr}))
}

#[tokio::test]
async fn apply_says_what_changed_and_a_dry_run_changes_nothing() {
    let router = tenure_api::router(api(&empty_site()));
    let pool = small_pool("10.0.0.0/29");
    let (status, answer) = send(&router, "POST", "/v1/apply?dryRun=true", &pool).await;
    assert_eq!((status, &answer["items"][0]["change"]), (StatusCode::OK, &json!("created")));
    assert_eq!(get(&router, "/v1/pools/small").await.0, StatusCode::NOT_FOUND);
    for change in ["created", "unchanged"] {
        let (_, answer) = send(&router, "POST", "/v1/apply", &json!([pool])).await;
        let expected = json!({"items": [{"kind": "IPPool", "name": "small", "change": change}], "dryRun": false});
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn one_wrong_object_keeps_all_others_out_and_its_field_is_named() {
    let router = tenure_api::router(api(&empty_site()));
    let wrong = object("IPPool", "wrong", json!({"cidr": "10.1.0.0/24", "exclude": ["ten"]}));
    let body = json!([small_pool("10.0.0.0/29"), wrong]);
    let (status, answer) = send(&router, "POST", "/v1/apply", &body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(answer["error"]["field"], "spec.exclude[0]");
    assert!(answer["error"]["message"].as_str().unwrap().starts_with("IPPool wrong"), "{answer}");
    assert_eq!(get(&router, "/v1/pools").await.1, json!({"items": []}));
}

#[tokio::test]
async fn a_rule_that_refuses_is_a_conflict() {
    let router = tenure_api::router(api(&empty_site()));
    send(&router, "POST", "/v1/apply", &small_pool("10.0.0.0/29")).await;
    let (status, answer) = send(&router, "POST", "/v1/apply", &small_pool("10.0.1.0/29")).await;
    assert_eq!((status, &answer["error"]["kind"]), (StatusCode::CONFLICT, &json!("refused")));
    assert_eq!(answer["error"]["object"], "IPPool small");
}

#[tokio::test]
async fn a_policy_that_is_refused_is_named_as_an_object() {
    let site = empty_site();
    site.policies.refuse.store(true, std::sync::atomic::Ordering::SeqCst);
    let router = tenure_api::router(api(&site));
    let policy = object("IPAMPolicy", "grace", json!({"source": {"bundled": "grace"}}));
    let (status, answer) = send(&router, "POST", "/v1/apply", &policy).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(answer["error"]["object"], "IPAMPolicy grace");
}

#[tokio::test]
async fn every_refusal_has_the_same_shape() {
    let router = tenure_api::router(api(&busy_site().await));
    let cases = [
        ("GET", "/v1/nothing", "", 404, "UNKNOWN_ROUTE"),
        ("GET", "/", "", 404, "UNKNOWN_ROUTE"),
        ("PUT", "/v1/pools", "", 405, "WRONG_METHOD"),
        ("GET", "/v1/apply", "", 405, "WRONG_METHOD"),
        ("POST", "/v1/apply", "{", 400, "BAD_BODY"),
        ("POST", "/v1/apply?dryrun=true", "[]", 400, "BAD_QUERY"),
        ("GET", "/v1/pools?limit=3", "", 400, "BAD_QUERY"),
        ("GET", "/v1/leases?limit=many", "", 400, "BAD_QUERY"),
        ("GET", "/v1/leases?view=hold", "", 400, "BAD_QUERY"),
        ("GET", "/v1/leases?pool=red", "", 404, "NOT_FOUND"),
        ("GET", "/v1/pools/Not_A_Name", "", 400, "BAD_NAME"),
        ("GET", "/v1/pools/red", "", 404, "NOT_FOUND"),
        ("DELETE", "/v1/policies/red", "", 404, "NOT_FOUND"),
        ("GET", "/v1/leases/ten", "", 400, "BAD_ADDRESS"),
        ("GET", "/v1/leases/10.6.0.2?space=a--b", "", 400, "BAD_QUERY"),
        ("GET", "/v1/leases/10.6.0.2?space=other", "", 404, "NOT_FOUND"),
        ("GET", "/v1/leases/ten/history", "", 400, "BAD_ADDRESS"),
        ("GET", "/v1/leases/10.6.0.2/history?at=yesterday", "", 400, "BAD_QUERY"),
        ("GET", "/v1/leases/10.6.0.2/history?when=1", "", 400, "BAD_QUERY"),
        ("GET", "/v1/leases/10.9.0.2/history", "", 404, "NOT_FOUND"),
        ("GET", "/v1/leases/10.6.0.2/history?space=other", "", 404, "NOT_FOUND"),
        ("GET", "/v1/export?history=no", "", 400, "BAD_QUERY"),
        ("POST", "/v1/leases/10.6.0.2/release", "{\"generation\":1,\"x\":1}", 400, "BAD_BODY"),
        ("POST", "/v1/import", "{}", 400, "EXPORT_INVALID"),
    ];
    for (method, path, body, status, code) in cases {
        let (found, text) = send_text(&router, method, path, body).await;
        let answer: tenure_api::ErrorBody =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{method} {path}: {e}: {text}"));
        assert_eq!((found.as_u16(), answer.error.code.as_str()), (status, code), "{method} {path}");
        assert!(answer.error.message.len() > 10, "{method} {path}: {text}");
    }
}

#[tokio::test]
async fn what_get_answers_can_be_applied_again() {
    let router = tenure_api::router(api(&busy_site().await));
    for path in ["/v1/pools/blue-v4", "/v1/reservations/printers", "/v1/policies/grace"] {
        let (_, object) = get(&router, path).await;
        let (status, answer) = send(&router, "POST", "/v1/apply", &object).await;
        assert_eq!((status, &answer["items"][0]["change"]), (StatusCode::OK, &json!("unchanged")));
    }
}

#[tokio::test]
async fn a_pool_shows_counts_that_add_up_and_a_policy_how_it_fares() {
    let router = tenure_api::router(api(&busy_site().await));
    let (_, pool) = get(&router, "/v1/pools/blue-v4").await;
    // Of 16: network, broadcast, gateway and one reserved.
    assert_eq!(
        ["size", "free", "held", "resting"].map(|key| pool["status"][key].as_u64().unwrap()),
        [12, 9, 2, 1]
    );
    let (_, policies) = get(&router, "/v1/policies").await;
    assert_eq!(policies["items"][0]["status"]["faults"], json!([["fuel", 1]]));
}

#[tokio::test]
async fn leases_are_filtered_and_cut_and_the_cut_is_told() {
    let router = tenure_api::router(api(&busy_site().await));
    let count = |answer: &Value| answer["items"].as_array().unwrap().len();
    for (query, shown, total) in [
        ("", 3, 3),
        ("?view=held", 2, 2),
        ("?pool=blue-v4&limit=1", 1, 3),
        ("?pool=wide-v6", 0, 0),
        ("?namespace=shop", 1, 1),
        ("?container=c2", 1, 1),
    ] {
        let (_, answer) = get(&router, &format!("/v1/leases{query}")).await;
        assert_eq!((count(&answer), answer["total"].as_u64()), (shown, Some(total)), "{query}");
    }
}

#[tokio::test]
async fn a_history_is_cut_and_the_cut_is_told() {
    let router = tenure_api::router(api(&busy_site().await));
    let (_, answer) = get(&router, "/v1/leases/10.6.0.4/history?limit=1").await;
    let items = answer["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), &answer["total"], &items[0]["what"]),
        (1, &json!(2), &json!("released"))
    );
    assert_eq!(items[0]["before"]["attachment"]["container"], "c3cccccccccccccccc");
    assert_eq!(items[0]["after"], Value::Null);
    assert_eq!(answer.get("moment"), None, "nobody asked for one");
}

#[tokio::test]
async fn a_live_holder_is_released_only_by_generation_and_on_insistence() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    let (_, leases) = get(&router, "/v1/leases?namespace=shop").await;
    let lease = &leases["items"][0]["lease"];
    let path = format!("/v1/leases/{}/release", lease["address"].as_str().unwrap());
    let generation = lease["generation"].as_u64().unwrap();
    let stale = json!({"generation": generation + 1});
    assert_eq!(send(&router, "POST", &path, &stale).await.0, StatusCode::CONFLICT);
    let gentle = json!({"generation": generation, "reason": "test"});
    assert_eq!(send(&router, "POST", &path, &gentle).await.0, StatusCode::CONFLICT);
    let insisting = json!({"generation": generation, "evenIfLive": true, "reason": "test"});
    let (status, answer) = send(&router, "POST", &path, &insisting).await;
    assert_eq!((status, &answer["view"]), (StatusCode::OK, &json!("quarantined")));
    assert_eq!(send(&router, "POST", &path, &insisting).await.1["view"], "resting");
}

#[tokio::test]
async fn a_pool_in_use_waits_for_its_holders() {
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    let (status, answer) = send(&router, "DELETE", "/v1/pools/blue-v4", &Value::Null).await;
    assert_eq!((status, answer), (StatusCode::ACCEPTED, json!({"outcome": "waiting", "held": 2})));
    let (_, pool) = get(&router, "/v1/pools/blue-v4").await;
    assert_eq!(pool["status"]["terminating"], true);
    site.del("c1aaaaaaaaaaaaaaaa").await;
    site.del("c2bbbbbbbbbbbbbbbb").await;
    let (status, answer) = send(&router, "DELETE", "/v1/pools/blue-v4", &Value::Null).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"outcome": "done"})));
}

#[tokio::test]
async fn metrics_name_every_pool_policy_and_breach() {
    let site = busy_site().await;
    let options = tenure_api::ApiOptions {
        metrics: vec![std::sync::Arc::new(|| {
            let family = tenure_api::MetricFamily::counter("tenure_cni_requests", "CNI requests");
            vec![family.with(&[("verb", "ADD")], 5_u64)]
        })],
        ..Default::default()
    };
    let router = tenure_api::router(tenure_api::Api::new(site.engine.clone(), options));
    let (status, text) = send_text(&router, "GET", "/metrics", "").await;
    assert_eq!(status, StatusCode::OK);
    for line in [
        "# TYPE tenure_adds counter",
        "tenure_adds_total 3",
        "tenure_dels_total 1",
        "tenure_pool_size{pool=\"blue-v4\"} 12",
        "tenure_pool_held{pool=\"blue-v4\"} 2",
        "tenure_pool_resting{pool=\"blue-v4\"} 1",
        "tenure_invariant_breaches_total{invariant=\"I1\"} 0",
        "tenure_invariant_breaches_total{invariant=\"I10\"} 0",
        "tenure_policy_faults_total{policy=\"grace\",kind=\"fuel\"} 1",
        "tenure_policy_faults_total{policy=\"grace\",kind=\"trap\"} 0",
        "tenure_policy_breaker_open{policy=\"grace\"} 0",
        "tenure_store_healthy 1",
        "tenure_cni_requests_total{verb=\"ADD\"} 5",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    let wide = text.lines().find(|line| line.starts_with("tenure_pool_size{pool=\"wide-v6\"}"));
    assert!(wide.unwrap().ends_with("7.922816251426434e28"), "2^96 - 1 as a float: {wide:?}");
}
