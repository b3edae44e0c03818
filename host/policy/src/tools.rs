//! What tools for authors ask of a component, with the engine and the limits of the daemon: what it says of itself, and
//! what parts of a decision cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tenure_core::decision::Hook;
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::PolicySpec;
use wasmtime::component::Component;

use crate::chain::Version;
use crate::error::PolicyHostError;
use crate::guest::{Guest, View};
use crate::host::PolicyHost;
use crate::load;
use crate::session::Session;

/// What a component says of itself, before it has settings.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The hooks that it exports.
    pub hooks: Vec<Hook>,
    /// The JSON Schema of its settings.
    pub settings_schema: Value,
    /// Keys of the attributes that it wants without settings of its own; they may depend on settings.
    pub attribute_keys: Vec<String>,
    /// Its digest.
    pub digest: Digest,
}

impl PolicyHost {
    /// Loads the component of `spec` up to its trial instance, and asks it. Its settings are not looked at.
    ///
    /// # Errors
    /// The stage at which it is refused, and why.
    pub fn about(&self, spec: &PolicySpec) -> Result<About, PolicyHostError> {
        let compiled = load::compiled(self, spec)?;
        let budget = load::trial_budget(spec)?;
        let name =
            ObjectName::new("about").map_err(|error| PolicyHostError::Limits(error.to_string()))?;
        let guest = Guest::new(name, View::default(), self.place.level, budget);
        let mut session = Session::open(&self.place.runtime, &compiled, guest, &budget)?;
        session.check_shapes()?;
        let said = session.describe()?;
        load::check_names(&said)?;
        let settings_schema = serde_json::from_str(&said.settings_schema).map_err(|error| {
            PolicyHostError::Description(format!("its settings schema is not JSON: {error}"))
        })?;
        Ok(About {
            name: said.name,
            version: said.version,
            hooks: compiled.hooks.clone(),
            settings_schema,
            attribute_keys: said.attribute_keys,
            digest: compiled.digest.clone(),
        })
    }

    /// How long it takes to compile these bytes, anew each time.
    ///
    /// # Errors
    /// They are no valid component.
    pub fn time_compile(&self, bytes: &[u8]) -> Result<Duration, PolicyHostError> {
        let began = Instant::now();
        let compiled = Component::new(&self.place.runtime.engine, bytes);
        let took = began.elapsed();
        compiled.map(|_| took).map_err(|error| PolicyHostError::Compile(format!("{error:#}")))
    }

    /// How long it takes to make and drop an instance of an installed policy, without calling it; none if there is no such
    /// policy.
    ///
    /// # Errors
    /// No instance can be made.
    pub fn time_instance(&self, name: &ObjectName) -> Result<Option<Duration>, PolicyHostError> {
        let Some(version) = self.version(name) else { return Ok(None) };
        let budget = load::trial_budget(&version.spec)?;
        let view = View { keys: version.keys.clone(), ..View::default() };
        let began = Instant::now();
        let guest = Guest::new(name.clone(), view, self.place.level, budget);
        drop(Session::open(&self.place.runtime, &version.compiled, guest, &budget)?.close());
        Ok(Some(began.elapsed()))
    }

    /// The attributes that an installed policy asks for.
    #[must_use]
    pub fn keys_of(&self, name: &ObjectName) -> Vec<String> {
        self.version(name).map(|version| version.keys.to_vec()).unwrap_or_default()
    }

    /// The version of a policy that serves now.
    pub(crate) fn version(&self, name: &ObjectName) -> Option<Arc<Version>> {
        self.table.load().get(name).map(|installed| installed.version.clone())
    }
}
