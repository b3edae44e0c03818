//! Where the fuel of one decision goes, by function.
//!
//! Fuel is deterministic, so a decision that is given less of it ends at the same place each time: at the place where that
//! much was used up. Played with every amount, or with evenly spaced ones, the places where it ends are the profile. No
//! instrumentation, no clock, and the same answer each time. wasmtime looks at the fuel where a function or a turn of a loop
//! begins, so a stretch of code before that counts for what comes next.

use std::collections::{BTreeMap, BTreeSet};

use tenure_core::decision::FaultKind;
use tenure_core::name::ObjectName;

use crate::chain::Version;
use crate::decide::Whole;
use crate::fault::Fault;
use crate::guest::{Guest, View};
use crate::host::PolicyHost;
use crate::limits::Budget;
use crate::load::TRIAL_TIME;
use crate::question::Question;
use crate::session::Session;
use crate::{check, convert};

/// A part of a decision is played with so many amounts of fuel at most.
const SAMPLES: u64 = 2_000;

/// Where fuel goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Fuel of making the instance and of `init`.
    pub init: u64,
    /// Fuel of the hook.
    pub hook: u64,
    /// By function, the most costly first.
    pub functions: Vec<Share>,
}

/// The part of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its name; `function 12` where the component has none.
    pub function: String,
    /// Fuel used in it.
    pub own: u64,
    /// Fuel used in it and in what it calls.
    pub within: u64,
}

/// What is given less fuel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Init,
    Hook,
}

impl PolicyHost {
    /// Profiles an installed policy on one request; none if there is no such policy. The engine must keep stacks
    /// (`EngineOptions::stacks`), else nothing has a name.
    #[must_use]
    pub fn profile(&self, name: &ObjectName, question: &Question) -> Option<Profile> {
        let version = self.version(name)?;
        let ample = version.budget(question.hook());
        let (init, hook) = used(self, &version, question, &ample);
        let mut shares: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (part, fuel) in [(Part::Init, init), (Part::Hook, hook)] {
            let step = fuel.div_ceil(SAMPLES).max(1);
            for given in (0..fuel).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
                let weight = step.min(fuel - given);
                count(&mut shares, &stack(self, &version, question, (part, given)), weight);
            }
        }
        let share = |(function, (own, within))| Share { function, own, within };
        let mut functions: Vec<Share> = shares.into_iter().map(share).collect();
        functions
            .sort_by(|a, b| (b.own, b.within, &a.function).cmp(&(a.own, a.within, &b.function)));
        Some(Profile { init, hook, functions })
    }
}

fn count(shares: &mut BTreeMap<String, (u64, u64)>, stack: &[String], weight: u64) {
    if let Some(innermost) = stack.first() {
        shares.entry(innermost.clone()).or_default().0 += weight;
    }
    // Once, however deep it recurses.
    for function in stack.iter().collect::<BTreeSet<_>>() {
        shares.entry(function.clone()).or_default().1 += weight;
    }
}

/// Fuel of both parts, with enough of it.
fn used(host: &PolicyHost, version: &Version, question: &Question, ample: &Budget) -> (u64, u64) {
    let budget = Budget { deadline: TRIAL_TIME, ..*ample };
    let guest = Guest::new(version.name.clone(), view(version, question), host.place.level, budget);
    let Ok(mut session) = Session::open(&host.place.runtime, &version.compiled, guest, &budget)
    else {
        return (0, 0);
    };
    if !matches!(session.init(&version.settings), Ok(Ok(()))) {
        return (session.used(), 0);
    }
    let init = session.used();
    if session.refuel(budget.fuel_for(question.rows())).is_ok() {
        // A fault costs fuel as well.
        let _ = call(&mut session, version, question);
    }
    (init, session.used().saturating_sub(init))
}

/// The functions in which it ends if one part is given so much fuel.
fn stack(
    host: &PolicyHost,
    version: &Version,
    question: &Question,
    (part, fuel): (Part, u64),
) -> Vec<String> {
    let ample = Budget { deadline: TRIAL_TIME, ..version.budget(question.hook()) };
    let first = if part == Part::Init { fuel } else { ample.fuel };
    let budget = Budget { fuel: first, ..ample };
    let guest = Guest::new(version.name.clone(), view(version, question), host.place.level, budget);
    let ended = (|| -> Result<(), Fault> {
        let mut session = Session::open(&host.place.runtime, &version.compiled, guest, &budget)?;
        let refused = session.init(&version.settings)?.is_err();
        if refused || part == Part::Init {
            return Ok(());
        }
        session.refuel(fuel)?;
        call(&mut session, version, question)
    })();
    match ended {
        Err(fault) if fault.kind == FaultKind::Fuel => fault.stack,
        _ => Vec::new(),
    }
}

fn view(version: &Version, question: &Question) -> View {
    match question {
        Question::Select(request) => request.view(&version.keys),
        Question::Affinity(request) => request.view(&version.keys),
        Question::Reclaim(request) => View {
            catalogue: request.catalogue.clone(),
            keys: version.keys.clone(),
            leases: Some((request.clone(), (0..request.leases.len()).collect())),
        },
    }
}

fn call(session: &mut Session<'_>, version: &Version, question: &Question) -> Result<(), Fault> {
    match question {
        Question::Select(request) => request.ask(session, &version.keys).map(drop),
        Question::Affinity(request) => request.ask(session, &version.keys).map(drop),
        Question::Reclaim(request) => {
            let rows: Vec<usize> = (0..request.leases.len()).collect();
            let decision = session.reclaim(&convert::reclaim(request, &rows))?;
            check::verdicts(rows.len(), decision).map(drop)
        }
    }
}
