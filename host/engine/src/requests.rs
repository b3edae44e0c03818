//! What the edges ask of the engine and what it answers, independent of CNI versions and of HTTP.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tenure_core::lease::{Attachment, Netns, NodeRef, Owner};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName, PoolName};
use tenure_core::objects::{Dns, Route};
use tenure_core::ports::WireLink;

/// Where the container of a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// On this machine: the engine finds out which namespace it has.
    Here {
        /// Its namespace.
        netns: Option<NetnsRef>,
    },
    /// On the node of an agent, which has found that out.
    Agent {
        /// The node, in its present boot.
        node: Arc<NodeRef>,
        /// Its namespace; none where the agent cannot tell: the lease is *blind* then.
        netns: Option<Netns>,
    },
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FixedAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length, if one was given: it must be that of the pool.
    pub prefix: Option<u8>,
}

/// The answer to an ADD: one entry per family, IPv4 first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddAnswer {
    /// The addresses.
    pub addresses: Vec<Granted>,
}

/// One address of an answer, with the delivery facts of its pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The address with the prefix length of the pool's CIDR.
    pub address: IpNet,
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
    /// Set when it comes from the spool: it frees only what was bound before this instant.
    pub bound_before: Option<SpoolInstant>,
}

/// When a DEL was spooled. It releases only what was bound before that instant in that boot, or in an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
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
