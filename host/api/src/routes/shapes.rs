//! The shapes of answers that the engine does not have.

use serde::{Deserialize, Serialize};
use tenure_core::name::ObjectName;
use tenure_core::objects::{PolicySpec, Resource};
use tenure_core::ports::{PolicyRefusal, PolicyStatus};
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
    status: Option<Standing>,
}

/// How the version that serves fares, or why none does.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Standing {
    Serves(Box<PolicyStatus>),
    #[serde(rename_all = "camelCase")]
    NotServed {
        not_served: Refused,
    },
}

#[derive(Debug, Serialize)]
struct Refused {
    stage: &'static str,
    message: String,
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
    pub(crate) fn new(
        policy: Resource<PolicySpec>,
        known: &[PolicyStatus],
        refusal: impl FnOnce(&ObjectName) -> Option<PolicyRefusal>,
    ) -> Self {
        let name = &policy.metadata.name;
        let serving = known.iter().find(|status| status.name == *name).cloned();
        let refused = |refusal: PolicyRefusal| Standing::NotServed {
            not_served: Refused { stage: refusal.stage, message: refusal.to_string() },
        };
        let status = match serving {
            Some(status) => Some(Standing::Serves(Box::new(status))),
            None => refusal(name).map(refused),
        };
        Self { kind: "IPAMPolicy", policy, status }
    }
}
