//! The description of the API for programs: OpenAPI 3.1 at `/v1/openapi.json`, kept as a golden file.
//!
//! The domain types know nothing of it; their shapes are declared once more in `schemas.rs`, and a test holds
//! real answers against them.

mod paths;
mod schemas;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tenure_engine::EngineError;
use utoipa::OpenApi;

use crate::api::Api;
use crate::error::{ApiError, ErrorBody};
use crate::extract::{NoQuery, Query};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenure admin API",
        description = "What operators read and change. Numbers of addresses may need 128 bits.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        paths::list_pools,
        paths::get_pool,
        paths::delete_pool,
        paths::list_reservations,
        paths::get_reservation,
        paths::delete_reservation,
        paths::list_policies,
        paths::get_policy,
        paths::delete_policy,
        paths::apply,
        paths::list_leases,
        paths::get_lease,
        paths::release_lease,
        paths::lease_history,
        paths::explain_lease,
        paths::reclaim,
        paths::list_nodes,
        paths::confirm_dead,
        paths::unconfirm_dead,
        paths::list_decisions,
        paths::status,
        paths::export,
        paths::import,
        paths::openapi,
        paths::healthz,
        paths::metrics
    ),
    components(schemas(ErrorBody))
)]
struct Description;

/// The description as pretty JSON, as in `openapi.json` of this crate.
///
/// # Errors
/// [`EngineError::Bug`]: it cannot be written as JSON.
pub fn openapi_json() -> Result<String, ApiError> {
    let text = Description::openapi().to_pretty_json();
    text.map_err(|error| EngineError::Bug { what: format!("openapi.json: {error}") }.into())
}

pub(crate) async fn serve(State(_): State<Api>, _: Query<NoQuery>) -> Result<Response, ApiError> {
    Ok(([(CONTENT_TYPE, "application/json")], openapi_json()?).into_response())
}
