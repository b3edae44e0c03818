//! Why the API refuses, and the one shape in which it says so.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tenure_core::error::{Coded, Kind};
use tenure_core::name::BadName;
use tenure_core::objects::{BadObject, ObjectKind};
use tenure_engine::EngineError;
use tenure_socket::SocketError;
use tenure_store::StoreError;
use utoipa::ToSchema;

use crate::nodes::NodesError;

/// An error of the API. `Display` is for the caller.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The engine refuses.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store refuses an export or an import.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing can be said of nodes, or done about them.
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// A body is no object.
    #[error(transparent)]
    Object(#[from] BadObject),
    /// A name in the path is none.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The body is not the JSON that it should be.
    #[error("the body is not valid: {why}")]
    BadBody {
        /// What is wrong, with line and column.
        why: String,
    },
    /// The query is wrong, e.g. by an unknown key.
    #[error("the query is not valid: {why}")]
    BadQuery {
        /// What is wrong.
        why: String,
    },
    /// The path names no address.
    #[error("{text:?} is not an IP address")]
    BadAddress {
        /// What it names instead.
        text: String,
    },
    /// The body is too long (invariant I12).
    #[error("the body is longer than {limit} bytes; send it in parts")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// No such route.
    #[error("there is no {path}; /v1/openapi.json lists the routes")]
    UnknownRoute {
        /// The path of the request.
        path: String,
    },
    /// The route exists, but not for this method.
    #[error("{path} does not take {method}; /v1/openapi.json lists the methods")]
    WrongMethod {
        /// The method of the request.
        method: String,
        /// Its path.
        path: String,
    },
    /// Too many requests at once (invariant I12).
    #[error("no more than {bound} {what} at once; try later")]
    Busy {
        /// What is bounded.
        what: &'static str,
        /// The bound.
        bound: usize,
    },
    /// The deadline passed. A change goes on and may still take effect.
    #[error("no answer within {seconds} s; look whether it took effect before you try again")]
    Deadline {
        /// The deadline.
        seconds: u64,
    },
    /// The store cannot take writes.
    #[error("the daemon is not healthy: {why}")]
    Unhealthy {
        /// Why.
        why: String,
    },
    /// The socket cannot be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What happened.
    pub error: ErrorText,
}

/// What happened, for programs and for readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorText {
    /// A stable upper-case code such as `NOT_FOUND`.
    pub code: String,
    /// Who must act: `invalid`, `notFound`, `refused`, `retry`, `operator`, `io` or `bug`.
    pub kind: String,
    /// What happened, to which object, and what to do next.
    pub message: String,
    /// The object that is wrong, by kind and name, e.g. `IPPool blue-v4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The field of the object that is wrong, e.g. `spec.ranges[1]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Coded for ApiError {
    fn code(&self) -> &str {
        match self {
            Self::Engine(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Nodes(error) => error.code(),
            Self::Object(error) => error.code(),
            Self::Name(_) => "BAD_NAME",
            Self::BadBody { .. } => "BAD_BODY",
            Self::BadQuery { .. } => "BAD_QUERY",
            Self::BadAddress { .. } => "BAD_ADDRESS",
            Self::TooLarge { .. } => "BODY_TOO_LARGE",
            Self::UnknownRoute { .. } => "UNKNOWN_ROUTE",
            Self::WrongMethod { .. } => "WRONG_METHOD",
            Self::Busy { .. } => "BUSY",
            Self::Deadline { .. } => "DEADLINE",
            Self::Unhealthy { .. } => "UNHEALTHY",
            Self::Socket(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Engine(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Nodes(error) => error.kind(),
            Self::Object(error) => error.kind(),
            Self::Name(_)
            | Self::BadBody { .. }
            | Self::BadQuery { .. }
            | Self::BadAddress { .. }
            | Self::TooLarge { .. }
            | Self::WrongMethod { .. } => Kind::Invalid,
            Self::UnknownRoute { .. } => Kind::NotFound,
            Self::Busy { .. } | Self::Deadline { .. } | Self::Unhealthy { .. } => Kind::Retry,
            Self::Socket(error) => error.kind(),
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Engine(error) => error.detail(),
            Self::Store(error) => error.detail(),
            _ => None,
        }
    }
}

impl ApiError {
    /// The status of the answer: that of the kind, but for two that HTTP has its own word for.
    fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::from_u16(self.kind().http_status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    fn object(&self) -> Option<String> {
        match self {
            Self::Object(bad) | Self::Engine(EngineError::BadObject(bad)) => {
                Some(bad.object.clone()).filter(|object| !object.is_empty())
            }
            Self::Engine(EngineError::Refused { object, .. }) => Some(object.clone()),
            Self::Engine(EngineError::Policy(refusal)) => {
                Some(format!("{} {}", ObjectKind::IPAMPolicy, refusal.policy))
            }
            _ => None,
        }
    }

    fn field(&self) -> Option<String> {
        let (Self::Object(object) | Self::Engine(EngineError::BadObject(object))) = self else {
            return None;
        };
        Some(object.field.clone()).filter(|field| !field.is_empty())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (code, kind, status) = (self.code(), self.kind(), self.status());
        if matches!(kind, Kind::Operator | Kind::Io | Kind::Bug) {
            let detail = self.detail().unwrap_or_default();
            tracing::error!(error = %self, code, detail, "an admin request failed");
        }
        let error = ErrorText {
            code: code.to_owned(),
            kind: kind_name(kind).to_owned(),
            message: self.to_string(),
            object: self.object(),
            field: self.field(),
        };
        (status, Json(ErrorBody { error })).into_response()
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid => "invalid",
        Kind::NotFound => "notFound",
        Kind::Refused => "refused",
        Kind::Retry => "retry",
        Kind::Operator => "operator",
        Kind::Io => "io",
        Kind::Bug => "bug",
    }
}
