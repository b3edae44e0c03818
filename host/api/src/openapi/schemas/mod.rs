//! The shapes of the domain types, for the description only. `tests/openapi.rs` holds real answers against them.

#![expect(dead_code, reason = "only their schemas are used")]

mod history;
mod lease;
mod objects;
mod policy;
mod pool;
mod reclaim;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

pub(super) use self::history::HistoryView;
pub(super) use self::lease::{LeaseView, ReleaseBody, View};
pub(super) use self::objects::{ApplyAnswer, ApplyBody, Deleted, Reservation};
use self::policy::PolicyStatus;
pub(super) use self::policy::{DecisionRecord, Policy};
use self::pool::Counts;
pub(super) use self::pool::Pool;
pub(super) use self::reclaim::{Explanation, ReclaimAnswer};

/// A whole number of up to 128 bits.
fn big() -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build()
}

/// Any JSON.
pub(in crate::openapi) type Anything = serde_json::Value;

/// A list.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Items<T> {
    items: Vec<T>,
}

/// A list that may have been cut at `limit`.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct CutItems<T> {
    items: Vec<T>,
    /// How many there are.
    total: usize,
}

/// The daemon as a whole.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Overview {
    version: String,
    node: String,
    agent: String,
    store: String,
    epoch: u64,
    store_error: Option<String>,
    witness_error: Option<String>,
    rows: usize,
    /// ADDs that wait for an address.
    waiting: usize,
    /// Name and counts.
    pools: Vec<(String, Counts)>,
    policies: Vec<PolicyStatus>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct ImportAnswer {
    objects: usize,
    leases: usize,
    /// Entries of the history.
    events: usize,
    epoch: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Health {
    status: String,
}
