//! What an operator writes about pools and reservations.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Selector, Span};
use crate::name::{NetworkName, SpaceName};

/// `spec` of an IPPool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolSpec {
    /// The subnet; its prefix length goes into each answer. Immutable.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub cidr: IpNet,
    /// Usable addresses, ranges `FIRST-LAST` or CIDRs; the whole CIDR by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<String>,
    /// Addresses, ranges or CIDRs taken out of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The gateway of each answer, never handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Routes of each answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// DNS of each answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// The routing domain. Immutable.
    #[serde(default)]
    pub space: SpaceName,
    /// Higher first, where nothing else decides.
    #[serde(default)]
    pub priority: i32,
    /// Gives nothing while set; what is held stays held.
    #[serde(default)]
    pub disabled: bool,
    /// CNI networks that it serves; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkName>,
    /// Namespaces that it serves, by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// Pods that it serves, by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<Selector>,
    /// Nodes that it serves, by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<Selector>,
    /// How long a released address rests before reuse.
    #[serde(default = "Span::default_cooldown")]
    pub cooldown: Span,
    /// How long at least where the end of the old holder is proved and the pool has nothing else.
    #[serde(default)]
    pub cooldown_floor: Span,
    /// Whether an address of a lost, unfenced node may be given away after a silent probe.
    #[serde(default)]
    pub unfenced_reclaim: UnfencedReclaim,
    /// When addresses are probed on the wire.
    #[serde(default)]
    pub probe: Probe,
    /// Bounds for what policies may say of this pool.
    #[serde(default)]
    pub limits: PoolLimits,
    /// Facts for policies, e.g. `zone: a`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A route of the CNI result. The last five fields came with CNI 1.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// Destination.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub dst: IpNet,
    /// Next hop; the pool's gateway by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// MTU of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Maximal segment size to advertise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Priority, lower first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Scope: 0 global, 253 link, 254 host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// DNS of the CNI result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// Local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Search domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Whether an address of a lost, unfenced node may be given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum UnfencedReclaim {
    /// After a valid silent probe.
    #[default]
    Probe,
    /// Never.
    Never,
}

/// When addresses are probed on the wire before they are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// When the end of the old holder is not proved.
    #[default]
    Unproven,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Bounds for what policies may say of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PoolLimits {
    /// Shortest grace.
    pub grace_min: Span,
    /// Longest grace.
    pub grace_max: Span,
    /// Longest retention for a sticky key.
    pub retain_max: Span,
    /// Longest cool-down.
    pub cooldown_max: Span,
}

/// `spec` of an IPReservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReservationSpec {
    /// Addresses, ranges or CIDRs.
    pub addresses: Vec<String>,
    /// The routing domain.
    #[serde(default)]
    pub space: SpaceName,
    /// Why, for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

// === impl PoolLimits ===

impl Default for PoolLimits {
    /// Any grace up to a day, retention up to 30 days, cool-down up to a day.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            grace_min: Span(Duration::ZERO),
            grace_max: Span(DAY),
            retain_max: Span(DAY.saturating_mul(30)),
            cooldown_max: Span(DAY),
        }
    }
}
