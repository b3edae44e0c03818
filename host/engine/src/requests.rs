//! What the edges ask of the engine and what it answers, independent of CNI versions and of HTTP.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tenure_core::lease::{Attachment, Generation, Netns, NodeRef, Owner};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName, PoolName, SpaceName};
use tenure_core::objects::{Dns, Route};
use tenure_core::ports::{Kernel, WireLink, WitnessError};

use crate::EngineError;

/// Where the container of a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// On this machine: the engine finds out which namespace it has.
    Here {
        /// Its namespace.
        netns: Option<NetnsRef>,
    },
    /// On the node of an agent, which has found that out.
    Agent(AgentCall),
}

/// What an agent tells of the container of an ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCall {
    /// The node, in its present boot.
    pub node: Arc<NodeRef>,
    /// The namespace of the container; none where the agent cannot tell: the lease is *blind* then.
    pub netns: Option<Netns>,
    /// `CLOCK_BOOTTIME` of the node when the ADD came, in milliseconds.
    pub boottime_ms: u64,
    /// What the agent knows of earlier ADDs of the attachment.
    pub past: Past,
}

/// What is known of earlier ADDs of an attachment by who asks: a replica of the engine may not have heard of their rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Past {
    /// There was none, or there is only one engine, which knows.
    #[default]
    None,
    /// These addresses were answered, and no DEL of them.
    Answered(Vec<IpAddr>),
    /// There may have been some.
    Unsure,
}

/// What an API says of a holder that it knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Kind of the controlling object, e.g. `StatefulSet`; empty where there is none.
    pub controller_kind: String,
    /// Its name.
    pub controller_name: String,
    /// The zone of the node; empty where it has none.
    pub zone: String,
    /// Labels of the pod.
    pub pod_labels: BTreeMap<String, String>,
    /// Labels of its namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Labels of its node.
    pub node_labels: BTreeMap<String, String>,
}

/// `CNI_NETNS` as the plugin saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetnsRef {
    /// The path.
    pub path: PathBuf,
    /// (device, inode) of the file, as the plugin read them; none where it could not.
    pub file: Option<(u64, u64)>,
}

/// An ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddRequest {
    /// Its key.
    pub attachment: Attachment,
    /// Where the container is.
    pub caller: Caller,
    /// For whom, as far as CNI tells.
    pub owner: Owner,
    /// What an API says of the owner; none where none knows it.
    pub facts: Option<Arc<Facts>>,
    /// `cni.args/KEY` and what else CNI tells, by full attribute key.
    pub attributes: BTreeMap<String, String>,
    /// `ipam.pools`: the order of preference per family; empty means every pool that admits the holder.
    pub pools: Vec<PoolName>,
    /// Addresses asked for by the runtime (`runtimeConfig.ips`, `args.cni.ips`, CNI_ARGS `IP`), at most one per
    /// family.
    pub fixed: Vec<FixedAddress>,
    /// Digest of the configuration, `CNI_NETNS` aside: what makes two ADDs "the same" (invariant I4).
    pub config: Digest,
    /// How long the caller is ready to wait.
    pub wait: Duration,
    /// Where the wire witness can ask for the addresses; none where it cannot speak.
    pub link: Option<WireLink>,
}

/// An address that a runtime asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FixedAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length, if one was given: it must be that of the pool.
    pub prefix: Option<u8>,
}

/// The answer to an ADD: one entry per family, IPv4 first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddAnswer {
    /// The addresses.
    pub addresses: Vec<Granted>,
}

/// One address of an answer, with the delivery facts of its pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Granted {
    /// The address with the prefix length of the pool's CIDR.
    pub address: IpNet,
    /// Its routing domain.
    pub space: SpaceName,
    /// Which hold of the address this is.
    pub generation: Generation,
    /// Its pool.
    pub pool: PoolName,
    /// The pool's gateway.
    pub gateway: Option<IpAddr>,
    /// The pool's routes.
    pub routes: Vec<Route>,
    /// The pool's DNS.
    pub dns: Option<Dns>,
}

/// A DEL. It needs nothing but the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelRequest {
    /// Its key.
    pub attachment: Attachment,
    /// The node of the agent that asks: it frees only what is held there. None for this machine.
    pub node: Option<Arc<NodeRef>>,
    /// What the agent knows of earlier ADDs of the attachment.
    pub past: Past,
    /// Set when it comes from the spool or from an agent: it frees only what was bound before this instant.
    pub bound_before: Option<SpoolInstant>,
}

/// When a DEL came. It releases only what was bound before that instant in that boot, or in an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpoolInstant {
    /// The boot id then.
    pub boot: String,
    /// `CLOCK_BOOTTIME` then, in milliseconds.
    pub boottime_ms: u64,
}

/// A CHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRequest {
    /// Its key.
    pub attachment: Attachment,
    /// The node of the agent that asks; none for this machine.
    pub node: Option<Arc<NodeRef>>,
    /// All addresses of `prevResult`; later plugins of the chain may have added some.
    pub addresses: Vec<IpAddr>,
}

/// A GC: the full set of valid attachments of one network on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcRequest {
    /// The node of the agent that asks; none for this machine.
    pub node: Option<NodeRef>,
    /// The network.
    pub network: NetworkName,
    /// What is valid. An absent or null list never gets here.
    pub valid: Vec<(ContainerId, IfName)>,
    /// The configuration allows an empty list to mean "none is valid".
    pub allow_empty: bool,
}

/// What a GC did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GcAnswer {
    /// Addresses taken back: their holders are proved gone.
    pub released: Vec<IpAddr>,
    /// Addresses that are not listed but kept, with the reason.
    pub kept: Vec<(IpAddr, String)>,
}

// === impl Caller ===

impl Caller {
    /// The node of the agent; none for this machine.
    #[must_use]
    pub fn node(&self) -> Option<&NodeRef> {
        match self {
            Self::Here { .. } => None,
            Self::Agent(call) => Some(&call.node),
        }
    }

    /// Whether what the attachment has was answered to it, as far as is known.
    pub(crate) fn was_answered(&self) -> bool {
        matches!(self, Self::Agent(AgentCall { past: Past::Answered(_), .. }))
    }

    /// Whether this address was answered to it, by what its agent knows.
    pub(crate) fn had(&self, address: IpAddr) -> bool {
        match self {
            Self::Agent(AgentCall { past: Past::Answered(addresses), .. }) => {
                addresses.contains(&address)
            }
            Self::Agent(_) | Self::Here { .. } => false,
        }
    }
}

// === impl NetnsRef ===

impl NetnsRef {
    /// The identity of the namespace; none where it cannot be established: the lease is *blind* then. Blocks for tens of
    /// microseconds.
    ///
    /// # Errors
    /// [`EngineError::BadNetns`] where there is no network namespace.
    pub fn identify(
        &self,
        kernel: &dyn Kernel,
        attachment: &Attachment,
    ) -> Result<Option<Netns>, EngineError> {
        match kernel.identify(&self.path) {
            Ok(found) if self.file.is_none_or(|file| file == (found.dev, found.ino)) => {
                Ok(Some(found))
            }
            Ok(_) => {
                tracing::warn!(
                    %attachment, path = %self.path.display(),
                    "the daemon sees another namespace at this path than the plugin: the lease is blind \
                     (run the daemon in the mount namespace of the runtime)"
                );
                Ok(None)
            }
            Err(
                error @ (WitnessError::NoSuchNamespace { .. } | WitnessError::NotANamespace { .. }),
            ) => {
                if self.file.is_none() {
                    return Err(EngineError::BadNetns { why: error.to_string() });
                }
                let why = format!(
                    "{error} where the daemon runs, though the plugin sees it; mount the runtime's namespaces there"
                );
                tracing::error!(%attachment, why, "no address is given to what cannot be seen");
                Err(EngineError::BadNetns { why })
            }
            Err(error) => {
                tracing::warn!(%attachment, %error, "the lease is blind: only DEL, boot or an operator frees it");
                Ok(None)
            }
        }
    }
}

// === impl DelRequest ===

impl DelRequest {
    /// A DEL of this machine that frees whatever the attachment holds.
    #[must_use]
    pub fn of(attachment: Attachment) -> Self {
        Self { attachment, node: None, past: Past::None, bound_before: None }
    }
}
