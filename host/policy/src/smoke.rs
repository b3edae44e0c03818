//! Synthetic requests, the last stage of loading: a policy that fails on the first ADD should not
//! get that far. Answers must pass the host's checks; what they say does not matter.

use std::sync::Arc;

use tenure_core::decision::{FaultKind, Hook, MAX_CANDIDATES};

use crate::chain::Version;
use crate::decide::{Whole, run};
use crate::error::PolicyHostError;
use crate::fault::Fault;
use crate::guest::View;
use crate::host::PolicyHost;
use crate::limits::Budget;
use crate::load::TRIAL_TIME;
use crate::{check, convert, sample};

/// Runs each hook of the version on a few requests of different size.
pub(crate) fn test(host: &PolicyHost, version: &Version) -> Result<(), PolicyHostError> {
    for hook in version.hooks.clone() {
        for rows in sizes(hook) {
            match one(host, version, hook, rows) {
                // "I cannot decide" is an answer.
                Err(fault) if fault.kind == FaultKind::PolicyError => {}
                Err(fault) => {
                    return Err(PolicyHostError::Smoke { hook, rows, fault: fault.into() });
                }
                Ok(()) => {}
            }
        }
    }
    Ok(())
}

fn sizes(hook: Hook) -> [usize; 3] {
    match hook {
        Hook::Select => [1, 8, MAX_CANDIDATES],
        Hook::Affinity => [0, 1, 4],
        Hook::Reclaim => [1, 8, 128],
    }
}

fn one(host: &PolicyHost, version: &Version, hook: Hook, rows: usize) -> Result<(), Fault> {
    match hook {
        Hook::Select => whole(host, version, &sample::select(rows)),
        Hook::Affinity => whole(host, version, &sample::affinity(rows)),
        Hook::Reclaim => {
            let request = Arc::new(sample::reclaim(rows));
            let all: Arc<[usize]> = (0..rows).collect();
            let view = View {
                catalogue: request.catalogue.clone(),
                keys: version.keys.clone(),
                leases: Some((request.clone(), all.clone())),
            };
            run(&host.place, version, &budget(version, hook), rows, view, |session| {
                check::verdicts(rows, session.reclaim(&convert::reclaim(&request, &all))?)
            })
            .0
            .map(drop)
        }
    }
}

fn whole<R: Whole>(host: &PolicyHost, version: &Version, request: &R) -> Result<(), Fault> {
    let view = request.view(&version.keys);
    run(&host.place, version, &budget(version, R::HOOK), request.rows(), view, |session| {
        request.ask(session, &version.keys)
    })
    .0
    .map(drop)
}

fn budget(version: &Version, hook: Hook) -> Budget {
    Budget { deadline: TRIAL_TIME, ..version.budget(hook) }
}
