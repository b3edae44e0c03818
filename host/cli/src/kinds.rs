//! The words for kinds, as users of kubectl would type them.

use std::str::FromStr;

use tenure_core::name::{ContainerId, Digest};
use tenure_core::objects::ObjectKind;
use tenure_core::ports::{PolicyStatus, ShadowStatus};

/// So much of a container id tells it from others, as other tools show it.
const SHORT_ID: usize = 12;

/// A container id in a column.
pub(crate) fn short_id(container: &ContainerId) -> String {
    container.as_str().chars().take(SHORT_ID).collect()
}

/// A digest in a column, without its algorithm.
pub(crate) fn short_digest(digest: &Digest) -> String {
    let text = digest.as_str();
    text.rsplit(':').next().unwrap_or(text).chars().take(SHORT_ID).collect()
}

/// Anything that can be got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    Pool,
    Reservation,
    Policy,
    Lease,
    Decision,
    Node,
}

impl Thing {
    /// The folder of the API.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Pool => "pools",
            Self::Reservation => "reservations",
            Self::Policy => "policies",
            Self::Lease => "leases",
            Self::Decision => "decisions",
            Self::Node => "nodes",
        }
    }

    /// The word before the `/` of `-o name`.
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Pool => "ippool",
            Self::Reservation => "ipreservation",
            Self::Policy => "ipampolicy",
            Self::Lease => "iplease",
            Self::Decision => "decision",
            Self::Node => "node",
        }
    }

    /// Where the names of this kind are listed.
    pub(crate) fn list_command(self) -> &'static str {
        match self {
            Self::Pool => "`tenure get pools` lists them",
            Self::Reservation => "`tenure get reservations` lists them",
            Self::Policy => "`tenure get policies` lists them",
            Self::Lease => "`tenure get leases` lists them",
            Self::Decision => "`tenure get decisions` lists them",
            Self::Node => "`tenure get nodes` lists them",
        }
    }

    /// None for what is no object.
    pub(crate) fn object_kind(self) -> Option<ObjectKind> {
        match self {
            Self::Pool => Some(ObjectKind::IPPool),
            Self::Reservation => Some(ObjectKind::IPReservation),
            Self::Policy => Some(ObjectKind::IPAMPolicy),
            Self::Lease | Self::Decision | Self::Node => None,
        }
    }

    pub(crate) fn of(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::IPPool => Self::Pool,
            ObjectKind::IPReservation => Self::Reservation,
            ObjectKind::IPAMPolicy => Self::Policy,
        }
    }
}

impl FromStr for Thing {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Ok(match word.to_ascii_lowercase().as_str() {
            "pool" | "pools" | "ippool" | "ippools" => Self::Pool,
            "reservation" | "reservations" | "ipreservation" | "ipreservations" | "res" => {
                Self::Reservation
            }
            "policy" | "policies" | "ipampolicy" | "ipampolicies" | "pol" => Self::Policy,
            "lease" | "leases" | "iplease" | "ipleases" | "address" | "addresses" | "ip" => {
                Self::Lease
            }
            "decision" | "decisions" => Self::Decision,
            "node" | "nodes" | "no" => Self::Node,
            _ => {
                let known = "pools, leases, reservations, policies, decisions or nodes";
                return Err(format!("it must be {known}"));
            }
        })
    }
}

/// A time in microseconds, short.
pub(crate) fn micros(us: u64) -> String {
    if us < 10_000 { format!("{us}us") } else { format!("{}ms", us / 1000) }
}

/// How often a shadow answered as the decision went, of how many answers.
pub(crate) fn agreement(shadow: &ShadowStatus) -> String {
    let asked = shadow.agreed.saturating_add(shadow.differed);
    match shadow.agreed.saturating_mul(1000).checked_div(asked) {
        None => "nothing yet".to_owned(),
        Some(share) => {
            format!("{}.{}% of {asked}", share / 10, share % 10)
        }
    }
}

/// How a policy fares, in one word; one that the policy host does not know is not served.
pub(crate) fn policy_word(status: Option<&PolicyStatus>) -> &'static str {
    match status {
        None => "NotServed",
        Some(status) if status.breaker_open => "BreakerOpen",
        Some(status) if status.last_refusal.is_some() => "UpdateRefused",
        Some(_) => "Serving",
    }
}
