//! The routes about nodes: what they refuse before anybody is asked, and that real answers satisfy their schema is in
//! `openapi.rs`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{api, cluster_api, empty_site};
use tower::ServiceExt as _;

async fn ask(router: &Router, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = Body::from(if body.is_null() { String::new() } else { body.to_string() });
    let request = Request::builder().method(method).uri(path).body(body).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_standalone_daemon_has_no_other_nodes() {
    let router = tenure_api::router(api(&empty_site()));
    for (method, path) in [
        ("GET", "/v1/nodes"),
        ("POST", "/v1/nodes/u/confirm-dead"),
        ("POST", "/v1/nodes/u/unconfirm-dead"),
    ] {
        let (status, answer) = ask(&router, method, path, json!({"reason": "r"})).await;
        assert_eq!((status, &answer["error"]["code"]), (409, &json!("STANDALONE")), "{path}");
    }
}

#[tokio::test]
async fn a_word_without_a_reason_or_with_too_long_a_one_is_refused_before_anybody_is_asked() {
    let router = tenure_api::router(cluster_api(&empty_site()));
    let path = "/v1/nodes/uid-3/confirm-dead";
    for (body, said) in [
        (json!({"reason": " "}), "a reason is missing"),
        (json!({}), "reason"),
        (json!({"reason": "x".repeat(513)}), "longer than 512 bytes"),
        (json!({"reason": "r", "by": "x".repeat(257)}), "longer than 256 bytes"),
        (json!({"reason": "r", "yes": true}), "yes"),
    ] {
        let (status, answer) = ask(&router, "POST", path, body).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(status == 422 || status == 400, "{status}");
        assert!(message.contains(said), "{message}");
    }
    let (_, answer) = ask(&router, "GET", "/v1/nodes", Value::Null).await;
    assert_eq!(answer["items"][2]["fence"], Value::Null);
    let longest = json!({"reason": "x".repeat(512), "by": "x".repeat(256)});
    let (status, answer) = ask(&router, "POST", path, longest).await;
    assert_eq!((status, &answer["state"]), (200, &json!("fenced")));
}
