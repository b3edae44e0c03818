//! The load pipeline. Each stage may refuse, and until the last one has passed nothing changes: the
//! version that serves goes on serving.
//!
//! ```text
//! read -> digest -> trust -> recognise -> imports, exports -> compile -> trial instance: shapes, describe,
//!   schema, validate-settings, init, describe again -> smoke requests -> (the host swaps)
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tenure_core::decision::Hook;
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::PolicySpec;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::bindings::lifecycle_types::Description;
use crate::bindings::types::FieldError;
use crate::breaker::Breaker;
use crate::chain::Version;
use crate::error::PolicyHostError;
use crate::guest::{Guest, View};
use crate::host::PolicyHost;
use crate::limits::{Budget, SETTINGS_BYTES};
use crate::outline::Outline;
use crate::session::{Compiled, Session};
use crate::{settings, smoke, source, trust};

/// How long a compilation may take; the largest component takes some 10 s.
const COMPILE_TIME: Duration = Duration::from_secs(60);
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

type Loaded<T> = Result<T, PolicyHostError>;

/// What the trial instance said.
struct Trial {
    description: Description,
    keys: Vec<String>,
}

/// Takes a policy through the pipeline.
pub(crate) fn load(host: &PolicyHost, name: &ObjectName, spec: &PolicySpec) -> Loaded<Version> {
    Budget::of(&spec.limits, Hook::Select).map_err(PolicyHostError::Limits)?;
    let compiled = compiled(host, spec)?;
    let hooks = hooks(spec, &compiled)?;
    let settings = spec.settings.to_string();
    if settings.len() > SETTINGS_BYTES {
        return Err(PolicyHostError::SettingsTooLong(settings.len()));
    }
    let trial = try_out(host, name, spec, &compiled, &settings)?;
    let version = Version {
        name: name.clone(),
        spec: spec.clone(),
        compiled,
        settings,
        keys: trial.keys.into(),
        hooks,
        component: (trial.description.name, trial.description.version),
        breaker: Breaker::default(),
    };
    smoke::test(host, &version)?;
    Ok(version)
}

/// Policies of one digest share the compiled code.
pub(crate) fn compiled(host: &PolicyHost, spec: &PolicySpec) -> Loaded<Arc<Compiled>> {
    let (path, bytes) = source::read(&host.folders, spec)?;
    let found = Digest::of(&bytes);
    if let Some(wanted) = spec.digest.clone().filter(|wanted| *wanted != found) {
        return Err(PolicyHostError::Digest { found, wanted });
    }
    // Also of what is compiled already: it may have come from a source that needs no signature.
    trust::check(host.trust.as_ref(), (&spec.source, &path), &found)?;
    if let Some(compiled) = host.compiled(&found) {
        return Ok(compiled);
    }
    let outline = Outline::read(&bytes)?;
    outline.check_imports()?;
    let hooks = outline.hooks()?;
    let component = compile(&host.runtime.engine, bytes, &host.compiling)?;
    let pre = host
        .runtime
        .linker
        .instantiate_pre(&component)
        .map_err(|error| PolicyHostError::Compile(format!("it cannot be linked: {error:#}")))?;
    Compiled::new(found, hooks, pre).map(Arc::new)
}

/// On a thread of its own, because a compilation cannot be interrupted. One that never ends keeps
/// its thread, and `busy` makes sure that it is the only one.
fn compile(engine: &Engine, bytes: Vec<u8>, busy: &Arc<AtomicBool>) -> Loaded<Component> {
    let failed = |why: String| PolicyHostError::Compile(why);
    if busy.swap(true, Ordering::AcqRel) {
        return Err(failed("an earlier compilation still runs; try again later".to_owned()));
    }
    let (done, result) = mpsc::sync_channel(1);
    let (engine, flag) = (engine.clone(), busy.clone());
    let work = move || {
        let compiled = catch_unwind(AssertUnwindSafe(|| Component::new(&engine, &bytes)));
        // First, because whoever gets the result may compile again at once.
        flag.store(false, Ordering::Release);
        // The receiver may have given up.
        let _ = done.send(compiled);
    };
    if let Err(error) = std::thread::Builder::new().name("policy-compile".into()).spawn(work) {
        busy.store(false, Ordering::Release);
        return Err(failed(format!("no thread for the compiler: {error}")));
    }
    match result.recv_timeout(COMPILE_TIME) {
        Ok(Ok(Ok(component))) => Ok(component),
        Ok(Ok(Err(error))) => Err(failed(format!("it is not valid: {error:#}"))),
        Ok(Err(_)) => Err(failed("the compiler panicked; report the component".to_owned())),
        Err(_) => Err(failed(format!("the compiler did not end within {COMPILE_TIME:?}"))),
    }
}

fn hooks(spec: &PolicySpec, compiled: &Compiled) -> Loaded<Vec<Hook>> {
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
) -> Loaded<Trial> {
    let budget = trial_budget(spec)?;
    let guest = Guest::new(name.clone(), View::default(), host.level, budget);
    let mut session = Session::open(&host.runtime, compiled, guest, &budget)?;
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
pub(crate) fn trial_budget(spec: &PolicySpec) -> Loaded<Budget> {
    let budget = Budget::of(&spec.limits, Hook::Select).map_err(PolicyHostError::Limits)?;
    Ok(Budget { deadline: TRIAL_TIME, ..budget })
}

fn lines(errors: &[FieldError]) -> Vec<String> {
    let told = errors.iter().take(settings::ERRORS);
    told.map(|error| settings::line(&error.path, &error.message)).collect()
}

pub(crate) fn check_names(description: &Description) -> Loaded<()> {
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
fn check_keys(keys: &[String]) -> Loaded<()> {
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
