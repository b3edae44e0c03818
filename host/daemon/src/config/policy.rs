//! The table `[policy]`: who must vouch for modules, and how registries are reached.

use std::path::PathBuf;

use serde::Deserialize;
use tenure_trust::{Trust, TrustError, TrustSettings};

/// Policies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct PolicySettings {
    /// Whose signatures a module needs; without this table every module is admitted.
    pub(crate) trust: Option<TrustSettings>,
    /// Where `oci:` sources come from.
    pub(crate) registry: RegistrySettings,
}

/// How registries are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RegistrySettings {
    /// Names and passwords in the format of Docker's `config.json`; nobody in particular calls by default.
    pub(crate) docker_config: Option<PathBuf>,
    /// Host and port of those that speak plain HTTP; those on loopback do unless `ca` is set.
    pub(crate) plain_http: Vec<String>,
    /// The only CAs to trust, in PEM; those of the system by default.
    pub(crate) ca: Option<PathBuf>,
}

// === impl PolicySettings ===

impl PolicySettings {
    /// The rules of trust, with their keys read.
    pub(crate) fn trust(&self) -> Result<Option<Trust>, TrustError> {
        self.trust.as_ref().map(Trust::new).transpose()
    }
}
