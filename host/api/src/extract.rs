//! Extractors whose refusals have the shape of all others.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::Api;
use crate::error::ApiError;

/// The query, refused as a whole when a key is unknown (the types deny unknown fields).
pub(crate) struct Query<T>(pub(crate) T);

/// For routes that take no query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoQuery {}

/// A JSON body. The content type is not asked for: there is only one.
pub(crate) struct Body<T>(pub(crate) T);

/// A body as it came, within the bound of its route.
pub(crate) struct Raw(pub(crate) Bytes);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|rejection| ApiError::BadQuery { why: rejection.body_text() })
    }
}

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let bytes = read(request, api, api.options.max_body).await?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| ApiError::BadBody { why: error.to_string() })
    }
}

impl FromRequest<Api> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        read(request, api, api.options.max_import).await.map(Self)
    }
}

/// The routes set axum's own limit to the same bound.
async fn read(request: Request, api: &Api, limit: usize) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, api).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge { limit },
        _ => ApiError::BadBody { why: rejection.body_text() },
    })
}
