//! Policies and their decisions.

use serde::Serialize;
use utoipa::ToSchema;

use super::Anything;
use super::objects::Metadata;

/// A policy.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Policy {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: PolicySpec,
    status: Option<PolicyStanding>,
}

/// How the version that serves fares, or why none does.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::openapi) enum PolicyStanding {
    Serves(Box<PolicyStatus>),
    NotServed(PolicyNotServed),
}

/// The built-in strategy answers for it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct PolicyNotServed {
    not_served: PolicyRefused,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct PolicyRefused {
    /// What was being done: `reading the component`, `compiling`, ...
    stage: String,
    message: String,
}

/// Only `source` is required.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct PolicySpec {
    source: PolicySource,
    digest: Option<String>,
    #[schema(required = false)]
    hooks: Vec<Hook>,
    #[schema(required = false)]
    settings: Anything,
    #[schema(required = false)]
    scope: PolicyScope,
    #[schema(required = false)]
    mode: PolicyMode,
    shadow: Option<ShadowSpec>,
    #[schema(required = false)]
    limits: PolicyLimits,
    #[schema(required = false)]
    on_fault: OnFault,
    #[schema(required = false)]
    priority: i32,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::openapi) enum PolicySource {
    Bundled(String),
    File(String),
    Oci(String),
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::openapi) enum Hook {
    Select,
    Affinity,
    Reclaim,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct PolicyScope {
    #[schema(required = false)]
    namespaces: Vec<String>,
    #[schema(required = false)]
    pools: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::openapi) enum PolicyMode {
    Active,
    Shadow,
}

/// How a policy in shadow mode is asked.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct ShadowSpec {
    /// The policy that it shall replace; itself by default.
    of: Option<String>,
    /// Share of the requests.
    #[schema(required = false, minimum = 1, maximum = 100)]
    percent: u8,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct PolicyLimits {
    fuel: Option<u64>,
    fuel_per_row: Option<u64>,
    deadline_ms: Option<u32>,
    memory_kib: Option<u32>,
    log_lines: Option<u32>,
    lookups: Option<u32>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum OnFault {
    BuiltIn,
    Next,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct PolicyStatus {
    name: String,
    digest: String,
    component: String,
    version: String,
    hooks: Vec<Hook>,
    mode: String,
    decisions: u64,
    /// Kind and number, only kinds that happened.
    faults: Vec<(String, u64)>,
    breaker_open: bool,
    /// `serving`, or the stage at which the newest version was refused; an earlier one serves then.
    stage: String,
    last_refusal: Option<String>,
    fuel: Option<FuelUse>,
    latency: Option<Latency>,
    shadow: Option<ShadowStatus>,
}

/// Fuel of the calls of the version that serves.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct FuelUse {
    mean: u64,
    max: u64,
    /// The largest share of its budget that a hook used, rounded up.
    max_percent: u64,
}

/// Time of its calls in microseconds, to an eighth.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Latency {
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
}

/// How a policy in shadow mode compares.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct ShadowStatus {
    of: Option<String>,
    percent: u8,
    agreed: u64,
    differed: u64,
    abstained: u64,
    /// Not asked: it was busy with earlier requests.
    dropped: u64,
}

/// One decision with all that was asked and answered.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct DecisionRecord {
    id: u64,
    at: u64,
    hook: Hook,
    by: DecidedBy,
    steps: Vec<DecisionStep>,
    request: Anything,
    answer: Anything,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum DecidedBy {
    BuiltIn,
    Policy { name: String, digest: String },
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct DecisionStep {
    policy: String,
    digest: String,
    /// Digest of settings and limits.
    terms: Option<String>,
    outcome: StepOutcome,
    fuel: u64,
    memory: u64,
    micros: u64,
    lookups: Vec<Lookup>,
    log: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum StepOutcome {
    Decided,
    Abstained,
    Fault { kind: String, message: String },
    Skipped,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Lookup {
    call: String,
    answer: String,
}
