//! The one record of one address. It is flat and written whole in one write; there is no second
//! ledger beside it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::address::{Families, Family, to_number};
use crate::name::{ContainerId, Digest, IfName, NetworkName, PoolName, SpaceName};
use crate::time::WallMs;

/// How many earlier holders a lease remembers.
pub const HOLDERS_KEPT: usize = 4;

/// Where a lease lives: addresses are unique within a space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey {
    /// The routing domain.
    pub space: SpaceName,
    /// The address.
    pub address: IpAddr,
}

/// The key of one ADD on one node (CNI: network name, `CNI_CONTAINERID`, `CNI_IFNAME`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attachment {
    /// The CNI network name.
    pub network: NetworkName,
    /// The container id.
    pub container: ContainerId,
    /// The interface name inside the container.
    pub ifname: IfName,
}

/// What kind of thing an address is held for. The numbers are those of the policy contract.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OwnerKind {
    /// A Kubernetes pod.
    Pod = 0,
    /// A virtual machine.
    Vm = 1,
    /// A claim made ahead of any container.
    Claim = 2,
    /// A container of which CNI tells no more than its id.
    #[default]
    Container = 3,
}

/// For whom an address is held. Identity is the uid, never the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Owner {
    /// Its kind.
    pub kind: OwnerKind,
    /// Its namespace, empty where there is none.
    pub namespace: Arc<str>,
    /// Its name, empty where unknown.
    pub name: Arc<str>,
    /// Its uid, empty where unknown: an empty uid is equal to nothing.
    pub uid: Arc<str>,
}

/// The node of a holder as its agent knows it. Boot ids are compared only as read by agents.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeRef {
    /// Node name (host name in standalone mode).
    pub name: Arc<str>,
    /// uid of the Node object, empty in standalone mode.
    pub uid: Arc<str>,
    /// The random id that the agent keeps in its state folder, with the machine id behind a `/`.
    pub agent: Arc<str>,
    /// `/proc/sys/kernel/random/boot_id` at ADD.
    pub boot: Arc<str>,
}

/// A network namespace: inode numbers alone are reused at once, so the cookie decides. Together with
/// the boot id of the [`NodeRef`] this is its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Netns {
    /// `SO_NETNS_COOKIE`: unique for the life of a kernel, never reused.
    pub cookie: u64,
    /// Device of the namespace file.
    pub dev: u64,
    /// Inode of the namespace file.
    pub ino: u64,
    /// The id that the namespace has in the daemon's own namespace (`RTM_GETNSID`); it pins nothing.
    pub nsid: Option<i32>,
}

/// One attempt of an ADD. All rows of a set carry the same, and a release intent names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(pub u128);

/// A counter on a lease, raised at each change of holder.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// The life of a store between two moments when it may have gone back in time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// What was proved about the end of the last holder when a row was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Proof {
    /// Nothing yet: a DEL is not the end of a holder.
    None,
    /// Its namespace is gone, or its address, seen earlier on a link of it, stands on none.
    Kernel,
    /// The same agent reports another boot.
    Reboot,
    /// An operator fenced its node or said so.
    Operator,
}

/// Why an address is quarantined.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum QuarantineCause {
    /// Its node is lost and not fenced.
    Unfenced,
    /// A foreign machine answered for it on the wire.
    Wire,
    /// An operator said so, with the reason.
    Operator(Box<str>),
    /// Two holders claim it after the store went back in time.
    TwoClaims,
    /// It was found on a link of a container of which the store knows nothing.
    Found,
}

/// The durable state of an address that has a row; one without a row is free.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum LeaseState {
    /// Held by the attachment of the record.
    Bound,
    /// Not held: resting, lingering, retained or free are views of time and evidence on it.
    Released {
        /// When, for humans and for the order of reuse.
        at: WallMs,
        /// What was proved then.
        proof: Proof,
        /// How long it rests, in seconds of observed monotonic time.
        rest_s: u32,
        /// Until when it is kept for the sticky key of the record; wall time, for it is no safety clock.
        keep_until: Option<WallMs>,
    },
    /// May still be in use.
    Quarantined {
        /// When, for humans.
        at: WallMs,
        /// Why.
        cause: QuarantineCause,
    },
}

/// A stable address for a key, as the affinity policy decided at ADD.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StickyKey {
    /// At most one live holder per network, interface, family and key.
    pub key: Arc<str>,
    /// How long the address stays kept for the key after its release, in seconds.
    pub retain_s: u32,
}

/// One of the earlier holders of an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastHolder {
    /// Whose address it was.
    pub owner: Owner,
    /// Its container.
    pub container: ContainerId,
    /// The generation of its hold.
    pub generation: Generation,
    /// From when.
    pub from: WallMs,
    /// Until when.
    pub to: WallMs,
    /// `del`, `reclaim`, `rebind`, `takeover`, `quarantine` or `operator`.
    pub ended_by: Arc<str>,
}

/// The one record of one address: who holds it, by what right, and who held it before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// Its pool at the time of the ADD.
    pub pool: PoolName,
    /// Its routing domain.
    pub space: SpaceName,
    /// Who holds it, or held it last.
    pub attachment: Attachment,
    /// For whom.
    pub owner: Owner,
    /// Where.
    pub node: NodeRef,
    /// The namespace of the holder; none where it could not be read (a *blind* lease).
    pub netns: Option<Netns>,
    /// The attempt that wrote this hold.
    pub attempt: AttemptId,
    /// The families of the set that this row belongs to: a set is answered only when complete.
    pub families: Families,
    /// Raised at each change of holder.
    pub generation: Generation,
    /// The store's life in which this hold began.
    pub epoch: Epoch,
    /// What the address is now.
    pub state: LeaseState,
    /// The key that the address is kept for, if any.
    pub sticky: Option<StickyKey>,
    /// The affinity policy's own mark, shown to `reclaim`; the host gives it no meaning.
    pub tag: u64,
    /// Digest of the configuration of the ADD (CNI_NETNS aside).
    pub config: Digest,
    /// Digests of the policies that decided, in the order of the hooks; built-in ones have none.
    pub decided_by: Vec<Digest>,
    /// When the present hold began, for humans.
    pub bound_at: WallMs,
    /// When it began by `CLOCK_BOOTTIME` of its boot: what a spooled DEL is compared with.
    pub bound_boottime_ms: u64,
    /// Up to [`HOLDERS_KEPT`] earlier holders, newest first.
    pub previous: Vec<PastHolder>,
}

// === impl LeaseKey ===

impl LeaseKey {
    /// The family of the address.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// The address as a number.
    #[must_use]
    pub fn number(&self) -> u128 {
        to_number(self.address)
    }
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.space == SpaceName::default() {
            return write!(f, "{}", self.address);
        }
        write!(f, "{}--{}", self.space, self.address)
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network, self.container, self.ifname)
    }
}

// === impl OwnerKind ===

impl OwnerKind {
    /// `pod`, `vm`, `claim` or `container`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Vm => "vm",
            Self::Claim => "claim",
            Self::Container => "container",
        }
    }
}

impl fmt::Display for OwnerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Owner ===

impl Owner {
    /// Whether both are the same thing: an empty uid is equal to nothing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        !self.uid.is_empty() && self.kind == other.kind && self.uid == other.uid
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.namespace.is_empty(), self.name.is_empty()) {
            (_, true) => write!(f, "{}", self.kind),
            (true, false) => write!(f, "{} {}", self.kind, self.name),
            (false, false) => write!(f, "{} {}/{}", self.kind, self.namespace, self.name),
        }
    }
}

// === impl Netns ===

impl Netns {
    /// Whether a holder is where it was, by the cookie. A namespace that cannot be read now says nothing about a move.
    #[must_use]
    pub fn stayed(then: Option<Self>, now: Option<Self>) -> bool {
        match (then, now) {
            (Some(then), Some(now)) => then.cookie == now.cookie,
            (_, None) => true,
            (None, Some(_)) => false,
        }
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

// === impl Generation ===

impl Generation {
    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

// === impl Lease ===

impl Lease {
    /// Where the lease lives.
    #[must_use]
    pub fn key(&self) -> LeaseKey {
        LeaseKey { space: self.space.clone(), address: self.address }
    }

    /// Whether an attachment holds the address.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        matches!(self.state, LeaseState::Bound)
    }

    /// Whether nobody holds the address, by the record.
    #[must_use]
    pub fn is_released(&self) -> bool {
        matches!(self.state, LeaseState::Released { .. })
    }

    /// Whether the attachment of the record may still use the address: bound, or quarantined with its holder. A wire
    /// quarantine has none: a foreign machine answered.
    #[must_use]
    pub fn has_holder(&self) -> bool {
        match &self.state {
            LeaseState::Bound => true,
            LeaseState::Quarantined { cause, .. } => *cause != QuarantineCause::Wire,
            LeaseState::Released { .. } => false,
        }
    }

    /// `Bound`, `Released` or `Quarantined`.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match self.state {
            LeaseState::Bound => "Bound",
            LeaseState::Released { .. } => "Released",
            LeaseState::Quarantined { .. } => "Quarantined",
        }
    }

    /// The end of the present hold: the record says who held it, the state says what now.
    ///
    /// The holder stays readable in the record until the next ADD replaces it, and moves into
    /// `previous` then ([`Lease::holder_as_past`]).
    #[must_use]
    pub fn released(mut self, at: WallMs, proof: Proof, rest_s: u32) -> Self {
        let keep_until = self
            .sticky
            .as_ref()
            .filter(|sticky| sticky.retain_s > 0)
            .map(|sticky| at.plus_secs(u64::from(sticky.retain_s)));
        self.state = LeaseState::Released { at, proof, rest_s, keep_until };
        self
    }

    /// The present holder as an entry of `previous`, and the older ones behind it. `moved` says how a hold ends
    /// that is still bound; a released one ended as its record says.
    #[must_use]
    pub fn holder_as_past(&self, to: WallMs, moved: &str) -> Vec<PastHolder> {
        let (ended, ended_by) = match &self.state {
            LeaseState::Released { at, proof: Proof::None, .. } => (*at, "del"),
            LeaseState::Released { at, proof: Proof::Kernel | Proof::Reboot, .. } => {
                (*at, "reclaim")
            }
            LeaseState::Released { at, proof: Proof::Operator, .. } => (*at, "operator"),
            LeaseState::Quarantined { at, .. } => (*at, "quarantine"),
            LeaseState::Bound => (to, moved),
        };
        let mut past = vec![PastHolder {
            owner: self.owner.clone(),
            container: self.attachment.container.clone(),
            generation: self.generation,
            from: self.bound_at,
            to: ended,
            ended_by: ended_by.into(),
        }];
        past.extend(self.previous.iter().take(HOLDERS_KEPT.saturating_sub(1)).cloned());
        past
    }
}
