//! One decision: the chain is asked policy by policy, each on a fresh instance; the first that does
//! not abstain decides, the built-in strategy ends the chain, shadows are asked afterwards.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tenure_core::decision::{
    AffinityAnswer, AffinityRequest, Decided, DecidedBy, FaultKind, Hook, SelectRequest, Selection,
    StepOutcome,
};
use tenure_core::objects::{OnFault, PolicyScope};

use crate::chain::{Installed, Table, Version, admits_namespace, admits_pool};
use crate::fault::Fault;
use crate::guest::{Guest, View};
use crate::host::PolicyHost;
use crate::limits::Budget;
use crate::question::Question;
use crate::ring::{Answer, Step};
use crate::session::{Session, Spent};
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

/// The steps of a decision, as they are made.
pub(crate) struct Trail<'h> {
    pub(crate) host: &'h PolicyHost,
    pub(crate) table: arc_swap::Guard<Arc<Table>>,
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
    request: &R,
    record: impl FnOnce(&R::Answer) -> (Question, Answer),
) -> Decided<R::Answer> {
    let mut trail = Trail::new(host);
    let (answer, by) =
        trail.first(request).unwrap_or_else(|| (request.built_in(), DecidedBy::BuiltIn));
    trail.shadows(request, &answer);
    let (question, kept) = record(&answer);
    let record = trail.finish(by.clone(), question, kept);
    Decided { answer, by, record }
}

// === impl Trail ===

impl<'h> Trail<'h> {
    pub(crate) fn new(host: &'h PolicyHost) -> Self {
        Self { host, table: host.table.load(), steps: Vec::new() }
    }

    pub(crate) fn finish(self, by: DecidedBy, question: Question, answer: Answer) -> u64 {
        self.host.ring.push(self.host.clock.wall(), by, self.steps, question, answer)
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

    fn shadows<R: Whole>(&mut self, request: &R, answer: &R::Answer) {
        for installed in self.chain(R::HOOK, true, |scope| request.concerns(scope)) {
            let asked = self.ask_whole(&installed, request);
            self.compare(&installed, asked, answer);
        }
    }

    /// Notes in the record what a shadow would have done.
    pub(crate) fn compare<A: PartialEq + std::fmt::Debug>(
        &mut self,
        installed: &Installed,
        asked: Asked<A>,
        answer: &A,
    ) {
        let note = match asked {
            Asked::Decided(own) if own == *answer => {
                installed.counters.agreed.fetch_add(1, Ordering::Relaxed);
                "shadow: agrees".to_owned()
            }
            Asked::Decided(own) => {
                installed.counters.differed.fetch_add(1, Ordering::Relaxed);
                crate::guest::cut(&format!("shadow: would answer {own:?}"), 1024)
            }
            Asked::Abstained | Asked::Failed => return,
        };
        if let Some(step) = self.steps.last_mut() {
            step.spent.log.push(note);
        }
    }

    /// Asks one policy and writes its step. Counts, and tells the breaker.
    pub(crate) fn ask<A>(
        &mut self,
        installed: &Arc<Installed>,
        hook: Hook,
        rows: usize,
        view: View,
        call: impl FnOnce(&mut Session<'_>) -> Result<Option<A>, Fault>,
    ) -> Asked<A> {
        let version = &installed.version;
        if !version.breaker.admits(self.host.clock.now()) {
            self.step(version, StepOutcome::Skipped, 0, Spent::default());
            return Asked::Failed;
        }
        let begun = Instant::now();
        let budget = version.budget(hook);
        let (result, spent) = run(self.host, version, &budget, rows, view, call);
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        installed.counters.decisions.fetch_add(1, Ordering::Relaxed);
        let (outcome, asked) = match result {
            Ok(Some(answer)) => (StepOutcome::Decided, Asked::Decided(answer)),
            Ok(None) => (StepOutcome::Abstained, Asked::Abstained),
            Err(fault) => {
                self.faulted(installed, hook, &fault);
                (StepOutcome::Fault { kind: fault.kind, message: fault.message }, Asked::Failed)
            }
        };
        if !matches!(asked, Asked::Failed) {
            version.breaker.succeeded();
        }
        self.step(version, outcome, micros, spent);
        asked
    }

    fn faulted(&self, installed: &Arc<Installed>, hook: Hook, fault: &Fault) {
        let version = &installed.version;
        installed.counters.count_fault(fault.kind);
        let (policy, kind) = (version.name.as_str(), fault.kind.as_str());
        tracing::warn!(policy, kind, ?hook, "policy fault: {}", fault.message);
        // An error of its own is an answer ("I cannot decide"), not a defect that rest would cure.
        if fault.kind == FaultKind::PolicyError {
            version.breaker.succeeded();
        } else if version.breaker.failed(self.host.clock.now()) {
            tracing::error!(policy, "policy breaker opened: the built-in strategy answers for it");
            self.host.roll_back(installed, &fault.message);
        }
    }

    fn step(&mut self, version: &Version, outcome: StepOutcome, micros: u64, spent: Spent) {
        self.steps.push(Step {
            policy: version.name.clone(),
            digest: version.compiled.digest.clone(),
            outcome,
            micros,
            spent,
        });
    }
}

/// A fresh instance, `init`, the hook, and the end of the instance.
pub(crate) fn run<A>(
    host: &PolicyHost,
    version: &Version,
    budget: &Budget,
    rows: usize,
    view: View,
    call: impl FnOnce(&mut Session<'_>) -> Result<A, Fault>,
) -> (Result<A, Fault>, Spent) {
    let guest = Guest::new(version.name.clone(), view, host.level, *budget);
    let mut session = match Session::open(&host.runtime, &version.compiled, guest, budget) {
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
