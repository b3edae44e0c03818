//! Pools.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::big;
use super::objects::Metadata;

/// A pool.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Pool {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: PoolSpec,
    status: Option<PoolStatus>,
}

/// Only `cidr` is required.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct PoolSpec {
    /// The subnet. Immutable.
    cidr: String,
    /// Addresses, `FIRST-LAST` or CIDRs; the whole CIDR by default.
    #[schema(required = false)]
    ranges: Vec<String>,
    #[schema(required = false)]
    exclude: Vec<String>,
    gateway: Option<String>,
    #[schema(required = false)]
    routes: Vec<Route>,
    dns: Option<Dns>,
    /// Immutable.
    #[schema(required = false)]
    space: String,
    #[schema(required = false)]
    priority: i32,
    #[schema(required = false)]
    disabled: bool,
    #[schema(required = false)]
    networks: Vec<String>,
    namespace_selector: Option<Selector>,
    pod_selector: Option<Selector>,
    node_selector: Option<Selector>,
    /// A length of time such as `120s`.
    #[schema(required = false)]
    cooldown: String,
    #[schema(required = false)]
    cooldown_floor: String,
    #[schema(required = false)]
    unfenced_reclaim: UnfencedReclaim,
    #[schema(required = false)]
    probe: Probe,
    #[schema(required = false)]
    limits: PoolLimits,
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Route {
    dst: String,
    gw: Option<String>,
    mtu: Option<u32>,
    advmss: Option<u32>,
    priority: Option<u32>,
    table: Option<u32>,
    scope: Option<u32>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Dns {
    #[schema(required = false)]
    nameservers: Vec<String>,
    domain: Option<String>,
    #[schema(required = false)]
    search: Vec<String>,
    #[schema(required = false)]
    options: Vec<String>,
}

/// A Kubernetes label selector.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Selector {
    #[schema(required = false)]
    match_labels: BTreeMap<String, String>,
    #[schema(required = false)]
    match_expressions: Vec<Requirement>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Requirement {
    key: String,
    operator: Operator,
    #[schema(required = false)]
    values: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::openapi) enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::openapi) enum UnfencedReclaim {
    Probe,
    Never,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::openapi) enum Probe {
    Unproven,
    Always,
    Never,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct PoolLimits {
    #[schema(required = false)]
    grace_min: String,
    #[schema(required = false)]
    grace_max: String,
    #[schema(required = false)]
    retain_max: String,
    #[schema(required = false)]
    cooldown_max: String,
}

/// Numbers of addresses: `free + held + resting + retained + quarantined = size`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Counts {
    #[schema(schema_with = big)]
    size: u128,
    #[schema(schema_with = big)]
    free: u128,
    #[schema(schema_with = big)]
    held: u128,
    #[schema(schema_with = big)]
    resting: u128,
    /// Of the resting ones.
    #[schema(schema_with = big)]
    lingering: u128,
    #[schema(schema_with = big)]
    retained: u128,
    #[schema(schema_with = big)]
    quarantined: u128,
    /// Counted apart.
    #[schema(schema_with = big)]
    out_of_range: u128,
}

/// The counts of the pool, and what a rule took out of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct PoolStatus {
    #[schema(schema_with = big)]
    size: u128,
    #[schema(schema_with = big)]
    free: u128,
    #[schema(schema_with = big)]
    held: u128,
    #[schema(schema_with = big)]
    resting: u128,
    #[schema(schema_with = big)]
    lingering: u128,
    #[schema(schema_with = big)]
    retained: u128,
    #[schema(schema_with = big)]
    quarantined: u128,
    #[schema(schema_with = big)]
    out_of_range: u128,
    /// Address and reason.
    withheld: Vec<(String, String)>,
    terminating: bool,
    /// Why it serves nothing, where it stands in the store all the same.
    not_served: Option<NotServed>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct NotServed {
    /// One word for programs.
    reason: String,
    /// A sentence for humans.
    message: String,
}
