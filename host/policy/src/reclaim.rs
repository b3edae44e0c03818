//! `reclaim`, which is batched: each row goes down the chain by itself until a policy has an opinion
//! on it. A policy is asked once, for the rows of its scope that are still open.

use std::sync::Arc;

use tenure_core::decision::{
    Decided, DecidedBy, Hook, MAX_RECLAIM_ROWS, ReclaimRequest, Suspect, Verdict,
};
use tenure_core::objects::{OnFault, PolicyScope};

use crate::chain::{Installed, admits_namespace, admits_pool};
use crate::decide::{self, Asked, Place, Trail, decided_by};
use crate::guest::View;
use crate::host::PolicyHost;
use crate::question::Question;
use crate::ring::{Answer, Step};
use crate::{builtin, check, convert};

/// One per row that was asked about; none where there is no opinion.
pub(crate) type Opinions = Vec<Option<Verdict>>;

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
    let table = host.table.load();
    let mut trail = Trail::new(host, &table);
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
    let shadows = trail.chain(Hook::Reclaim, true, |_| true);
    let kept = (Question::Reclaim(request), Answer::Reclaim(answer.clone()));
    let record = trail.finish(by.clone(), kept, shadows);
    Decided { answer, by, record }
}

fn ask(
    trail: &mut Trail<'_>,
    installed: &Arc<Installed>,
    request: &Arc<ReclaimRequest>,
    rows: &Arc<[usize]>,
) -> Asked<Opinions> {
    let view = view(installed, request, rows);
    trail.ask(installed, Hook::Reclaim, rows.len(), view, |session| {
        check::verdicts(rows.len(), session.reclaim(&convert::reclaim(request, rows))?)
    })
}

fn view(installed: &Installed, request: &Arc<ReclaimRequest>, rows: &Arc<[usize]>) -> View {
    View {
        catalogue: request.catalogue.clone(),
        keys: installed.version.keys.clone(),
        leases: Some((request.clone(), rows.clone())),
    }
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
fn apply(rows: &mut [Row], asked: &[usize], outcome: Asked<Opinions>, on_fault: OnFault) -> bool {
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

/// What a shadow said, and what was answered to the rows that it has an opinion on. It judges all rows of its scope; none
/// if there are none.
pub(crate) fn as_shadow(
    place: &Place,
    shadow: &Arc<Installed>,
    request: &Arc<ReclaimRequest>,
    answer: &[Verdict],
) -> Option<(Asked<Opinions>, Step, Opinions)> {
    let open = vec![Row::Open; request.leases.len()];
    let rows = open_rows(request, &open, &shadow.version.spec.scope);
    if rows.is_empty() {
        return None;
    }
    let view = view(shadow, request, &rows);
    let (asked, step, _) = decide::ask(place, shadow, Hook::Reclaim, rows.len(), view, |session| {
        check::verdicts(rows.len(), session.reclaim(&convert::reclaim(request, &rows))?)
    });
    let ours = match &asked {
        Asked::Decided(theirs) => rows
            .iter()
            .zip(theirs)
            .map(|(at, their)| their.and_then(|_| answer.get(*at).copied()))
            .collect(),
        Asked::Abstained | Asked::Failed => Vec::new(),
    };
    Some((asked, step, ours))
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
