//! `reclaim`, which is batched: each row goes down the chain by itself until a policy has an opinion
//! on it. A policy is asked once, for the rows of its scope that are still open.

use std::sync::Arc;

use tenure_core::decision::{
    Decided, DecidedBy, Hook, MAX_RECLAIM_ROWS, ReclaimRequest, Suspect, Verdict,
};
use tenure_core::objects::{OnFault, PolicyScope};

use crate::chain::{Installed, admits_namespace, admits_pool};
use crate::decide::{Asked, Trail, decided_by};
use crate::guest::View;
use crate::host::PolicyHost;
use crate::question::Question;
use crate::ring::Answer;
use crate::{builtin, check, convert};

/// What is known of one row so far.
#[derive(Clone, Copy)]
enum Row {
    Open,
    /// A policy failed on it; only an opinion of a later one can help it.
    Faulted,
    /// No later policy is asked about it.
    Closed,
    Judged(Verdict),
}

/// Asks the chain.
pub(crate) fn reclaim(host: &PolicyHost, request: &ReclaimRequest) -> Decided<Vec<Verdict>> {
    let request = Arc::new(request.clone());
    let mut trail = Trail::new(host);
    let mut rows = vec![Row::Open; request.leases.len()];
    let mut by = DecidedBy::BuiltIn;
    for installed in trail.chain(Hook::Reclaim, false, |_| true) {
        let asked = open_rows(&request, &rows, &installed.version.spec.scope);
        if asked.is_empty() {
            continue;
        }
        let outcome = ask(&mut trail, &installed, &request, &asked);
        let decided = apply(&mut rows, &asked, outcome, installed.version.spec.on_fault);
        if decided && by == DecidedBy::BuiltIn {
            by = decided_by(&installed.version);
        }
    }
    let answer: Vec<Verdict> =
        rows.iter().zip(&request.leases).map(|(row, lease)| row.verdict(lease)).collect();
    shadows(&mut trail, &request, &answer);
    let record =
        trail.finish(by.clone(), Question::Reclaim(request), Answer::Reclaim(answer.clone()));
    Decided { answer, by, record }
}

fn ask(
    trail: &mut Trail<'_>,
    installed: &Arc<Installed>,
    request: &Arc<ReclaimRequest>,
    rows: &Arc<[usize]>,
) -> Asked<Vec<Option<Verdict>>> {
    let view = View {
        catalogue: request.catalogue.clone(),
        keys: installed.version.keys.clone(),
        leases: Some((request.clone(), rows.clone())),
    };
    trail.ask(installed, Hook::Reclaim, rows.len(), view, |session| {
        check::verdicts(rows.len(), session.reclaim(&convert::reclaim(request, rows))?)
    })
}

/// The rows that a policy is asked about: not yet judged, in its scope, at most as many as it may get.
fn open_rows(request: &ReclaimRequest, rows: &[Row], scope: &PolicyScope) -> Arc<[usize]> {
    let in_scope = |lease: &Suspect| {
        admits_namespace(scope, &lease.holder) && admits_pool(scope, &request.catalogue, lease.pool)
    };
    let open = rows
        .iter()
        .zip(&request.leases)
        .enumerate()
        .filter(|(_, (row, lease))| matches!(row, Row::Open | Row::Faulted) && in_scope(lease));
    open.map(|(at, _)| at).take(MAX_RECLAIM_ROWS).collect()
}

/// Writes one policy's outcome into the rows. True if it judged any.
fn apply(
    rows: &mut [Row],
    asked: &[usize],
    outcome: Asked<Vec<Option<Verdict>>>,
    on_fault: OnFault,
) -> bool {
    let mut decided = false;
    let mut write = |at: &usize, to: Row| {
        if let Some(row) = rows.get_mut(*at) {
            *row = to;
        }
    };
    match outcome {
        Asked::Abstained => {}
        Asked::Failed => {
            let to = if on_fault == OnFault::Next { Row::Faulted } else { Row::Closed };
            asked.iter().for_each(|at| write(at, to));
        }
        Asked::Decided(verdicts) => {
            for (at, verdict) in asked.iter().zip(verdicts) {
                let Some(verdict) = verdict else { continue };
                decided = true;
                write(at, Row::Judged(verdict));
            }
        }
    }
    decided
}

/// Shadows judge all rows of their scope; only those are compared.
fn shadows(trail: &mut Trail<'_>, request: &Arc<ReclaimRequest>, answer: &[Verdict]) {
    let open = vec![Row::Open; request.leases.len()];
    for installed in trail.chain(Hook::Reclaim, true, |_| true) {
        let rows = open_rows(request, &open, &installed.version.spec.scope);
        if rows.is_empty() {
            continue;
        }
        let asked = ask(trail, &installed, request, &rows);
        let ours: Vec<Option<Verdict>> = match &asked {
            Asked::Decided(theirs) => rows
                .iter()
                .zip(theirs)
                .map(|(at, their)| their.and_then(|_| answer.get(*at).copied()))
                .collect(),
            Asked::Abstained | Asked::Failed => Vec::new(),
        };
        trail.compare(&installed, asked, &ours);
    }
}

// === impl Row ===

impl Row {
    fn verdict(self, lease: &Suspect) -> Verdict {
        match self {
            Self::Judged(verdict) => verdict,
            Self::Open => builtin::verdict(lease),
            Self::Faulted | Self::Closed => builtin::cautious_verdict(),
        }
    }
}
