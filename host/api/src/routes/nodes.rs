//! The nodes of a cluster, and the operator's word that one is dead.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::shapes::Items;
use crate::api::Api;
use crate::error::ApiError;
use crate::extract::{Body, NoQuery, Query};
use crate::nodes::{DeathWord, NodeView, Nodes, NodesError, Unconfirmed};

pub(crate) async fn list(
    State(api): State<Api>,
    _: Query<NoQuery>,
) -> Result<Json<Items<NodeView>>, ApiError> {
    Ok(Json(Items { items: nodes(&api)?.list().await? }))
}

pub(crate) async fn confirm_dead(
    State(api): State<Api>,
    Path(uid): Path<String>,
    _: Query<NoQuery>,
    Body(word): Body<DeathWord>,
) -> Result<Json<NodeView>, ApiError> {
    let nodes = nodes(&api)?;
    word.check()?;
    let confirmed = async move { Ok(nodes.confirm_dead(uid, word).await?) };
    api.to_its_end(confirmed).await.map(Json)
}

pub(crate) async fn unconfirm_dead(
    State(api): State<Api>,
    Path(uid): Path<String>,
    _: Query<NoQuery>,
) -> Result<Json<Unconfirmed>, ApiError> {
    let nodes = nodes(&api)?;
    let undone = async move { Ok(nodes.unconfirm_dead(uid).await?) };
    api.to_its_end(undone).await.map(Json)
}

fn nodes(api: &Api) -> Result<Arc<dyn Nodes>, ApiError> {
    Ok(api.options.nodes.clone().ok_or(NodesError::Standalone)?)
}
