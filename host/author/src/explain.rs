//! `tenure policy explain`: one request, and all that is to be known of the answer.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use tenure_core::decision::{FaultKind, Hook, Lookup, StepOutcome};
use tenure_core::objects::PolicyLimits;
use tenure_policy_host::{Share, checks};

use crate::error::AuthorError;
use crate::fixture_file::FixtureFile;
use crate::trial::Trial;

/// What is left to check when the answer is carried out, for which there is no store here.
const LATER: [(Hook, &str); 3] = [
    (
        Hook::Select,
        "at the ADD: the pool has an address that is free, has rested, and is not reserved",
    ),
    (
        Hook::Affinity,
        "at the ADD: each address lies in a pool that admits the pod, and is free or held for this key",
    ),
    (
        Hook::Reclaim,
        "at the sweep: nothing is taken back without proof or before a fresh look, whatever the grace",
    ),
];

/// One decision, taken apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// What the fixture shows.
    pub about: String,
    /// The hook.
    pub hook: Hook,
    /// `decided`, `abstained`, or the fault.
    pub outcome: StepOutcome,
    /// The answer, in the form of a fixture.
    pub answer: Value,
    /// Whether that is what the fixture expects.
    pub expected: bool,
    /// Fuel, and how much there was.
    pub fuel: u64,
    /// The budget of fuel for a request of this size.
    pub budget: u64,
    /// Linear memory, in bytes.
    pub memory: u64,
    /// What it asked the host, and what it heard.
    pub lookups: Vec<Lookup>,
    /// What it logged.
    pub log: Vec<String>,
    /// What the host checked of the answer, each with whether it holds; where it is a fault, the message says which did not.
    pub checks: Vec<String>,
    /// Fuel of making the instance and of `init`.
    pub init_fuel: u64,
    /// Fuel by function.
    pub functions: Vec<FunctionFuel>,
    /// Whether the component has names of functions.
    pub has_names: bool,
}

/// The fuel of one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionFuel {
    /// Its name.
    pub function: String,
    /// In it.
    pub own: u64,
    /// In it and in what it calls.
    pub within: u64,
}

/// Plays the request of a fixture and takes the decision apart.
///
/// # Errors
/// The component or the fixture cannot be read, or the host refuses the component.
pub fn explain(
    component: &Path,
    fixture: &Path,
    limits: &PolicyLimits,
) -> Result<Explained, AuthorError> {
    let file = FixtureFile::read(fixture)?;
    let trial = Trial::with_stacks(component, limits)?;
    trial.install(&file.fixture.settings)?;
    let wrong = |error: serde_json::Error| AuthorError::Document {
        path: file.path.clone(),
        why: error.to_string(),
    };
    let question = file.fixture.question().map_err(wrong)?;
    let played = file.fixture.play(&trial.host).map_err(wrong)?;
    let hook = file.fixture.hook;
    let Some(step) = played.step else {
        let why = format!("{} does not export the hook of this fixture", component.display());
        return Err(AuthorError::Wrong(why));
    };
    let profile = trial.host.profile(&trial.name, &question);
    let (init_fuel, functions) =
        profile.map(|profile| (profile.init, profile.functions)).unwrap_or_default();
    Ok(Explained {
        about: file.fixture.about.clone(),
        hook,
        expected: file.fixture.admits(&played.answer),
        checks: checked(hook, &step.outcome, &played.answer),
        answer: played.answer,
        outcome: step.outcome,
        fuel: step.fuel,
        budget: trial.budget(hook).fuel_for(question.rows()),
        memory: step.memory,
        lookups: step.lookups,
        log: step.log,
        init_fuel,
        has_names: functions.iter().any(|one| !one.function.starts_with("function ")),
        functions: functions.into_iter().map(plain).collect(),
    })
}

fn checked(hook: Hook, outcome: &StepOutcome, answer: &Value) -> Vec<String> {
    match outcome {
        StepOutcome::Fault { kind: FaultKind::BadOutput, message } => {
            vec![format!("not held: {message}")]
        }
        StepOutcome::Fault { kind, message } => {
            vec![format!("no answer to check: {}: {message}", kind.as_str())]
        }
        StepOutcome::Abstained => {
            vec!["held: it has no opinion, and there is nothing to check".to_owned()]
        }
        _ => {
            let held = checks(hook, answer).iter().map(|check| format!("held: {check}"));
            held.chain(
                LATER.iter().filter(|(of, _)| *of == hook).map(|(_, what)| (*what).to_owned()),
            )
            .collect()
        }
    }
}

fn plain(share: Share) -> FunctionFuel {
    let function = format!("{:#}", rustc_demangle::demangle(&share.function));
    FunctionFuel { function, own: share.own, within: share.within }
}
