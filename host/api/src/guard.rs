//! What every request passes first: the bound on requests at once, and the deadline.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::api::Api;
use crate::error::ApiError;

pub(crate) async fn guard(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let bound = api.options.max_requests;
    let _permit =
        api.requests.try_acquire().map_err(|_| ApiError::Busy { what: "requests", bound })?;
    let deadline = api.options.deadline;
    tokio::time::timeout(deadline, next.run(request))
        .await
        .map_err(|_| ApiError::Deadline { seconds: deadline.as_secs() })
}
