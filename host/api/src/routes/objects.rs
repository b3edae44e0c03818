//! Pools, reservations and policies.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use tenure_core::name::ObjectName;
use tenure_core::objects::{Object, ObjectKind};
use tenure_core::ports::PolicyStatus;
use tenure_engine::{Deleted, Engine};

use super::shapes::{ApplyAnswer, Items, PolicyObject, PoolObject};
use crate::api::Api;
use crate::error::ApiError;
use crate::extract::{Body, NoQuery, Query};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ApplyQuery {
    #[serde(default)]
    dry_run: bool,
}

/// `pools`, `reservations` or `policies`.
pub(crate) fn folder_of(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::IPPool => "pools",
        ObjectKind::IPReservation => "reservations",
        ObjectKind::IPAMPolicy => "policies",
    }
}

pub(crate) async fn list(
    kind: ObjectKind,
    State(api): State<Api>,
    _: Query<NoQuery>,
) -> Result<Response, ApiError> {
    let items = api.blocking(move |engine| {
        let policies = engine.policies();
        let objects = engine.objects()?.into_iter().filter(|object| object.kind() == kind);
        objects.map(|object| shown(engine, object, &policies)).collect::<Result<Vec<_>, _>>()
    });
    Ok(Json(Items { items: items.await? }).into_response())
}

pub(crate) async fn one(
    kind: ObjectKind,
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<NoQuery>,
) -> Result<Response, ApiError> {
    let name = ObjectName::new(name)?;
    let object = api.blocking(move |engine| {
        let object = engine.object(kind, &name)?;
        shown(engine, object, &engine.policies())
    });
    Ok(Json(object.await?).into_response())
}

pub(crate) async fn remove(
    kind: ObjectKind,
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<NoQuery>,
) -> Result<(StatusCode, Json<Deleted>), ApiError> {
    let name = ObjectName::new(name)?;
    let engine = api.engine.clone();
    let deleted = api.to_its_end(async move { Ok(engine.delete(kind, &name).await?) }).await?;
    let status = match deleted {
        Deleted::Done => StatusCode::OK,
        Deleted::Waiting { .. } => StatusCode::ACCEPTED,
    };
    Ok((status, Json(deleted)))
}

pub(crate) async fn apply(
    State(api): State<Api>,
    Query(query): Query<ApplyQuery>,
    Body(body): Body<Value>,
) -> Result<Json<ApplyAnswer>, ApiError> {
    let objects: Vec<Object> = match body {
        Value::Array(items) => {
            items.into_iter().map(Object::from_json).collect::<Result<_, _>>()?
        }
        one => vec![Object::from_json(one)?],
    };
    let engine = api.engine.clone();
    let dry_run = query.dry_run;
    let applied = async move { Ok(engine.apply(objects, dry_run).await?) };
    Ok(Json(ApplyAnswer { items: api.to_its_end(applied).await?, dry_run }))
}

/// An object with what is derived about it.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Shown {
    Pool(Box<PoolObject>),
    Policy(Box<PolicyObject>),
    Plain(Box<Object>),
}

fn shown(
    engine: &Arc<Engine>,
    object: Object,
    policies: &[PolicyStatus],
) -> Result<Shown, ApiError> {
    Ok(match object {
        Object::IPPool(pool) => Shown::Pool(Box::new(PoolObject::new(engine.pool_view(pool)?))),
        Object::IPAMPolicy(policy) => {
            let refusal = |name: &ObjectName| engine.policy_refusal(name);
            Shown::Policy(Box::new(PolicyObject::new(policy, policies, refusal)))
        }
        plain @ Object::IPReservation(_) => Shown::Plain(Box::new(plain)),
    })
}
