//! All routes in one place.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use tenure_core::objects::ObjectKind;
use tenure_engine::RECLAIM_PATIENCE;

use crate::api::Api;
use crate::error::ApiError;
use crate::guard::{Bounds, guard};
use crate::routes::{health, leases, nodes, objects, reclaim, status, transfer};

/// The routes over `api`, without a server: tests call it directly.
pub fn router(api: Api) -> Router {
    let (max_body, max_import) = (api.options.max_body, api.options.max_import);
    let imports = Router::new()
        .route("/v1/import", post(transfer::import))
        .layer(DefaultBodyLimit::max(max_import));
    let rest = ObjectKind::ALL
        .into_iter()
        .fold(Router::new(), add_kind)
        .route("/v1/apply", post(objects::apply))
        .route("/v1/leases", get(leases::list))
        .route("/v1/leases/{address}", get(leases::one))
        .route("/v1/leases/{address}/history", get(leases::history))
        .route("/v1/leases/{address}/release", post(leases::release))
        .route("/v1/leases/{address}/explain", get(reclaim::explain))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/{uid}/confirm-dead", post(nodes::confirm_dead))
        .route("/v1/nodes/{uid}/unconfirm-dead", post(nodes::unconfirm_dead))
        .route("/v1/decisions", get(status::decisions))
        .route("/v1/status", get(status::status))
        .route("/v1/export", get(transfer::export))
        .route("/v1/openapi.json", get(crate::openapi::serve))
        .route("/metrics", get(crate::scrape::serve))
        .layer(DefaultBodyLimit::max(max_body));
    let reclaims = Router::new().route("/v1/reclaim", post(reclaim::run));
    let deadline = api.options.deadline;
    let within = |deadline| from_fn_with_state(Bounds { api: api.clone(), deadline }, guard);
    rest.merge(imports)
        .layer(within(deadline))
        // What it waits for on purpose comes on top.
        .merge(reclaims.layer(within(deadline.saturating_add(RECLAIM_PATIENCE))))
        // Outside the guard: a busy daemon is not an ill one.
        .route("/healthz", get(health::healthz))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

fn add_kind(router: Router<Api>, kind: ObjectKind) -> Router<Api> {
    let folder = objects::folder_of(kind);
    router
        .route(&format!("/v1/{folder}"), get(move |api, query| objects::list(kind, api, query)))
        .route(
            &format!("/v1/{folder}/{{name}}"),
            get(move |api, name, query| objects::one(kind, api, name, query))
                .merge(delete(move |api, name, query| objects::remove(kind, api, name, query))),
        )
}

async fn unknown_route(request: Request) -> ApiError {
    ApiError::UnknownRoute { path: request.uri().path().to_owned() }
}

async fn wrong_method(request: Request) -> ApiError {
    let method = request.method().to_string();
    ApiError::WrongMethod { method, path: request.uri().path().to_owned() }
}
