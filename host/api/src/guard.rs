//! What every request passes first: the bound on requests at once, and the deadline.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::api::Api;
use crate::error::ApiError;

/// The bounds of some routes.
#[derive(Clone)]
pub(crate) struct Bounds {
    pub(crate) api: Api,
    /// How long a request may take.
    pub(crate) deadline: Duration,
}

pub(crate) async fn guard(
    State(Bounds { api, deadline }): State<Bounds>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let bound = api.options.max_requests;
    let _permit =
        api.requests.try_acquire().map_err(|_| ApiError::Busy { what: "requests", bound })?;
    tokio::time::timeout(deadline, next.run(request))
        .await
        .map_err(|_| ApiError::Deadline { seconds: deadline.as_secs() })
}
