//! Leases.

use serde::Serialize;
use utoipa::ToSchema;

use super::big;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::openapi) enum View {
    Held,
    Resting,
    Lingering,
    Retained,
    Free,
    Quarantined,
}

/// A lease with what it counts as at this moment.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct LeaseView {
    lease: Lease,
    view: View,
    proved: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Lease {
    address: String,
    pool: String,
    space: String,
    attachment: Attachment,
    owner: Owner,
    node: NodeRef,
    netns: Option<Netns>,
    /// 128 bits.
    #[schema(schema_with = big)]
    attempt: u128,
    families: Families,
    generation: u64,
    epoch: u64,
    state: LeaseState,
    sticky: Option<StickyKey>,
    tag: u64,
    config: String,
    decided_by: Vec<String>,
    /// Milliseconds since the Unix epoch.
    bound_at: u64,
    bound_boottime_ms: u64,
    previous: Vec<PastHolder>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Attachment {
    network: String,
    container: String,
    ifname: String,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Owner {
    kind: OwnerKind,
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::openapi) enum OwnerKind {
    Pod,
    Vm,
    Claim,
    Container,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct NodeRef {
    name: String,
    uid: String,
    agent: String,
    boot: String,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Netns {
    cookie: u64,
    dev: u64,
    ino: u64,
    nsid: Option<i32>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Families {
    v4: bool,
    v6: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "state")]
pub(in crate::openapi) enum LeaseState {
    Bound,
    Released { at: u64, proof: Proof, rest_s: u32, keep_until: Option<u64> },
    Quarantined { at: u64, cause: QuarantineCause },
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum Proof {
    None,
    Kernel,
    Reboot,
    Operator,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum QuarantineCause {
    Unfenced,
    Wire,
    Operator(String),
    TwoClaims,
    Found,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct StickyKey {
    key: String,
    retain_s: u32,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct PastHolder {
    owner: Owner,
    container: String,
    generation: u64,
    from: u64,
    to: u64,
    ended_by: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct ReleaseBody {
    /// The generation that the operator saw.
    generation: u64,
    #[schema(required = false)]
    even_if_live: bool,
    #[schema(required = false)]
    reason: String,
}
