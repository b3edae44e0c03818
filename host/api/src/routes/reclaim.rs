//! Reclaim by the operator, and everything about one address.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use tenure_core::lease::LeaseKey;
use tenure_engine::{Explanation, ReclaimAnswer};

use super::leases::{SpaceQuery, parse};
use crate::api::Api;
use crate::error::ApiError;
use crate::extract::Query;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReclaimQuery {
    #[serde(default)]
    dry_run: bool,
}

/// It waits for suspects that become due soon, and goes on if its caller does not.
pub(crate) async fn run(
    State(api): State<Api>,
    Query(query): Query<ReclaimQuery>,
) -> Result<Json<ReclaimAnswer>, ApiError> {
    if query.dry_run {
        return Ok(Json(ReclaimAnswer::dry_run(api.engine.suspects().await?)));
    }
    let busy = |_| ApiError::Busy { what: "reclaim", bound: 1 };
    let permit = api.reclaims.clone().try_acquire_owned().map_err(busy)?;
    let engine = api.engine.clone();
    let reclaimed = async move {
        let _permit = permit;
        Ok(engine.reclaim_now().await?)
    };
    api.to_its_end(reclaimed).await.map(Json)
}

pub(crate) async fn explain(
    State(api): State<Api>,
    Path(address): Path<String>,
    Query(SpaceQuery { space }): Query<SpaceQuery>,
) -> Result<Json<Explanation>, ApiError> {
    let key = LeaseKey { space, address: parse(address)? };
    Ok(Json(api.engine.explain(key).await?))
}
