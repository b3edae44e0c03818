//! One decision: the chain is asked policy by policy, each on a fresh instance; the first that does
//! not abstain decides, the built-in strategy ends the chain, shadows are asked afterwards.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tenure_core::decision::{
    AffinityAnswer, AffinityRequest, Decided, DecidedBy, FaultKind, Hook, SelectRequest, Selection,
    StepOutcome,
};
use tenure_core::objects::{OnFault, PolicyScope};
use tenure_core::time::Clock;

use crate::bindings::host::Level;
use crate::chain::{Installed, Table, Version, admits_namespace, admits_pool};
use crate::engine::Runtime;
use crate::fault::Fault;
use crate::guest::{Guest, View};
use crate::host::PolicyHost;
use crate::limits::Budget;
use crate::question::Question;
use crate::ring::{Answer, Step};
use crate::session::{Session, Spent};
use crate::shadow::Job;
use crate::{builtin, check, convert};

/// A hook whose whole answer comes from one policy.
pub(crate) trait Whole {
    type Answer: Clone + PartialEq + std::fmt::Debug;
    const HOOK: Hook;
    fn concerns(&self, scope: &PolicyScope) -> bool;
    fn rows(&self) -> usize;
    fn view(&self, keys: &Arc<[String]>) -> View;
    /// Calls the hook and checks the answer; `None` is "no opinion".
    fn ask(
        &self,
        session: &mut Session<'_>,
        keys: &[String],
    ) -> Result<Option<Self::Answer>, Fault>;
    fn built_in(&self) -> Self::Answer;
}

/// How asking one policy ended.
pub(crate) enum Asked<A> {
    Decided(A),
    Abstained,
    /// A fault, or not asked because the breaker is open.
    Failed,
}

/// Where instances run.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) level: Level,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The steps of a decision, as they are made.
pub(crate) struct Trail<'h> {
    pub(crate) host: &'h PolicyHost,
    /// As it stood when the ADD began.
    table: &'h Table,
    pub(crate) steps: Vec<Step>,
}

impl Whole for SelectRequest {
    type Answer = Selection;
    const HOOK: Hook = Hook::Select;

    fn concerns(&self, scope: &PolicyScope) -> bool {
        admits_namespace(scope, &self.holder)
            && (scope.pools.is_empty()
                || self.candidates.iter().any(|c| admits_pool(scope, &self.catalogue, c.pool)))
    }

    fn rows(&self) -> usize {
        convert::shown(self).len()
    }

    fn view(&self, keys: &Arc<[String]>) -> View {
        View { catalogue: self.catalogue.clone(), keys: keys.clone(), leases: None }
    }

    fn ask(&self, session: &mut Session<'_>, keys: &[String]) -> Result<Option<Selection>, Fault> {
        let (request, candidates) = convert::select(self, keys);
        check::selection(self, session.select(&request, &candidates)?)
    }

    fn built_in(&self) -> Selection {
        builtin::select(self)
    }
}

impl Whole for AffinityRequest {
    type Answer = AffinityAnswer;
    const HOOK: Hook = Hook::Affinity;

    /// No pool is chosen yet, so a limit to pools says nothing here.
    fn concerns(&self, scope: &PolicyScope) -> bool {
        admits_namespace(scope, &self.holder)
    }

    fn rows(&self) -> usize {
        self.previous.len()
    }

    fn view(&self, keys: &Arc<[String]>) -> View {
        View { catalogue: self.catalogue.clone(), keys: keys.clone(), leases: None }
    }

    fn ask(
        &self,
        session: &mut Session<'_>,
        keys: &[String],
    ) -> Result<Option<AffinityAnswer>, Fault> {
        check::affinity(self, session.affinity(&convert::affinity(self, keys))?)
    }

    fn built_in(&self) -> AffinityAnswer {
        builtin::affinity()
    }
}

/// Asks the chain of a hook whose whole answer comes from one policy.
pub(crate) fn whole<R: Whole>(
    host: &PolicyHost,
    table: &Table,
    request: &R,
    record: impl FnOnce(&R::Answer) -> (Question, Answer),
) -> Decided<R::Answer> {
    let mut trail = Trail::new(host, table);
    let (answer, by) =
        trail.first(request).unwrap_or_else(|| (request.built_in(), DecidedBy::BuiltIn));
    let shadows = trail.chain(R::HOOK, true, |scope| request.concerns(scope));
    let (question, kept) = record(&answer);
    let record = trail.finish(by.clone(), (question, kept), shadows);
    Decided { answer, by, record }
}

// === impl Trail ===

impl<'h> Trail<'h> {
    pub(crate) fn new(host: &'h PolicyHost, table: &'h Table) -> Self {
        Self { host, table, steps: Vec::new() }
    }

    /// Keeps the record, and hands it to the shadows.
    pub(crate) fn finish(
        self,
        by: DecidedBy,
        (question, answer): (Question, Answer),
        shadows: Vec<Arc<Installed>>,
    ) -> u64 {
        let host = self.host;
        // Without shadows nothing is copied.
        let copy = (!shadows.is_empty()).then(|| (question.clone(), answer.clone()));
        let record = host.ring.push(host.place.clock.wall(), by, self.steps, question, answer);
        if let Some((question, answer)) = copy {
            for shadow in shadows {
                let (question, answer) = (question.clone(), answer.clone());
                host.shadows.offer(Job { shadow, question, answer, record });
            }
        }
        record
    }

    /// The policies of a chain that `concerns` lets through, in order.
    pub(crate) fn chain(
        &self,
        hook: Hook,
        shadow: bool,
        concerns: impl Fn(&PolicyScope) -> bool,
    ) -> Vec<Arc<Installed>> {
        let chain = self.table.chain(hook, shadow);
        chain.filter(|installed| concerns(&installed.version.spec.scope)).cloned().collect()
    }

    fn first<R: Whole>(&mut self, request: &R) -> Option<(R::Answer, DecidedBy)> {
        for installed in self.chain(R::HOOK, false, |scope| request.concerns(scope)) {
            match self.ask_whole(&installed, request) {
                Asked::Decided(answer) => return Some((answer, decided_by(&installed.version))),
                Asked::Abstained => {}
                Asked::Failed if installed.version.spec.on_fault == OnFault::Next => {}
                Asked::Failed => return None,
            }
        }
        None
    }

    fn ask_whole<R: Whole>(&mut self, installed: &Arc<Installed>, request: &R) -> Asked<R::Answer> {
        let keys = installed.version.keys.clone();
        let view = request.view(&keys);
        self.ask(installed, R::HOOK, request.rows(), view, |session| request.ask(session, &keys))
    }

    /// Asks one policy and writes its step. A version that fails again and again gives way to the one before it.
    pub(crate) fn ask<A>(
        &mut self,
        installed: &Arc<Installed>,
        hook: Hook,
        rows: usize,
        view: View,
        call: impl FnOnce(&mut Session<'_>) -> Result<Option<A>, Fault>,
    ) -> Asked<A> {
        let (asked, step, opened) = ask(&self.host.place, installed, hook, rows, view, call);
        self.steps.push(step);
        if let Some(cause) = opened {
            self.host.roll_back(installed, &cause);
        }
        asked
    }
}

/// Asks one policy. Counts, and tells the breaker; if that opened it, the cause comes last.
pub(crate) fn ask<A>(
    place: &Place,
    installed: &Arc<Installed>,
    hook: Hook,
    rows: usize,
    view: View,
    call: impl FnOnce(&mut Session<'_>) -> Result<Option<A>, Fault>,
) -> (Asked<A>, Step, Option<String>) {
    let version = &installed.version;
    if !version.breaker.admits(place.clock.now()) {
        let step = step(version, StepOutcome::Skipped, Duration::ZERO, Spent::default());
        return (Asked::Failed, step, None);
    }
    let begun = Instant::now();
    let budget = version.budget(hook);
    let (result, spent) = run(place, version, &budget, rows, view, call);
    let took = begun.elapsed();
    installed.counters.decisions.fetch_add(1, Ordering::Relaxed);
    version.figures.count(spent.fuel, spent.share, took);
    let mut opened = None;
    let (outcome, asked) = match result {
        Ok(Some(answer)) => (StepOutcome::Decided, Asked::Decided(answer)),
        Ok(None) => (StepOutcome::Abstained, Asked::Abstained),
        Err(fault) => {
            opened = faulted(place, installed, hook, &fault).then(|| fault.message.clone());
            (StepOutcome::Fault { kind: fault.kind, message: fault.message }, Asked::Failed)
        }
    };
    if !matches!(asked, Asked::Failed) {
        version.breaker.succeeded();
    }
    (asked, step(version, outcome, took, spent), opened)
}

/// True if it was one fault too many.
fn faulted(place: &Place, installed: &Installed, hook: Hook, fault: &Fault) -> bool {
    let version = &installed.version;
    installed.counters.count_fault(fault.kind);
    let (policy, kind) = (version.name.as_str(), fault.kind.as_str());
    tracing::warn!(policy, kind, ?hook, "policy fault: {}", fault.message);
    // An error of its own is an answer ("I cannot decide"), not a defect that rest would cure.
    if fault.kind == FaultKind::PolicyError {
        version.breaker.succeeded();
        return false;
    }
    let opened = version.breaker.failed(place.clock.now());
    if opened {
        tracing::error!(policy, "policy breaker opened: it is not asked for a while");
    }
    opened
}

fn step(version: &Version, outcome: StepOutcome, took: Duration, spent: Spent) -> Step {
    Step {
        policy: version.name.clone(),
        digest: version.compiled.digest.clone(),
        terms: version.terms.clone(),
        outcome,
        micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        spent,
    }
}

/// A fresh instance, `init`, the hook, and the end of the instance.
pub(crate) fn run<A>(
    place: &Place,
    version: &Version,
    budget: &Budget,
    rows: usize,
    view: View,
    call: impl FnOnce(&mut Session<'_>) -> Result<A, Fault>,
) -> (Result<A, Fault>, Spent) {
    let guest = Guest::new(version.name.clone(), view, place.level, *budget);
    let mut session = match Session::open(&place.runtime, &version.compiled, guest, budget) {
        Ok(session) => session,
        Err(fault) => return (Err(fault), Spent::default()),
    };
    let result = ready(&mut session, version, budget, rows).and_then(|()| call(&mut session));
    (result, session.close())
}

fn ready(
    session: &mut Session<'_>,
    version: &Version,
    budget: &Budget,
    rows: usize,
) -> Result<(), Fault> {
    if let Err(errors) = session.init(&version.settings)? {
        let errors: Vec<String> =
            errors.iter().map(|e| format!("{}: {}", e.path, e.message)).collect();
        return Err(Fault::new(FaultKind::Init, format!("init refused: {}", errors.join("; "))));
    }
    session.refuel(budget.fuel_for(rows))
}

pub(crate) fn decided_by(version: &Version) -> DecidedBy {
    DecidedBy::Policy { name: version.name.clone(), digest: version.compiled.digest.clone() }
}
