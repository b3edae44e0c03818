//! What the engine needs from outside and who brings it. Declared here so that the edges need not
//! know each other: the policy host, the kernel witness and tests implement these traits.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::decision::{
    AffinityAnswer, AffinityRequest, Decided, DecisionRecord, FaultKind, Hook, ReclaimRequest,
    SelectRequest, Selection, Verdict,
};
use crate::error::Coded;
use crate::judge::{ApiSays, NodeSays};
use crate::lease::{Netns, NodeRef, Owner};
use crate::name::{Digest, IfName, ObjectName};
use crate::objects::PolicySpec;

/// The policy host. Calls are short (tens of microseconds) and bounded by the budget of each policy,
/// but they compute: the engine makes them on threads where blocking is allowed.
///
/// No call fails: a fault is counted, recorded and answered by the built-in strategy.
pub trait Policies: Send + Sync {
    /// The policies as they stand at this moment. All decisions of one ADD are made by one such view, so that a swap falls
    /// between two ADDs and never into one.
    fn pinned(&self) -> Box<dyn Pinned + '_>;
    /// Which address, and what to keep for whom.
    fn affinity(&self, request: &AffinityRequest) -> Decided<AffinityAnswer>;
    /// Which pools, in which order.
    fn select(&self, request: &SelectRequest) -> Decided<Selection>;
    /// How long to wait; one verdict per lease, same order.
    fn reclaim(&self, request: &ReclaimRequest) -> Decided<Vec<Verdict>>;

    /// Puts a policy through everything that [`Policies::install`] does, without letting it serve.
    ///
    /// # Errors
    /// The stage that failed and why.
    fn check(&self, name: &ObjectName, spec: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal>;
    /// Loads a policy and lets it take over from the version that serves under the same name.
    ///
    /// # Errors
    /// The stage that failed and why; the old version goes on serving.
    fn install(&self, name: &ObjectName, spec: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal>;
    /// Takes a policy out of service. Unknown names are no error.
    fn remove(&self, name: &ObjectName);
    /// One entry per installed policy.
    fn status(&self) -> Vec<PolicyStatus>;
    /// The newest decisions, newest first.
    fn decisions(&self, limit: usize) -> Vec<DecisionRecord>;
}

/// Policies of one moment; see [`Policies::pinned`].
pub trait Pinned {
    /// As [`Policies::affinity`].
    fn affinity(&self, request: &AffinityRequest) -> Decided<AffinityAnswer>;
    /// As [`Policies::select`].
    fn select(&self, request: &SelectRequest) -> Decided<Selection>;
}

/// A view of policies that never change, or where it does not matter.
pub struct Unpinned<'a>(pub &'a dyn Policies);

impl Pinned for Unpinned<'_> {
    fn affinity(&self, request: &AffinityRequest) -> Decided<AffinityAnswer> {
        self.0.affinity(request)
    }

    fn select(&self, request: &SelectRequest) -> Decided<Selection> {
        self.0.select(request)
    }
}

/// How a policy fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Name of its IPAMPolicy object.
    pub name: ObjectName,
    /// Digest of the component that serves.
    pub digest: Digest,
    /// What the component calls itself.
    pub component: String,
    /// Its version.
    pub version: String,
    /// Hooks that it serves.
    pub hooks: Vec<Hook>,
    /// `active` or `shadow`.
    pub mode: String,
    /// Decisions made, abstentions included.
    pub decisions: u64,
    /// Faults by kind, only kinds that happened.
    pub faults: Vec<(FaultKind, u64)>,
    /// The breaker is open: the policy is not asked for the time being.
    pub breaker_open: bool,
    /// Where the newest version stands: `serving`, or the stage at which it was refused or taken back, in which case an
    /// earlier one serves.
    #[serde(default)]
    pub stage: String,
    /// Why the newest version was not taken, if it was not.
    pub last_refusal: Option<String>,
    /// Fuel of the version that serves; none before its first call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<FuelUse>,
    /// Time of its calls, instance and `init` included; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Of a policy in shadow mode: how it compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowStatus>,
}

/// What [`PolicyStatus::stage`] says of a policy whose newest version serves.
pub const SERVING: &str = "serving";

/// Fuel of the calls of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FuelUse {
    /// Of a call on average, `init` included.
    pub mean: u64,
    /// Of the most expensive call.
    pub max: u64,
    /// The largest share of its budget that a call of a hook used, in percent, rounded up.
    pub max_percent: u64,
}

/// Time of the calls of a version in microseconds, to an eighth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half of the calls took no longer.
    pub p50_us: u64,
    /// Of a hundred calls one took longer.
    pub p99_us: u64,
    /// The longest call.
    pub max_us: u64,
}

/// How a shadow compares with the decisions as they went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowStatus {
    /// The policy that it may replace, if its object says which.
    pub of: Option<ObjectName>,
    /// Share of the requests that it is asked, in percent.
    pub percent: u8,
    /// Answers like the one that was given.
    pub agreed: u64,
    /// Other answers.
    pub differed: u64,
    /// No opinion.
    pub abstained: u64,
    /// Requests that it was not asked because it was still busy with earlier ones.
    pub dropped: u64,
}

/// Why a policy was not loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy {policy} was refused while {stage}: {why}")]
pub struct PolicyRefusal {
    /// Name of the object.
    pub policy: ObjectName,
    /// The stage, as a gerund: `reading the component`, `checking the imports`, ...
    pub stage: &'static str,
    /// The cause, naming the offending part and what to do.
    pub why: String,
}

impl Coded for PolicyRefusal {
    fn code(&self) -> &'static str {
        "POLICY_REFUSED"
    }
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Invalid
    }
}

/// What is known of holders outside the store: the kernels of their nodes, the nodes, the API that knows the owners. In
/// standalone mode that is the kernel of this machine; in a cluster the agents and the API are asked.
///
/// *Unknown is never dead*: whatever cannot be established is an error or [`NetnsLook::Unknown`].
pub trait Kernel: Send + Sync {
    /// The identity of the namespace behind `path`, given an id in the daemon's own namespace. It leaves no
    /// descriptor, socket or thread behind. Blocks for tens of microseconds.
    ///
    /// # Errors
    /// [`WitnessError`] when the path is no network namespace or cannot be entered.
    fn identify(&self, path: &Path) -> Result<Netns, WitnessError>;

    /// What is seen of these holders: one [`Sight`] each, in their order. Nothing of it is older than the call. One look
    /// serves all questions; blocks for some milliseconds, and where agents are asked for up to seconds.
    fn look_at(&self, questions: &[Question]) -> Vec<Sight>;

    /// Whether the kernel of this node is asked, or others in its place because its agent is not heard. It hastens looks, and
    /// decides nothing.
    fn hears(&self, _node: &NodeRef) -> bool {
        true
    }

    /// Why nothing can be seen now, if that is so. For people.
    fn silence(&self) -> Option<String> {
        None
    }

    /// All addresses that stand on links of network namespaces of this machine other than the daemon's own, or of all
    /// nodes where agents are asked, for a daemon whose store went back in time: what is alive without a lease shows here. Gives the namespaces ids and
    /// leaves nothing else behind. Blocks for up to seconds.
    ///
    /// It is no snapshot: an address that was answered a moment ago is on no link yet, and one that changes
    /// its namespace meanwhile may be missed.
    ///
    /// # Errors
    /// [`WitnessError`] when the self-test failed. Whatever else could not be seen is [`Census::incomplete`].
    fn census(&self) -> Result<Census, WitnessError>;

    /// Sets every link of a namespace down that carries this address, for it was given to somebody else. How many there
    /// were. Blocks for some milliseconds.
    ///
    /// # Errors
    /// [`WitnessError`] when the namespace cannot be entered, or whoever is asked has none.
    fn set_down(&self, _netns: &Netns, _address: IpAddr) -> Result<usize, WitnessError> {
        Err(WitnessError::Off { why: "it has no namespaces of its own".to_owned() })
    }

    /// Who keeps a namespace, in words. For people only: an empty list proves nothing.
    fn kept_by(&self, _netns: &Netns) -> Vec<String> {
        Vec::new()
    }
}

/// What a census saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "an address that is missing here is free only if the census was complete"]
pub struct Census {
    /// In no order. An address that stands in two namespaces comes twice.
    pub sightings: Vec<Sighting>,
    /// Why something may be missing, none if all was looked at. What it lacks is *unknown*, never free.
    pub incomplete: Option<String>,
}

/// An address on a link.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sighting {
    /// On which node, in which boot; none for this machine.
    pub node: Option<Arc<NodeRef>>,
    /// Where it was seen.
    pub place: Place,
    /// The name of the link in there; empty if the link was taken away before it could be asked for.
    pub ifname: String,
    /// Any unicast address but loopback and IPv6 link-local, whether it is in use, tentative or a duplicate.
    pub address: IpAddr,
}

/// A network namespace in which an address was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// A known one; it has an id in the daemon's own namespace.
    Netns(Netns),
    /// Nothing but this id shows it (a socket keeps it alive, say): that it lives is certain, which one it is nobody
    /// can say. It is the one that a lease of this boot recorded with this id, unless that one ended.
    Hidden {
        /// Its id in the daemon's own namespace.
        nsid: i32,
    },
}

/// A holder, as the witnesses are asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The node and boot in which its hold began.
    pub node: Arc<NodeRef>,
    /// Its namespace, where that is known.
    pub netns: Option<Netns>,
    /// For whom it holds; none where that is not known without reading the row.
    pub owner: Option<Owner>,
    /// An address of which to say whether it stands on a link of the namespace: costs a listing of its links.
    pub address: Option<IpAddr>,
}

/// What is seen of one holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Sight {
    /// Its node.
    pub node: NodeSays,
    /// Its namespace.
    pub namespace: NetnsLook,
    /// The address that was asked for; unknown where none was.
    pub link: AddressLook,
    /// What an API says that knows its owner.
    pub api: ApiSays,
}

/// What a look says of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NetnsLook {
    /// It exists.
    Alive,
    /// Its id is absent from a complete dump, or wears another cookie.
    Gone,
    /// Not established.
    Unknown,
}

/// What a look says of an address in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AddressLook {
    /// It stands on a link.
    OnLink,
    /// It stands on none, and the listing was complete.
    OnNone,
    /// The namespace is gone.
    NamespaceGone,
    /// Not established.
    Unknown,
}

/// Why the kernel witness is silent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WitnessError {
    /// `CNI_NETNS` names nothing.
    #[error("network namespace {path} does not exist")]
    NoSuchNamespace {
        /// The path.
        path: PathBuf,
    },
    /// `CNI_NETNS` names something else.
    #[error("{path} is not a network namespace")]
    NotANamespace {
        /// The path.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("{act} failed: {why}")]
    System {
        /// What was tried.
        act: &'static str,
        /// What the kernel said.
        why: String,
    },
    /// The listing was interrupted or cut.
    #[error("the listing of namespace ids was incomplete")]
    Incomplete,
    /// The self-test at start failed, so nothing is concluded from what the kernel shows.
    #[error("the kernel witness is off: {why}")]
    Off {
        /// What the self-test saw.
        why: String,
    },
}

/// The wire witness of this node: whether somebody on a link answers for an address.
pub trait Wire: Send + Sync {
    /// Asks for the address three times, 100 ms apart, and for the controls with it. Blocks for some 350 ms; in a
    /// crowd up to a few seconds more, never without a bound.
    ///
    /// Nothing fails: what cannot be established is [`WireLook::Blind`].
    fn probe(&self, question: &WireQuestion) -> WireLook;
}

/// Where the witness can speak from, learnt from the CNI configuration of the ADD. Interfaces are those of the
/// daemon's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WireLink {
    /// Macvlan in mode `bridge`. In the other modes neighbours on one machine do not hear one another: silence
    /// would mean nothing there, so that no question is asked.
    Macvlan {
        /// The interface that the containers' macvlans stand on.
        parent: IfName,
    },
    /// A Linux bridge whose containers send untagged.
    Bridge {
        /// The bridge itself.
        name: IfName,
    },
}

/// One address that is about to be given away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireQuestion {
    /// The node of the new holder, from which it is asked.
    pub node: Arc<NodeRef>,
    /// Where the new holder will stand.
    pub link: WireLink,
    /// The address.
    pub address: IpAddr,
    /// The gateway of its pool: a control, and the one whose answer for `address` shows proxy ARP.
    pub gateway: Option<IpAddr>,
    /// Other held addresses of the pool, at most a few. The best stand on other nodes (one on this node proves that
    /// the interface hears, not that the wire carries) and are held for a minute or more: a holder that is
    /// itself just detecting duplicates could take a question in IPv4 for one.
    pub controls: Vec<IpAddr>,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WireLook {
    /// Somebody has the address.
    Answered {
        /// The hardware address of the first who said so.
        mac: [u8; 6],
    },
    /// Nobody answered for it, and a control answered the same question from the same interface.
    Silent,
    /// Nothing may be concluded, neither that the address is free nor that it is taken.
    Blind {
        /// Why, naming the interface and what to do next.
        why: String,
    },
}

impl Sight {
    /// Of a holder of which only the kernel of a node that is heard can speak, and it does not.
    pub const SILENT: Self = Self {
        node: NodeSays::Heard,
        namespace: NetnsLook::Unknown,
        link: AddressLook::Unknown,
        api: ApiSays::Nothing,
    };
}

impl Question {
    /// The answer of a witness that sees namespaces of one kernel.
    pub fn ask(
        &self,
        namespace: impl FnOnce(&Netns) -> NetnsLook,
        address: impl FnOnce(&Netns, IpAddr) -> AddressLook,
    ) -> Sight {
        let Some(netns) = &self.netns else { return Sight::SILENT };
        let seen = namespace(netns);
        let link = match (seen, self.address) {
            (NetnsLook::Alive, Some(asked)) => address(netns, asked),
            (NetnsLook::Gone, Some(_)) => AddressLook::NamespaceGone,
            (NetnsLook::Unknown, _) | (_, None) => AddressLook::Unknown,
        };
        Sight { namespace: seen, link, ..Sight::SILENT }
    }
}
