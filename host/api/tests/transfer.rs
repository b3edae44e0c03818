//! Export and import through the API.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::json;
use support::{api, busy_site, empty_site, object, site_on};
use tenure_core::time::WallMs;
use tenure_store::{ExportFormat, MemoryStore, Store as _};
use tower::ServiceExt as _;

async fn send(router: &Router, method: &str, path: &str, body: impl Into<Body>) -> (u16, Bytes) {
    let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

fn code(body: &Bytes) -> String {
    let answer: tenure_api::ErrorBody = serde_json::from_slice(body).unwrap();
    answer.error.code
}

async fn exported() -> Bytes {
    let router = tenure_api::router(api(&busy_site().await));
    send(&router, "GET", "/v1/export", "").await.1
}

#[tokio::test]
async fn what_was_exported_is_served_elsewhere_at_once_and_after_a_restart() {
    let lines = exported().await;
    let target = empty_site();
    let router = tenure_api::router(api(&target));
    let (status, answer) = send(&router, "POST", "/v1/import", lines).await;
    assert_eq!(status, 200, "{answer:?}");
    let (_, pool) = send(&router, "GET", "/v1/pools/blue-v4", "").await;
    let pool: serde_json::Value = serde_json::from_slice(&pool).unwrap();
    assert_eq!(pool["status"]["held"], 2);
    let restarted = site_on(target.store.clone());
    let leases = restarted.engine.leases(Default::default()).await.unwrap();
    assert_eq!(leases.len(), 3);
    assert_eq!(restarted.engine.objects().unwrap().len(), 4);
}

#[tokio::test]
async fn the_history_comes_along_unless_an_older_version_shall_read_the_export() {
    let source = tenure_api::router(api(&busy_site().await));
    let history = |lines: &Bytes| {
        let text = String::from_utf8(lines.to_vec()).unwrap();
        text.lines().filter(|line| line.starts_with("{\"kind\":\"TenureHistory\"")).count()
    };
    let (_, whole) = send(&source, "GET", "/v1/export", "").await;
    let (_, old) = send(&source, "GET", "/v1/export?history=false", "").await;
    assert_eq!([&whole, &old].map(history), [4, 0]);
    assert!(old.starts_with(b"{\"kind\":\"TenureExport\",\"format\":1,"));
    for (lines, events) in [(whole, 4), (old, 0)] {
        let target = tenure_api::router(api(&empty_site()));
        let (_, answer) = send(&target, "POST", "/v1/import", lines).await;
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["events"], events);
        let (_, told) = send(&target, "GET", "/v1/leases/10.6.0.4/history", "").await;
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(
            (&told["total"], &told["gaps"][0]["cause"]),
            (&json!(events / 2), &json!("import"))
        );
    }
}

#[tokio::test]
async fn what_no_daemon_could_serve_is_not_imported() {
    let elsewhere = MemoryStore::new();
    let pool = |name| object("IPPool", name, json!({"cidr": "10.0.0.0/24"}));
    let pools = [pool("one"), pool("two")].map(|pool| serde_json::from_value(pool).unwrap());
    elsewhere.put_objects(pools.into()).await.unwrap();
    let mut lines = Vec::new();
    tenure_store::export(&elsewhere, WallMs(0), ExportFormat::default(), &mut lines).unwrap();
    let site = empty_site();
    let router = tenure_api::router(api(&site));
    let (status, body) = send(&router, "POST", "/v1/import", lines).await;
    assert_eq!((status, code(&body).as_str()), (409, "REFUSED"));
    assert!(site.store.objects().unwrap().is_empty());
}

#[tokio::test]
async fn a_cut_export_and_a_full_store_are_refused_and_nothing_changes() {
    let lines = exported().await;
    let site = busy_site().await;
    let router = tenure_api::router(api(&site));
    let cut = lines.slice(..lines.len() - 40);
    let (status, body) = send(&router, "POST", "/v1/import?replace=true", cut).await;
    assert_eq!((status, code(&body).as_str()), (400, "EXPORT_INVALID"));
    let (status, body) = send(&router, "POST", "/v1/import", lines.clone()).await;
    assert_eq!((status, code(&body).as_str()), (409, "STORE_NOT_EMPTY"));
    assert_eq!(send(&router, "GET", "/healthz", "").await.0, 200);
    assert_eq!(send(&router, "POST", "/v1/import?replace=true", lines).await.0, 200);
}
