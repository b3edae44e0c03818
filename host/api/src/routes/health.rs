//! Whether the daemon can serve at all. An exhausted pool or a silent witness is no illness.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::api::Api;
use crate::error::ApiError;

pub(crate) async fn healthz(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let healthy = api.engine.store().health();
    healthy.map_err(|error| ApiError::Unhealthy { why: error.to_string() })?;
    Ok(Json(json!({"status": "ok"})))
}
