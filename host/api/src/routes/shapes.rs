//! The shapes of answers that the engine does not have.

use serde::{Deserialize, Serialize};
use tenure_core::objects::{PolicySpec, Resource};
use tenure_core::ports::PolicyStatus;
use tenure_engine::{Applied, PoolView};

/// A list of anything.
#[derive(Debug, Serialize)]
pub(crate) struct Items<T> {
    /// The items.
    pub(crate) items: Vec<T>,
}

/// A list that may have been cut.
#[derive(Debug, Serialize)]
pub(crate) struct CutItems<T> {
    /// The items, at most as many as `limit` asks for.
    pub(crate) items: Vec<T>,
    /// How many there are.
    pub(crate) total: usize,
}

/// A pool as `apply` takes it, with `status`.
#[derive(Debug, Serialize)]
pub(crate) struct PoolObject {
    kind: &'static str,
    #[serde(flatten)]
    view: PoolView,
}

/// A policy as `apply` takes it, with `status` where the policy host knows it.
#[derive(Debug, Serialize)]
pub(crate) struct PolicyObject {
    kind: &'static str,
    #[serde(flatten)]
    policy: Resource<PolicySpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<PolicyStatus>,
}

/// What became of the applied objects.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApplyAnswer {
    /// One entry per object, in their order.
    pub(crate) items: Vec<Applied>,
    /// Nothing was changed.
    pub(crate) dry_run: bool,
}

/// A release by hand, but for the address, which the path names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReleaseBody {
    pub(crate) generation: u64,
    #[serde(default)]
    pub(crate) even_if_live: bool,
    #[serde(default)]
    pub(crate) reason: String,
}

/// What was imported.
#[derive(Debug, Serialize)]
pub(crate) struct ImportAnswer {
    pub(crate) objects: usize,
    pub(crate) leases: usize,
    /// Entries of the history.
    pub(crate) events: usize,
    /// The new life of the store.
    pub(crate) epoch: u64,
}

impl PoolObject {
    pub(crate) fn new(view: PoolView) -> Self {
        Self { kind: "IPPool", view }
    }
}

impl PolicyObject {
    pub(crate) fn new(policy: Resource<PolicySpec>, known: &[PolicyStatus]) -> Self {
        let status = known.iter().find(|status| status.name == policy.metadata.name).cloned();
        Self { kind: "IPAMPolicy", policy, status }
    }
}
