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
    status: Option<PolicyStatus>,
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
    last_refusal: Option<String>,
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
