//! What agents and allocators say to each other: JSON, one schema for each version of the protocol. Within a version fields
//! may be added that the other side can do without; anything else is another version.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_core::error::{Coded, Kind};
use tenure_core::lease::{Attachment, Generation, Netns, NodeRef, Owner};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName, PoolName, SpaceName};
use tenure_core::ports::{AddressLook, NetnsLook, Sighting, WireLink, WireLook};
use tenure_engine::{FixedAddress, Past, SpoolInstant};

/// Versions of the protocol that this build speaks.
pub const VERSIONS: Versions = Versions { from: 1, to: 1 };

/// A range of versions. An upgrade goes node by node: both sides take the highest that both speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The lowest.
    pub from: u32,
    /// The highest.
    pub to: u32,
}

/// What an agent says on the stream of its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FromAgent {
    /// The first word.
    Hello(Hello),
    /// What it has answered and not taken back, said once after each [`ToAgent::Welcome`]: nothing is asked before the reply.
    Holds(Vec<Claim>),
    /// It lives.
    Beat,
    /// A network namespace of its node ended.
    Ended,
    /// The answer to [`ToAgent::Look`], one for each question, in their order.
    Looked {
        /// The number of the question.
        id: u64,
        /// What was seen.
        sights: Vec<Seen>,
    },
    /// The answer to [`ToAgent::Census`].
    Counted {
        /// The number of the question.
        id: u64,
        /// What stands on links of this node.
        sightings: Vec<Sighting>,
        /// Why something may be missing.
        incomplete: Option<String>,
    },
    /// The answer to [`ToAgent::Probe`].
    Probed {
        /// The number of the question.
        id: u64,
        /// What was heard.
        look: WireLook,
    },
}

/// What an allocator says on the stream of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToAgent {
    /// The first word.
    Welcome(Welcome),
    /// The reply to [`FromAgent::Holds`]: these attachments have lost their addresses to somebody else.
    Overtaken(Vec<Attachment>),
    /// Who is preferred for ADDs, as far as this replica knows.
    Leads {
        /// Its identity; none where there is none.
        leader: Option<String>,
    },
    /// Look at these namespaces now.
    Look {
        /// The number of the question.
        id: u64,
        /// Which.
        questions: Vec<Asked>,
    },
    /// How far the store is; to be said in the next [`Hello`], to whomever.
    Mark(StoreMark),
    /// Say which addresses stand on links of your node.
    Census {
        /// The number of the question.
        id: u64,
    },
    /// Ask on the wire now.
    Probe {
        /// The number of the question.
        id: u64,
        /// What.
        probe: Probe,
    },
}

/// Who an agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// What it speaks.
    pub versions: Versions,
    /// Its node in the present boot. The uid is left to the allocator.
    pub node: NodeRef,
    /// How far the store was when it was last heard of; none if it never was.
    pub seen: Option<StoreMark>,
}

/// How far a store is. One that is less far than it was seen to be went back in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreMark {
    /// Which store.
    pub store: String,
    /// Its life.
    pub epoch: u64,
    /// Its revision.
    pub revision: u64,
    /// How often the allocators have counted it on; 0 from those who do not.
    #[serde(default)]
    pub ticks: u64,
}

// === impl StoreMark ===

impl StoreMark {
    /// Whether it is less far than it was when `seen` was said.
    #[must_use]
    pub fn is_behind(&self, seen: &Self) -> bool {
        self.store != seen.store
            || self.epoch < seen.epoch
            || (self.epoch == seen.epoch
                && (self.revision < seen.revision || self.ticks < seen.ticks))
    }
}

/// Who an allocator is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// What is spoken from here on.
    pub version: u32,
    /// The identity of the replica.
    pub replica: String,
    /// The node as the allocator writes it into leases.
    pub node: NodeRef,
}

/// An address that an agent has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Whose.
    pub attachment: Attachment,
    /// Its routing domain.
    pub space: SpaceName,
    /// The address.
    pub address: IpAddr,
    /// Which hold of it.
    pub generation: Generation,
}

/// One namespace to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Which.
    pub netns: Netns,
    /// An address of which to say whether it stands on a link in there.
    pub address: Option<IpAddr>,
}

/// What was seen of one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The namespace.
    pub namespace: NetnsLook,
    /// The address that was asked for.
    pub link: AddressLook,
}

/// A question for the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Where the new holder will stand.
    pub link: WireLink,
    /// The address.
    pub address: IpAddr,
    /// The gateway of its pool.
    pub gateway: Option<IpAddr>,
    /// Other held addresses of the pool.
    pub controls: Vec<IpAddr>,
}

/// An ADD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddCall {
    /// Its key.
    pub attachment: Attachment,
    /// The namespace of the container.
    pub netns: Option<Netns>,
    /// `CLOCK_BOOTTIME` of the node when it came.
    pub boottime_ms: u64,
    /// What the agent knows of earlier ADDs.
    pub past: Past,
    /// For whom, as CNI tells.
    pub owner: Owner,
    /// What else CNI tells.
    pub attributes: BTreeMap<String, String>,
    /// `ipam.pools`.
    pub pools: Vec<PoolName>,
    /// Addresses asked for.
    pub fixed: Vec<FixedAddress>,
    /// Digest of the configuration.
    pub config: Digest,
    /// How long it may wait for an address.
    pub wait_ms: u64,
    /// Where the wire can be asked.
    pub link: Option<WireLink>,
    /// Serve it even if another replica leads.
    pub from_anybody: bool,
}

/// A DEL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelCall {
    /// Its key.
    pub attachment: Attachment,
    /// What the agent knows of earlier ADDs.
    pub past: Past,
    /// It frees only what was bound before.
    pub bound_before: SpoolInstant,
}

/// A CHECK.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckCall {
    /// Its key.
    pub attachment: Attachment,
    /// All addresses of `prevResult`.
    pub addresses: Vec<IpAddr>,
}

/// A GC of the agent's node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GcCall {
    /// The network.
    pub network: NetworkName,
    /// What is valid.
    pub valid: Vec<(ContainerId, IfName)>,
    /// An empty list means "none is valid".
    pub allow_empty: bool,
}

/// A STATUS that asks for exhaustion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusCall {
    /// The network.
    pub network: NetworkName,
    /// `ipam.pools`.
    pub pools: Vec<PoolName>,
}

/// An error of the other side, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its stable code.
    pub code: String,
    /// Who must act.
    pub kind: Kind,
    /// For the caller.
    pub message: String,
    /// For the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The code of a replica that serves no ADD because another one leads.
pub const NOT_LEADER: &str = "NOT_LEADER";

// === impl Versions ===

impl Versions {
    /// The highest version that both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u32> {
        let highest = self.to.min(other.to);
        (highest >= self.from.max(other.from)).then_some(highest)
    }
}

// === impl Failure ===

impl Failure {
    /// Takes over what an error says of itself.
    pub fn of(error: &impl Coded) -> Self {
        Self {
            code: error.code().to_owned(),
            kind: error.kind(),
            message: error.to_string(),
            detail: error.detail(),
        }
    }

    /// One that has no error behind it.
    #[must_use]
    pub fn new(code: &str, kind: Kind, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), kind, message: message.into(), detail: None }
    }
}

impl Coded for Failure {
    fn code(&self) -> &str {
        &self.code
    }
    fn kind(&self) -> Kind {
        self.kind
    }
    fn detail(&self) -> Option<String> {
        self.detail.clone()
    }
}

/// Milliseconds of a duration, as messages carry them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_behind_by_its_revision_or_its_count_within_one_life() {
        let mark =
            |epoch, revision, ticks| StoreMark { store: "a".to_owned(), epoch, revision, ticks };
        let seen = mark(2, 10, 5);
        for (now, is_behind) in [
            (mark(2, 10, 5), false),
            (mark(2, 9, 5), true),
            // Restored, and others have written much since.
            (mark(2, 99, 4), true),
            (mark(3, 1, 1), false),
            (mark(1, 99, 99), true),
            (StoreMark { store: "b".to_owned(), ..mark(2, 99, 99) }, true),
        ] {
            assert_eq!(now.is_behind(&seen), is_behind, "{now:?}");
        }
    }

    #[test]
    fn both_sides_take_the_highest_version_that_both_speak() {
        let versions = |from, to| Versions { from, to };
        for (ours, theirs, common) in [
            (versions(1, 1), versions(1, 1), Some(1)),
            (versions(1, 3), versions(2, 5), Some(3)),
            (versions(2, 5), versions(1, 3), Some(3)),
            (versions(1, 1), versions(2, 2), None),
            (versions(3, 4), versions(1, 2), None),
        ] {
            assert_eq!(ours.common(theirs), common, "{ours:?} {theirs:?}");
        }
    }
}
