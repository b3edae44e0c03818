//! Objects in general, and what becomes of them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::policy::Policy;
use super::pool::Pool;

/// One object or a list of objects; `status` is not read.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::openapi) enum ApplyBody {
    One(Box<AnyObject>),
    Many(Vec<AnyObject>),
}

/// An object of any kind.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::openapi) enum AnyObject {
    Pool(Box<Pool>),
    Reservation(Box<Reservation>),
    Policy(Box<Policy>),
}

/// What became of the applied objects, in their order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct ApplyAnswer {
    items: Vec<Applied>,
    dry_run: bool,
}

/// What became of an object.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Applied {
    kind: ObjectKind,
    name: String,
    change: Change,
}

#[derive(Serialize, ToSchema)]
#[expect(clippy::enum_variant_names, reason = "the names of the kinds")]
pub(in crate::openapi) enum ObjectKind {
    IPPool,
    IPReservation,
    IPAMPolicy,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::openapi) enum Change {
    Created,
    Configured,
    Unchanged,
}

/// What became of a deleted object.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub(in crate::openapi) enum Deleted {
    Done,
    /// A pool gives nothing any more and goes when the last holder leaves.
    Waiting {
        held: u64,
    },
}

/// A reservation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Reservation {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: ReservationSpec,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Metadata {
    name: String,
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
    #[schema(required = false)]
    annotations: BTreeMap<String, String>,
    /// Set by the daemon on a pool that waits for its holders.
    deletion_timestamp: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct ReservationSpec {
    addresses: Vec<String>,
    #[schema(required = false)]
    space: String,
    reason: Option<String>,
}
