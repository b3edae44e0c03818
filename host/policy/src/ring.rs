//! The bounded decision ring. Writing is cheap (an `Arc` and a push); JSON is made only when
//! somebody reads.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tenure_core::decision::{
    AffinityAnswer, DecidedBy, DecisionRecord, DecisionStep, Selection, StepOutcome, Verdict,
};
use tenure_core::name::{Digest, ObjectName};
use tenure_core::time::WallMs;

use crate::question::Question;
use crate::session::Spent;

/// Bounds of the ring; the older records leave.
#[derive(Debug, Clone, Copy)]
pub struct RingOptions {
    /// Most records.
    pub records: usize,
    /// Most memory, by estimate: a `reclaim` request of 1000 rows weighs half a MiB.
    pub bytes: usize,
}

/// The ring. Written by every decision, read by `explain`.
pub(crate) struct Ring {
    options: RingOptions,
    inner: Mutex<Inner>,
}

struct Inner {
    next: u64,
    bytes: usize,
    entries: VecDeque<Arc<Entry>>,
}

/// An answer as it was given back.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Select(Selection),
    Affinity(AffinityAnswer),
    Reclaim(Vec<Verdict>),
}

/// What one policy of the chain did.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) policy: ObjectName,
    pub(crate) digest: Digest,
    pub(crate) terms: Digest,
    pub(crate) outcome: StepOutcome,
    pub(crate) micros: u64,
    pub(crate) spent: Spent,
}

/// One decision.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: WallMs,
    pub(crate) by: DecidedBy,
    pub(crate) steps: Vec<Step>,
    pub(crate) question: Question,
    pub(crate) answer: Answer,
    id: u64,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self { records: 1024, bytes: 16 << 20 }
    }
}

// === impl Ring ===

impl Ring {
    pub(crate) fn new(options: RingOptions) -> Self {
        let inner = Inner { next: 1, bytes: 0, entries: VecDeque::new() };
        Self { options, inner: Mutex::new(inner) }
    }

    /// Keeps a decision and numbers it.
    pub(crate) fn push(
        &self,
        at: WallMs,
        by: DecidedBy,
        steps: Vec<Step>,
        question: Question,
        answer: Answer,
    ) -> u64 {
        let mut entry = Entry { at, by, steps, question, answer, id: 0 };
        let weight = entry.weight();
        let mut inner = self.inner.lock();
        entry.id = inner.next;
        inner.next += 1;
        inner.bytes += weight;
        inner.entries.push_back(Arc::new(entry));
        let id = inner.next - 1;
        while inner.entries.len() > self.options.records
            || (inner.bytes > self.options.bytes && inner.entries.len() > 1)
        {
            let Some(oldest) = inner.entries.pop_front() else { break };
            inner.bytes = inner.bytes.saturating_sub(oldest.weight());
        }
        id
    }

    /// Adds what a shadow did, if the decision is still there.
    pub(crate) fn add_step(&self, id: u64, step: Step) {
        let mut inner = self.inner.lock();
        let Some(oldest) = inner.entries.front().map(|entry| entry.id) else { return };
        // Numbers grow by one, and only the oldest leave.
        let at = id.checked_sub(oldest).and_then(|at| usize::try_from(at).ok());
        let weight = step.weight();
        let Some(entry) = at.and_then(|at| inner.entries.get_mut(at)) else { return };
        Arc::make_mut(entry).steps.push(step);
        inner.bytes += weight;
    }

    /// The newest first.
    pub(crate) fn newest(&self, limit: usize) -> Vec<DecisionRecord> {
        let entries: Vec<Arc<Entry>> =
            self.inner.lock().entries.iter().rev().take(limit).cloned().collect();
        entries.iter().map(|entry| entry.record()).collect()
    }
}

// === impl Entry ===

impl Entry {
    /// Bytes, by estimate: exact enough for a bound on memory.
    fn weight(&self) -> usize {
        self.question.weight() + self.steps.iter().map(Step::weight).sum::<usize>() + 512
    }

    fn record(&self) -> DecisionRecord {
        DecisionRecord {
            id: self.id,
            at: self.at,
            hook: self.question.hook(),
            by: self.by.clone(),
            steps: self.steps.iter().map(Step::to_public).collect(),
            request: self.question.shown(),
            answer: match &self.answer {
                Answer::Select(selection) => json(selection),
                Answer::Affinity(answer) => json(answer),
                Answer::Reclaim(verdicts) => json(verdicts),
            },
        }
    }
}

impl Step {
    fn weight(&self) -> usize {
        let log: usize = self.spent.log.iter().map(|line| line.len() + 24).sum();
        256 + log + self.spent.lookups.len() * 96
    }

    fn to_public(&self) -> DecisionStep {
        DecisionStep {
            policy: self.policy.clone(),
            digest: self.digest.clone(),
            terms: Some(self.terms.clone()),
            outcome: self.outcome.clone(),
            fuel: self.spent.fuel,
            memory: u64::try_from(self.spent.memory).unwrap_or(u64::MAX),
            micros: self.micros,
            lookups: self.spent.lookups.iter().map(crate::guest::Looked::to_lookup).collect(),
            log: self.spent.log.clone(),
        }
    }
}

/// The types hold strings, numbers and lists only, so that writing them cannot fail.
fn json(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}
