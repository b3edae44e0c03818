//! What an operator writes about policies.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::decision::Hook;
use crate::name::{Digest, ObjectName, OciRef, PoolName};

/// `spec` of an IPAMPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicySpec {
    /// Where the component comes from.
    pub source: PolicySource,
    /// Its digest; when given, anything else is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Hooks that it shall serve; all that it exports by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Its settings, checked by its own schema and by itself.
    #[serde(default = "empty_settings")]
    pub settings: serde_json::Value,
    /// Whom it serves; everybody by default.
    #[serde(default)]
    pub scope: PolicyScope,
    /// Whether its answers count.
    #[serde(default)]
    pub mode: PolicyMode,
    /// How it is asked in shadow mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowSpec>,
    /// Its budget.
    #[serde(default)]
    pub limits: PolicyLimits,
    /// What follows a fault.
    #[serde(default)]
    pub on_fault: OnFault,
    /// Place in the chain among equally specific policies: higher first.
    #[serde(default)]
    pub priority: i32,
}

impl PolicySpec {
    /// Digest of what a component decides by besides the request: its settings and its limits.
    #[must_use]
    pub fn terms(&self) -> Digest {
        // Strings, numbers and JSON: writing them cannot fail.
        Digest::of(&serde_json::to_vec(&(&self.settings, &self.limits)).unwrap_or_default())
    }
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum PolicySource {
    /// A component shipped in the policy folder beside the binaries, by its name.
    Bundled(String),
    /// A file on the machine of the daemon.
    File(PathBuf),
    /// An artifact in an OCI registry, fetched when it is applied and kept from then on.
    Oci(OciRef),
}

/// Whom a policy serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicyScope {
    /// Namespaces of holders; all if empty.
    pub namespaces: Vec<String>,
    /// Pools: a `select` or `reclaim` policy is asked only where one of them is concerned; all if empty.
    pub pools: Vec<PoolName>,
}

/// Whether a policy's answers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// It decides.
    #[default]
    Active,
    /// It is asked, compared and recorded, and changes nothing.
    Shadow,
}

/// How a policy in shadow mode is asked: beside the requests, never before an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ShadowSpec {
    /// The policy that it shall replace when it is promoted; itself by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<ObjectName>,
    /// Share of the requests in percent, 1 to 100.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    pub percent: u8,
}

impl Default for ShadowSpec {
    fn default() -> Self {
        Self { of: None, percent: 100 }
    }
}

/// The budget of a policy. Each has a default and a maximum; more than the maximum is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicyLimits {
    /// Fuel of a call, before the share per row of input.
    pub fuel: Option<u64>,
    /// Fuel per row of input.
    pub fuel_per_row: Option<u64>,
    /// Wall time of a call in milliseconds.
    pub deadline_ms: Option<u32>,
    /// Memory in KiB, over all memories of the component.
    pub memory_kib: Option<u32>,
    /// Log lines of a call.
    pub log_lines: Option<u32>,
    /// Look-ups of a call.
    pub lookups: Option<u32>,
}

/// What follows a fault. The ADD is answered in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum OnFault {
    /// The built-in strategy answers.
    #[default]
    BuiltIn,
    /// The next policy of the chain is asked, then the built-in strategy.
    Next,
}

fn empty_settings() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}
