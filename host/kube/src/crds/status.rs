//! The status of pools and policies in Kubernetes: what the engine derives, in a shape that a schema can state.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tenure_store::Refusal;

/// Status of an IPPool: derived, written at most once in some seconds, and never read back. Numbers are texts, because
/// those of an IPv6 pool need 128 bits.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PoolStatus {
    /// Usable addresses.
    size: Option<String>,
    /// Could be given now.
    free: Option<String>,
    /// Held by attachments, or reserved by an ADD in flight.
    held: Option<String>,
    /// Released and not yet rested, lingering ones included.
    resting: Option<String>,
    /// Of the resting ones: the kernel still sees the old holder.
    lingering: Option<String>,
    /// Kept for a sticky key.
    retained: Option<String>,
    /// May still be in use.
    quarantined: Option<String>,
    /// Held, or quarantined, although no longer usable.
    out_of_range: Option<String>,
    /// `Accepted`: the pool is served; else why not.
    conditions: Vec<Condition>,
}

/// Status of an IPAMPolicy.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PolicyStatus {
    /// Digest of the component that serves.
    digest: Option<String>,
    /// What the component calls itself.
    component: Option<String>,
    /// Its version.
    version: Option<String>,
    /// Hooks that it serves.
    hooks: Vec<String>,
    /// The stage at which the newest version was refused.
    stage: Option<String>,
    /// Faults by kind, only kinds that happened.
    faults: BTreeMap<String, i64>,
    /// The breaker is open: the policy is not asked for the time being.
    breaker_open: Option<bool>,
    /// `Accepted`: the newest version serves; else why not.
    conditions: Vec<Condition>,
}

/// A condition as all of Kubernetes has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    /// What it is about.
    r#type: String,
    /// `True`, `False` or `Unknown`.
    status: ConditionStatus,
    /// One word for programs.
    reason: String,
    /// A sentence for humans.
    #[serde(default)]
    message: String,
    /// When the status changed.
    last_transition_time: String,
    /// The `metadata.generation` that it speaks of.
    #[serde(default)]
    observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// Whether Tenure serves an object.
const ACCEPTED: &str = "Accepted";

// === impl Condition ===

impl Condition {
    /// Whether an object of this generation is served, from now on.
    pub(crate) fn accepted(refusal: Option<&Refusal>, generation: Option<i64>) -> Self {
        let (status, reason, message) = match refusal {
            None => (ConditionStatus::True, ACCEPTED, "it is served"),
            Some(refusal) => (ConditionStatus::False, refusal.reason, &*refusal.message),
        };
        Self {
            r#type: ACCEPTED.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: k8s_openapi::jiff::Timestamp::now()
                .strftime("%FT%TZ")
                .to_string(),
            observed_generation: generation,
        }
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.r#type == ACCEPTED
    }

    /// The same after another one: its time is that of the last change of the status.
    pub(crate) fn after(self, before: &Self) -> Self {
        if self.status != before.status {
            return self;
        }
        Self { last_transition_time: before.last_transition_time.clone(), ..self }
    }
}
