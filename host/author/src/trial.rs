//! One component in the engine of the daemon.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use tenure_core::decision::Hook;
use tenure_core::name::ObjectName;
use tenure_core::objects::{PolicyLimits, PolicySpec};
use tenure_core::ports::Policies as _;
use tenure_policy_host::{
    About, Budget, EngineOptions, LogLevel, PolicyHost, PolicyHostError, PolicyHostOptions,
    RingOptions,
};

use crate::clock::Still;
use crate::error::AuthorError;
use crate::face::Face;

/// Decisions are read one by one, after each.
const RECORDS: usize = 4;
/// Threads of a tool that decide at once.
const SLOTS: u32 = 4;

/// A component, its host, and nobody else.
pub struct Trial {
    pub(crate) host: PolicyHost,
    pub(crate) name: ObjectName,
    /// The file.
    pub path: PathBuf,
    spec: PolicySpec,
}

/// What the object of a policy says besides its source: `spec.settings` and `spec.limits`.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Its settings.
    pub settings: Value,
    /// Its limits.
    pub limits: PolicyLimits,
}

impl Default for Terms {
    fn default() -> Self {
        Self { settings: json!({}), limits: PolicyLimits::default() }
    }
}

/// What `tenure policy check` finds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// What shows without running it.
    pub face: Face,
    /// What it says of itself, where it can be asked.
    pub about: Option<Told>,
    /// Whether the host took it, with the settings that were given or with none.
    pub accepted: bool,
    /// The stage at which the host refuses it, as a gerund.
    pub stage: Option<String>,
    /// Why.
    pub why: Option<String>,
}

/// What a component says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The JSON Schema of its settings.
    pub settings_schema: Value,
    /// Attributes that it asks for.
    pub attribute_keys: Vec<String>,
}

// === impl Trial ===

impl Trial {
    /// With the engine of the daemon, and the limits that the object of the policy sets.
    ///
    /// # Errors
    /// The engine cannot start.
    pub fn of(path: &Path, limits: &PolicyLimits) -> Result<Self, AuthorError> {
        Self::with(path, limits, EngineOptions { slots: SLOTS, ..Default::default() })
    }

    /// With an engine that tells where a trap was.
    pub(crate) fn with_stacks(path: &Path, limits: &PolicyLimits) -> Result<Self, AuthorError> {
        Self::with(path, limits, EngineOptions { slots: SLOTS, stacks: true, ..Default::default() })
    }

    fn with(
        path: &Path,
        limits: &PolicyLimits,
        engine: EngineOptions,
    ) -> Result<Self, AuthorError> {
        let wrong = |why: String| AuthorError::Engine(why);
        let path = path.canonicalize().map_err(AuthorError::file("reading", path))?;
        let source = json!({"source": {"file": path}, "limits": limits});
        let spec = serde_json::from_value(source).map_err(|error| wrong(error.to_string()))?;
        let options = PolicyHostOptions {
            ring: RingOptions { records: RECORDS, ..RingOptions::default() },
            engine,
            // Tools show all that a policy logs.
            log_level: LogLevel::TRACE,
            ..PolicyHostOptions::default()
        };
        let host = PolicyHost::new(options, Arc::new(Still));
        let host = host.map_err(|error| wrong(error.to_string()))?;
        let name = ObjectName::new("trial").map_err(|error| wrong(error.to_string()))?;
        Ok(Self { host, name, path, spec })
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// The host refuses it.
    pub fn about(&self) -> Result<About, AuthorError> {
        self.host.about(&self.spec).map_err(|error| self.refused(error))
    }

    /// Takes it through the whole pipeline, with these settings. A breaker that was open is closed.
    ///
    /// # Errors
    /// The stage at which the host refuses it.
    pub fn install(&self, settings: &Value) -> Result<(), AuthorError> {
        let spec = PolicySpec { settings: settings.clone(), ..self.spec.clone() };
        self.host.install(&self.name, &spec).map(drop).map_err(|refusal| AuthorError::Refused {
            what: self.path.display().to_string(),
            stage: refusal.stage,
            why: refusal.why,
        })
    }

    /// What it may use for a request of this hook.
    pub(crate) fn budget(&self, hook: Hook) -> Budget {
        // Limits that cannot be were refused when it was installed.
        Budget::of(&self.spec.limits, hook).unwrap_or_else(|_| Budget::default_of(hook))
    }

    fn refused(&self, error: PolicyHostError) -> AuthorError {
        let refusal = error.refusal(&self.name);
        let what = self.path.display().to_string();
        AuthorError::Refused { what, stage: refusal.stage, why: refusal.why }
    }
}

/// Looks at a component and has the host try it.
///
/// # Errors
/// The file cannot be read, or is no component.
pub fn check(path: &Path, terms: &Terms) -> Result<Checked, AuthorError> {
    let bytes = std::fs::read(path).map_err(AuthorError::file("reading", path))?;
    let face = Face::read(&bytes)?;
    let trial = Trial::of(path, &terms.limits)?;
    // First: what was installed is not compiled again to be asked.
    let installed = trial.install(&terms.settings);
    let about = trial.about().ok().map(|about| Told {
        name: about.name,
        version: about.version,
        settings_schema: about.settings_schema,
        attribute_keys: about.attribute_keys,
    });
    let (stage, why) = match installed {
        Ok(()) => (None, None),
        Err(AuthorError::Refused { stage, why, .. }) => (Some(stage.to_owned()), Some(why)),
        Err(error) => return Err(error),
    };
    Ok(Checked { face, about, accepted: stage.is_none(), stage, why })
}
