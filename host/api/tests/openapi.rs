//! The description of the API: golden, complete, and true of real answers. Renew the golden file with
//! `TENURE_BLESS=1 cargo test -p tenure-api --test openapi`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{api, busy_site, cluster_api};
use tenure_core::time::Clock as _;
use tenure_store::Store as _;
use tower::ServiceExt as _;

fn description() -> Value {
    serde_json::from_str(&tenure_api::openapi_json().unwrap()).unwrap()
}

async fn answer(router: &Router, method: &str, path: &str, body: &Value) -> (StatusCode, Vec<u8>) {
    let body = Body::from(body.to_string());
    let request = Request::builder().method(method).uri(path).body(body).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[test]
fn the_description_is_the_golden_file() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let text = tenure_api::openapi_json().unwrap() + "\n";
    if std::env::var_os("TENURE_BLESS").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&golden).unwrap();
    assert!(kept == text, "openapi.json is out of date; renew it with TENURE_BLESS=1");
}

#[tokio::test]
async fn every_described_route_is_served() {
    let router = tenure_api::router(api(&busy_site().await));
    let description = description();
    let mut asked = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path
                .replace("{name}", "nobody")
                .replace("{address}", "10.6.0.9")
                .replace("{uid}", "u");
            let method = method.to_uppercase();
            let (status, body) = answer(&router, &method, &path, &Value::Null).await;
            let text = String::from_utf8_lossy(&body);
            let is_unknown = text.contains("UNKNOWN_ROUTE") || text.contains("WRONG_METHOD");
            assert!(!is_unknown, "{method} {path}: {status} {text}");
            asked += 1;
        }
    }
    assert_eq!(asked, 26, "a new route needs its description");
}

#[tokio::test]
async fn real_answers_satisfy_their_schemas() {
    let site = busy_site().await;
    site.kernel.end("c2bbbbbbbbbbbbbbbb");
    site.engine.sweep().await.unwrap();
    site.clock.pass(std::time::Duration::from_secs(3));
    let router = tenure_api::router(api(&site));
    let pool = support::busy_objects().remove(0);
    let live = json!({"generation": 1, "evenIfLive": true});
    let calls = [
        ("GET", "/v1/pools", "/v1/pools", Value::Null),
        ("GET", "/v1/pools/blue-v4", "/v1/pools/{name}", Value::Null),
        ("GET", "/v1/reservations", "/v1/reservations", Value::Null),
        ("GET", "/v1/policies", "/v1/policies", Value::Null),
        ("POST", "/v1/apply", "/v1/apply", json!([pool])),
        ("GET", "/v1/leases", "/v1/leases", Value::Null),
        ("POST", "/v1/leases/10.6.0.2/release", "/v1/leases/{address}/release", live),
        ("GET", "/v1/leases/10.6.0.2", "/v1/leases/{address}", Value::Null),
        ("GET", "/v1/leases/10.6.0.2/history", "/v1/leases/{address}/history", Value::Null),
        ("GET", "/v1/leases/10.6.0.2/explain", "/v1/leases/{address}/explain", Value::Null),
        ("GET", "/v1/leases/10.6.0.9/explain", "/v1/leases/{address}/explain", Value::Null),
        ("GET", "/v1/leases/10.7.0.1/explain", "/v1/leases/{address}/explain", Value::Null),
        ("POST", "/v1/reclaim?dryRun=true", "/v1/reclaim", Value::Null),
        ("POST", "/v1/reclaim", "/v1/reclaim", Value::Null),
        ("GET", "/v1/decisions", "/v1/decisions", Value::Null),
        ("GET", "/v1/status", "/v1/status", Value::Null),
        ("GET", "/healthz", "/healthz", Value::Null),
        ("DELETE", "/v1/pools/blue-v4", "/v1/pools/{name}", Value::Null),
        ("DELETE", "/v1/pools/wide-v6", "/v1/pools/{name}", Value::Null),
        ("DELETE", "/v1/pools/nobody", "/v1/pools/{name}", Value::Null),
        ("GET", "/v1/pools?x=1", "/v1/pools", Value::Null),
    ];
    for (method, path, template, body) in calls {
        let (status, bytes) = answer(&router, method, path, &body).await;
        let found: Value = serde_json::from_slice(&bytes).unwrap();
        holds(template, method, status, &found);
    }
}

#[tokio::test]
async fn real_answers_about_nodes_satisfy_their_schemas() {
    let site = busy_site().await;
    let (of_cluster, alone) = (cluster_api(&site), api(&site));
    let (of_cluster, alone) = (tenure_api::router(of_cluster), tenure_api::router(alone));
    let (list, confirm) = ("/v1/nodes", "/v1/nodes/{uid}/confirm-dead");
    let unconfirm = "/v1/nodes/{uid}/unconfirm-dead";
    for (router, method, path, template) in [
        (&of_cluster, "POST", "/v1/nodes/uid-3/confirm-dead", confirm),
        (&of_cluster, "GET", list, list),
        (&of_cluster, "POST", "/v1/nodes/uid-1/confirm-dead", confirm),
        (&of_cluster, "POST", "/v1/nodes/uid-9/confirm-dead", confirm),
        (&of_cluster, "POST", "/v1/nodes/uid-3/unconfirm-dead", unconfirm),
        (&alone, "GET", list, list),
        (&alone, "POST", "/v1/nodes/uid-3/confirm-dead", confirm),
    ] {
        let (status, bytes) = answer(router, method, path, &json!({"reason": "burnt"})).await;
        holds(template, method, status, &serde_json::from_slice(&bytes).unwrap());
    }
}

/// Each kind of answer about a moment, and each kind of event with its own fields.
#[tokio::test]
async fn real_histories_satisfy_their_schema() {
    let site = busy_site().await;
    let store = site.store.clone();
    let router = tenure_api::router(api(&site));
    let live = json!({"generation": 1, "evenIfLive": true, "reason": "test"});
    let start = site.clock.wall().0;
    site.clock.pass(std::time::Duration::from_secs(60));
    answer(&router, "POST", "/v1/leases/10.6.0.2/release", &live).await;
    let quarantined = site.clock.wall().0;
    site.clock.pass(std::time::Duration::from_secs(60));
    answer(&router, "POST", "/v1/leases/10.6.0.2/release", &live).await;
    let asked = [("held", start), ("quarantined", quarantined), ("nobody", quarantined + 60_000)];
    let ask = async |was: &str, at: u64| {
        let path = format!("/v1/leases/10.6.0.2/history?at={at}");
        let (status, bytes) = answer(&router, "GET", &path, &Value::Null).await;
        let found: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(found["moment"]["answer"]["was"], was, "{found:#}");
        holds("/v1/leases/{address}/history", "GET", status, &found);
    };
    for (was, at) in asked {
        ask(was, at).await;
    }
    ask("unknown", 5).await;
    store.raise_epoch().await.unwrap();
    ask("unknown", quarantined + 60_001).await;
}

/// Follows `responses` of the description to the schema of this status.
fn holds(template: &str, method: &str, status: StatusCode, found: &Value) {
    let mut schema = description();
    let responses = &schema["paths"][template][method.to_lowercase()]["responses"];
    let response = responses.get(status.as_str()).or_else(|| responses.get("default"));
    let content = &response.unwrap_or_else(|| panic!("{method} {template} {status}"))["content"];
    let reference = content["application/json"]["schema"].clone();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    for (key, value) in reference.as_object().unwrap() {
        schema[key.as_str()] = value.clone();
    }
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(found)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{method} {template} {status}: {wrong:#?}\n{found:#}");
}
