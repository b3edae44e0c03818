//! The daemon as a whole, and the newest decisions.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenure_core::decision::DecisionRecord;
use tenure_engine::Overview;

use super::shapes::Items;
use crate::api::Api;
use crate::error::ApiError;
use crate::extract::{NoQuery, Query};

/// Decisions answered where the caller does not say.
const DEFAULT_LIMIT: usize = 50;
/// Decisions answered at most: the ring holds fewer.
const MAX_LIMIT: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitQuery {
    limit: Option<usize>,
}

pub(crate) async fn status(
    State(api): State<Api>,
    _: Query<NoQuery>,
) -> Result<Json<Overview>, ApiError> {
    Ok(Json(api.engine.overview().await?))
}

pub(crate) async fn decisions(
    State(api): State<Api>,
    Query(query): Query<LimitQuery>,
) -> Result<Json<Items<DecisionRecord>>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let items = api.blocking(move |engine| Ok(engine.decisions(limit))).await?;
    Ok(Json(Items { items }))
}
