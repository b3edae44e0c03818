//! The shapes of the admin API that the engine has no type for, or only one that cannot be read back: its
//! `PoolView` is flattened, and flattened counts of more than 64 bits do not survive reading.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tenure_core::ledger::Counts;
use tenure_core::objects::{Metadata, PolicySpec, PoolSpec, ReservationSpec};
use tenure_core::ports::PolicyStatus;
use tenure_engine::{Applied, NotServed};

/// A list.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
    /// How many there are, where the list may have been cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<usize>,
}

/// An object with its status.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stored<Spec, Status> {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Status>,
}

/// A pool.
pub(crate) type Pool = Stored<PoolSpec, PoolStatus>;
/// A policy.
pub(crate) type Policy = Stored<PolicySpec, Standing>;
/// A reservation, which has no status.
pub(crate) type Reservation = Stored<ReservationSpec, ()>;

/// How the version of a policy that serves fares, or why none does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Standing {
    Serves(Box<PolicyStatus>),
    #[serde(rename_all = "camelCase")]
    NotServed {
        not_served: Refused,
    },
}

/// At which stage a policy was refused, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) stage: String,
    pub(crate) message: String,
}

/// What is derived about a pool.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolStatus {
    pub(crate) size: u128,
    pub(crate) free: u128,
    pub(crate) held: u128,
    pub(crate) resting: u128,
    pub(crate) lingering: u128,
    pub(crate) retained: u128,
    pub(crate) quarantined: u128,
    pub(crate) out_of_range: u128,
    pub(crate) withheld: Vec<(IpAddr, String)>,
    pub(crate) terminating: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_served: Option<NotServed>,
}

/// The answer to `apply`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApplyAnswer {
    pub(crate) items: Vec<Applied>,
    pub(crate) dry_run: bool,
}

/// A release by hand.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReleaseBody<'a> {
    pub(crate) generation: u64,
    pub(crate) even_if_live: bool,
    pub(crate) reason: &'a str,
}

/// The answer to an import.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ImportAnswer {
    pub(crate) objects: usize,
    pub(crate) leases: usize,
    /// Entries of the history.
    #[serde(default)]
    pub(crate) events: usize,
    pub(crate) epoch: u64,
}

impl Policy {
    /// The version that serves, if one does.
    pub(crate) fn serving(&self) -> Option<&PolicyStatus> {
        match &self.status {
            Some(Standing::Serves(status)) => Some(status),
            Some(Standing::NotServed { .. }) | None => None,
        }
    }

    /// Stage and reason of the newest version that was not taken.
    pub(crate) fn refused(&self) -> Option<(&str, &str)> {
        match self.status.as_ref()? {
            Standing::Serves(status) => Some((&status.stage, status.last_refusal.as_deref()?)),
            Standing::NotServed { not_served } => Some((&not_served.stage, &not_served.message)),
        }
    }
}

impl PoolStatus {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            size: self.size,
            free: self.free,
            held: self.held,
            resting: self.resting,
            lingering: self.lingering,
            retained: self.retained,
            quarantined: self.quarantined,
            out_of_range: self.out_of_range,
        }
    }
}

/// Spelled out, because a plain `default` would ask for `Status: Default`.
fn none<T>() -> Option<T> {
    None
}
