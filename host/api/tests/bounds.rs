//! Too much, too long, too many: answered, never queued or cut in half.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{Site, busy_site, empty_site};
use tenure_api::{Api, ApiOptions};
use tenure_store::StoreError;
use tower::ServiceExt as _;

fn router(site: &Site, options: ApiOptions) -> Router {
    tenure_api::router(Api::new(site.engine.clone(), options))
}

async fn send(router: &Router, method: &str, path: &str, body: String) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn code(router: &Router, method: &str, path: &str, body: &str) -> (u16, String) {
    let (status, answer) = send(router, method, path, body.to_owned()).await;
    (status.as_u16(), answer["error"]["code"].as_str().unwrap_or("none").to_owned())
}

#[tokio::test]
async fn a_body_beyond_its_bound_is_refused_and_an_import_may_be_longer() {
    let options = ApiOptions { max_body: 64, max_import: 256, ..Default::default() };
    let router = router(&empty_site(), options);
    let (long, longer) = (" ".repeat(100), " ".repeat(300));
    let too_large = (413, "BODY_TOO_LARGE".to_owned());
    assert_eq!(code(&router, "POST", "/v1/apply", &long).await, too_large);
    assert_eq!(code(&router, "POST", "/v1/import", &long).await.1, "EXPORT_INVALID");
    assert_eq!(code(&router, "POST", "/v1/import", &longer).await, too_large);
}

#[tokio::test]
async fn one_request_too_many_is_answered_busy_and_health_still_answers() {
    let router = router(&empty_site(), ApiOptions { max_requests: 0, ..Default::default() });
    assert_eq!(code(&router, "GET", "/v1/status", "").await, (503, "BUSY".to_owned()));
    assert_eq!(send(&router, "GET", "/healthz", String::new()).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_change_goes_on_after_its_deadline() {
    let site = busy_site().await;
    let deadline = Duration::from_millis(20);
    let router = router(&site, ApiOptions { deadline, ..Default::default() });
    let body = json!({"generation": 1, "evenIfLive": true}).to_string();
    let held = site.store.hold().await;
    let path = "/v1/leases/10.6.0.2/release";
    assert_eq!(code(&router, "POST", path, &body).await, (503, "DEADLINE".to_owned()));
    drop(held);
    let view = async {
        loop {
            let (_, lease) = send(&router, "GET", "/v1/leases/10.6.0.2", String::new()).await;
            if lease["view"] == "quarantined" {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), view).await.unwrap();
}

#[tokio::test]
async fn an_ill_store_is_told_with_its_reason() {
    let site = empty_site();
    let router = router(&site, ApiOptions::default());
    site.store.set_health(Some(StoreError::Closed));
    let (status, answer) = send(&router, "GET", "/healthz", String::new()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer["error"]["message"].as_str().unwrap().contains("closed"), "{answer}");
    let (_, status) = send(&router, "GET", "/v1/status", String::new()).await;
    assert!(status["storeError"].as_str().unwrap().contains("closed"), "{status}");
}
