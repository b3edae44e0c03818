//! The load pipeline. Each stage may refuse, and until the last one has passed nothing changes: the
//! version that serves goes on serving.
//!
//! ```text
//! read -> digest -> trust -> recognise -> imports, exports -> compile -> trial instance: shapes, describe,
//!   schema, validate-settings, init, describe again -> smoke requests -> (the host swaps)
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tenure_core::decision::Hook;
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::PolicySpec;

use crate::bindings::lifecycle_types::Description;
use crate::bindings::types::FieldError;
use crate::breaker::Breaker;
use crate::chain::Version;
use crate::error::PolicyHostError;
use crate::figures::Figures;
use crate::guest::{Guest, View};
use crate::host::PolicyHost;
use crate::limits::{Budget, SETTINGS_BYTES};
use crate::outline::Outline;
use crate::session::{Compiled, Session};
use crate::{settings, smoke, source, trust};

/// How long a trial may take: on a busy machine, and with everything cold.
pub(crate) const TRIAL_TIME: Duration = Duration::from_secs(2);
/// Most attributes that a policy may ask for.
const KEYS: usize = 64;
/// Longest name that a component may give itself, and its version.
const NAME_BYTES: usize = 128;
/// Where attributes come from.
const KEY_SOURCES: [&str; 6] = [
    "pod.label/",
    "pod.annotation/",
    "namespace.label/",
    "namespace.annotation/",
    "node.label/",
    "cni.args/",
];

type Result<T> = std::result::Result<T, PolicyHostError>;

/// A version that may serve, and its component.
pub(crate) struct Loaded {
    pub(crate) version: Version,
    pub(crate) component: Vec<u8>,
    /// What lay beside it.
    pub(crate) signatures: Vec<u8>,
}

/// What the trial instance said.
struct Trial {
    description: Description,
    keys: Vec<String>,
}

/// Takes a policy through the pipeline.
pub(crate) fn load(host: &PolicyHost, name: &ObjectName, spec: &PolicySpec) -> Result<Loaded> {
    check_figures(spec)?;
    load_from(host, name, spec, source::read(&host.folders, spec)?)
}

/// The same from bytes that were read.
pub(crate) fn load_from(
    host: &PolicyHost,
    name: &ObjectName,
    spec: &PolicySpec,
    (path, component): (PathBuf, Vec<u8>),
) -> Result<Loaded> {
    check_figures(spec)?;
    let compiled = compiled_from(host, spec, (&path, &component))?;
    let hooks = hooks(spec, &compiled)?;
    let settings = spec.settings.to_string();
    if settings.len() > SETTINGS_BYTES {
        return Err(PolicyHostError::SettingsTooLong(settings.len()));
    }
    let trial = try_out(host, name, spec, &compiled, &settings)?;
    let version = Version {
        name: name.clone(),
        spec: spec.clone(),
        terms: spec.terms(),
        compiled,
        settings,
        keys: trial.keys.into(),
        hooks,
        component: (trial.description.name, trial.description.version),
        breaker: Breaker::default(),
        figures: Figures::default(),
    };
    smoke::test(host, &version)?;
    Ok(Loaded { version, component, signatures: trust::beside(&path) })
}

/// Figures that can be judged without the component.
fn check_figures(spec: &PolicySpec) -> Result<()> {
    Budget::of(&spec.limits, Hook::Select).map_err(PolicyHostError::Limits)?;
    match &spec.shadow {
        Some(shadow) if !(1..=100).contains(&shadow.percent) => Err(PolicyHostError::Limits(
            format!("spec.shadow.percent is {}; it must lie between 1 and 100", shadow.percent),
        )),
        _ => Ok(()),
    }
}

/// The component of a policy as far as it is compiled.
pub(crate) fn compiled(host: &PolicyHost, spec: &PolicySpec) -> Result<Arc<Compiled>> {
    let (path, bytes) = source::read(&host.folders, spec)?;
    compiled_from(host, spec, (&path, &bytes))
}

/// Policies of one digest share the compiled code.
fn compiled_from(
    host: &PolicyHost,
    spec: &PolicySpec,
    (path, bytes): (&Path, &[u8]),
) -> Result<Arc<Compiled>> {
    let found = Digest::of(bytes);
    if let Some(wanted) = spec.digest.clone().filter(|wanted| *wanted != found) {
        return Err(PolicyHostError::Digest { found, wanted });
    }
    // Also of what is compiled already: it may have come from a source that needs no signature.
    trust::check(host.trust.as_ref(), (&spec.source, path), &found)?;
    if let Some(compiled) = host.compiled(&found) {
        return Ok(compiled);
    }
    let outline = Outline::read(bytes)?;
    outline.check_imports()?;
    let hooks = outline.hooks()?;
    let component = host.code.component(&host.place.runtime, &found, bytes)?;
    let pre = host
        .place
        .runtime
        .linker
        .instantiate_pre(&component)
        .map_err(|error| PolicyHostError::Compile(format!("it cannot be linked: {error:#}")))?;
    Compiled::new(found, hooks, pre).map(Arc::new)
}

fn hooks(spec: &PolicySpec, compiled: &Compiled) -> Result<Vec<Hook>> {
    if let Some(wanted) = spec.hooks.iter().find(|hook| !compiled.hooks.contains(hook)) {
        let exported = compiled.hooks.clone();
        return Err(PolicyHostError::HookMissing { wanted: *wanted, exported });
    }
    Ok(if spec.hooks.is_empty() { compiled.hooks.clone() } else { spec.hooks.clone() })
}

/// `describe` is asked twice: before `init` for the schema, after it for the attribute keys, which
/// may depend on the settings.
fn try_out(
    host: &PolicyHost,
    name: &ObjectName,
    spec: &PolicySpec,
    compiled: &Compiled,
    text: &str,
) -> Result<Trial> {
    let budget = trial_budget(spec)?;
    let guest = Guest::new(name.clone(), View::default(), host.place.level, budget);
    let mut session = Session::open(&host.place.runtime, compiled, guest, &budget)?;
    session.check_shapes()?;
    let description = session.describe()?;
    check_names(&description)?;
    settings::check(&description.settings_schema, &spec.settings)?;
    session.refuel(budget.fuel)?;
    let errors = lines(&session.validate(text)?);
    if !errors.is_empty() {
        return Err(PolicyHostError::Settings(errors));
    }
    session.refuel(budget.fuel)?;
    if let Err(errors) = session.init(text)? {
        return Err(PolicyHostError::SettingsLie(lines(&errors)));
    }
    let keys = session.describe()?.attribute_keys;
    check_keys(&keys)?;
    Ok(Trial { description, keys })
}

/// The budget of an instance that decides nothing.
pub(crate) fn trial_budget(spec: &PolicySpec) -> Result<Budget> {
    let budget = Budget::of(&spec.limits, Hook::Select).map_err(PolicyHostError::Limits)?;
    Ok(Budget { deadline: TRIAL_TIME, ..budget })
}

fn lines(errors: &[FieldError]) -> Vec<String> {
    let told = errors.iter().take(settings::ERRORS);
    told.map(|error| settings::line(&error.path, &error.message)).collect()
}

pub(crate) fn check_names(description: &Description) -> Result<()> {
    for (what, text) in [("name", &description.name), ("version", &description.version)] {
        if !(1..=NAME_BYTES).contains(&text.len()) || text.chars().any(char::is_control) {
            return Err(PolicyHostError::Description(format!(
                "its {what} has {} bytes; it must have 1 to {NAME_BYTES} and no control characters",
                text.len()
            )));
        }
    }
    Ok(())
}

/// A misspelt source would be a policy that silently sees nothing.
fn check_keys(keys: &[String]) -> Result<()> {
    if keys.len() > KEYS {
        let why = format!("it asks for {} attributes, at most {KEYS}", keys.len());
        return Err(PolicyHostError::Description(why));
    }
    let known = |key: &str| {
        KEY_SOURCES
            .iter()
            .any(|source| key.strip_prefix(source).is_some_and(|rest| !rest.is_empty()))
    };
    match keys.iter().find(|key| !known(key)) {
        None => Ok(()),
        Some(key) => Err(PolicyHostError::Description(format!(
            "it asks for the attribute {key:?}; a key is one of {} followed by a name",
            KEY_SOURCES.join(", ")
        ))),
    }
}
