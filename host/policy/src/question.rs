//! A request of any hook, as records and tools hold it.

use std::sync::Arc;

use serde_json::Value;
use tenure_core::decision::{
    AffinityRequest, Candidate, Holder, Hook, ReclaimRequest, SelectRequest, Suspect, Verdict,
};
use tenure_core::ports::Policies;

use crate::lowered;

/// A request, kept as it was given.
#[derive(Debug, Clone)]
pub enum Question {
    /// Which pools.
    Select(Arc<SelectRequest>),
    /// Which address.
    Affinity(Arc<AffinityRequest>),
    /// How long to wait.
    Reclaim(Arc<ReclaimRequest>),
}

// === impl Question ===

impl Question {
    /// From the form in which a decision record shows it.
    ///
    /// # Errors
    /// It is no request of this hook.
    pub fn read(hook: Hook, request: Value) -> serde_json::Result<Self> {
        Ok(match hook {
            Hook::Select => Self::Select(serde_json::from_value(request)?),
            Hook::Affinity => Self::Affinity(serde_json::from_value(request)?),
            Hook::Reclaim => Self::Reclaim(serde_json::from_value(request)?),
        })
    }

    /// In that form.
    #[must_use]
    pub fn shown(&self) -> Value {
        // The types hold strings, numbers and lists only, so that writing them cannot fail.
        match self {
            Self::Select(request) => serde_json::to_value(request),
            Self::Affinity(request) => serde_json::to_value(request),
            Self::Reclaim(request) => serde_json::to_value(request),
        }
        .unwrap_or_default()
    }

    /// Its hook.
    #[must_use]
    pub fn hook(&self) -> Hook {
        match self {
            Self::Select(_) => Hook::Select,
            Self::Affinity(_) => Hook::Affinity,
            Self::Reclaim(_) => Hook::Reclaim,
        }
    }

    /// Its randomness.
    pub(crate) fn seed(&self) -> u64 {
        match self {
            Self::Select(request) => request.seed,
            Self::Affinity(request) => request.seed,
            Self::Reclaim(request) => request.seed,
        }
    }

    /// Rows of its input: candidates, earlier addresses or leases. Fuel is given by them.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Select(request) => request.candidates.len(),
            Self::Affinity(request) => request.previous.len(),
            Self::Reclaim(request) => request.leases.len(),
        }
    }

    /// Asks the policies, and returns the answer as a decision record shows it.
    #[must_use]
    pub fn put_to(&self, policies: &dyn Policies) -> Value {
        match self {
            Self::Select(request) => serde_json::to_value(policies.select(request).answer),
            Self::Affinity(request) => serde_json::to_value(policies.affinity(request).answer),
            Self::Reclaim(request) => serde_json::to_value(policies.reclaim(request).answer),
        }
        .unwrap_or_default()
    }

    /// Asks the policies and forgets the answer, for those who measure.
    pub fn decide(&self, policies: &dyn Policies) {
        match self {
            Self::Select(request) => drop(policies.select(request)),
            Self::Affinity(request) => drop(policies.affinity(request)),
            Self::Reclaim(request) => drop(policies.reclaim(request)),
        }
    }

    /// Bytes that are copied into the guest for it, if the policy asks for these attributes.
    #[must_use]
    pub fn lowered_bytes(&self, keys: &[String]) -> usize {
        match self {
            Self::Select(request) => lowered::select(request, keys),
            Self::Affinity(request) => lowered::affinity(request, keys),
            Self::Reclaim(request) => lowered::reclaim(request),
        }
    }

    /// Bytes that a record of it takes, by estimate.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Select(request) => {
                holder_weight(&request.holder) + size_of_val::<[Candidate]>(&request.candidates)
            }
            Self::Affinity(request) => {
                holder_weight(&request.holder) + size_of_val(request.previous.as_slice())
            }
            Self::Reclaim(request) => request
                .leases
                .iter()
                .map(|lease| {
                    size_of::<Suspect>() + size_of::<Verdict>() + holder_weight(&lease.holder)
                })
                .sum(),
        }
    }
}

fn holder_weight(holder: &Holder) -> usize {
    let attributes: usize =
        holder.attributes.iter().map(|(key, value)| key.len() + value.len() + 64).sum();
    256 + attributes
}
