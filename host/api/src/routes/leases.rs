//! Leases, their release by hand, and who held an address.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::Deserialize;
use tenure_core::name::{ObjectName, SpaceName};
use tenure_core::objects::ObjectKind;
use tenure_core::time::WallMs;
use tenure_engine::{Engine, HistoryRequest, HistoryView, LeaseFilter, LeaseView, ReleaseRequest};

use super::shapes::{CutItems, ReleaseBody};
use crate::api::{Api, Caller};
use crate::error::ApiError;
use crate::extract::{Body, Query};

/// Every view that a lease can have.
const VIEWS: [&str; 6] = ["held", "resting", "lingering", "retained", "free", "quarantined"];
/// Leases or events answered where the caller does not say.
const DEFAULT_LIMIT: usize = 1_000;
/// Leases or events answered at most: some 100 MB of JSON. An export has them all.
const MAX_LIMIT: usize = 100_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListQuery {
    pool: Option<String>,
    namespace: Option<String>,
    container: Option<String>,
    view: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpaceQuery {
    #[serde(default)]
    pub(super) space: SpaceName,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    #[serde(default)]
    space: SpaceName,
    at: Option<WallMs>,
    limit: Option<usize>,
}

pub(crate) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Json<CutItems<LeaseView>>, ApiError> {
    let ListQuery { pool, namespace, container, view, limit } = query;
    if let Some(other) = view.as_deref().filter(|view| !VIEWS.contains(view)) {
        let why = format!("view is {other:?}; it must be one of {}", VIEWS.join(", "));
        return Err(ApiError::BadQuery { why });
    }
    let filter = LeaseFilter { pool: pool.clone(), namespace, container, view };
    let mut items = api.engine.leases(filter).await?;
    // Rows outlive their pool, so that only an empty answer may come from a slip of the pen.
    if let (true, Some(pool)) = (items.is_empty(), pool) {
        let pool = ObjectName::new(pool)?;
        let known = move |engine: &Arc<Engine>| Ok(engine.object(ObjectKind::IPPool, &pool)?);
        api.blocking(known).await?;
    }
    let total = items.len();
    items.truncate(limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT));
    Ok(Json(CutItems { items, total }))
}

pub(crate) async fn one(
    State(api): State<Api>,
    Path(address): Path<String>,
    Query(SpaceQuery { space }): Query<SpaceQuery>,
) -> Result<Json<LeaseView>, ApiError> {
    Ok(Json(api.engine.lease(space, parse(address)?).await?))
}

pub(crate) async fn release(
    State(api): State<Api>,
    Path(address): Path<String>,
    Query(SpaceQuery { space }): Query<SpaceQuery>,
    caller: Option<Extension<Caller>>,
    Body(body): Body<ReleaseBody>,
) -> Result<Json<LeaseView>, ApiError> {
    let ReleaseBody { generation, even_if_live, reason } = body;
    let address = parse(address)?;
    let request = ReleaseRequest { address, space, generation, even_if_live, reason };
    let who = caller.map_or("an unknown user".to_owned(), |caller| format!("uid {}", caller.uid));
    let engine = api.engine.clone();
    let released = async move { Ok(engine.release_by_hand(request, &who).await?) };
    Ok(Json(api.to_its_end(released).await?))
}

pub(crate) async fn history(
    State(api): State<Api>,
    Path(address): Path<String>,
    Query(HistoryQuery { space, at, limit }): Query<HistoryQuery>,
) -> Result<Json<HistoryView>, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let request = HistoryRequest { address: parse(address)?, space, at, limit };
    Ok(Json(api.engine.history(request).await?))
}

pub(super) fn parse(text: String) -> Result<IpAddr, ApiError> {
    text.parse().map_err(|_| ApiError::BadAddress { text })
}
