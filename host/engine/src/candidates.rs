//! Which pools may serve an ADD, and how policies see them.

use std::sync::Arc;

use tenure_core::address::{Families, Family};
use tenure_core::decision::{Candidate, Catalogue, Holder, MAX_CANDIDATES};
use tenure_core::ledger::{Now, Print};
use tenure_core::name::PoolName;
use tenure_core::pool::{Asker, Pool};

use crate::engine::State;
use crate::{AddRequest, Engine, EngineError};

/// The pools that admit a holder, as one instant saw them.
#[derive(Debug, Clone)]
pub(crate) struct Candidates {
    pub(crate) rows: Vec<Candidate>,
    pub(crate) catalogue: Arc<Catalogue>,
    /// Families for which at least one pool admits the holder: what the ADD will answer.
    pub(crate) families: Families,
}

impl Candidates {
    /// Finds them. Full pools are candidates too: they may be waited for.
    pub(crate) fn find(
        state: &mut State,
        request: &AddRequest,
        now: Now,
    ) -> Result<Self, EngineError> {
        let mut why = Vec::new();
        let indexes = if request.pools.is_empty() {
            (0..state.catalogue.pools.len()).map(|index| (index, None)).collect()
        } else {
            named(state, &request.pools)?
        };
        let facts = request.facts.as_deref();
        let asker = Asker {
            network: &request.attachment.network,
            namespace: &request.owner.namespace,
            namespace_labels: facts.map(|facts| &facts.namespace_labels),
            pod_labels: facts.map(|facts| &facts.pod_labels),
            node_labels: facts.map(|facts| &facts.node_labels),
        };
        let namespace = Print::namespace(&request.owner.namespace);
        let mut rows = Vec::new();
        for (index, order) in indexes {
            let Some(pool) = state.ledger.pool(index) else { continue };
            if let Some(refusal) = pool.refuses(asker) {
                why.push(format!("pool {} {refusal}", pool.name));
                continue;
            }
            let waiting = u32::try_from(state.waiting.len(&pool.name)).unwrap_or(u32::MAX);
            let row = Candidate { waiting, ..candidate(pool, index, order) };
            rows.push(with_counts(row, state, namespace, now));
        }
        if rows.is_empty() {
            let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(", ")) };
            return Err(EngineError::NoPool {
                network: request.attachment.network.to_string(),
                why,
            });
        }
        rows.truncate(MAX_CANDIDATES);
        let families = rows.iter().map(|row| row.family).collect();
        Ok(Self { rows, catalogue: state.catalogue.clone(), families })
    }

    /// The pool indexes of ranked rows of one family, in order.
    pub(crate) fn ranked(&self, ranking: &[u32], family: Family) -> Vec<usize> {
        let rows = ranking.iter().filter_map(|row| self.rows.get(*row as usize));
        rows.filter(|row| row.family == family).map(|row| row.pool as usize).collect()
    }

    /// The names of pools.
    pub(crate) fn names(&self, pools: &[usize]) -> Vec<PoolName> {
        let facts = pools.iter().filter_map(|index| self.catalogue.pools.get(*index));
        facts.map(|facts| facts.name.clone()).collect()
    }
}

impl Engine {
    /// The holder as policies see it.
    pub(crate) fn holder(&self, request: &AddRequest) -> Holder {
        let facts = request.facts.as_deref().cloned().unwrap_or_default();
        Holder {
            owner: request.owner.clone(),
            controller_kind: facts.controller_kind,
            controller_name: facts.controller_name,
            zone: facts.zone,
            node: self.node_of(request).name.to_string(),
            network: request.attachment.network.to_string(),
            interface: request.attachment.ifname.to_string(),
            attributes: request.attributes.clone(),
        }
    }
}

/// The indexes of named pools with their position in the list.
fn named(state: &State, names: &[PoolName]) -> Result<Vec<(usize, Option<u32>)>, EngineError> {
    let find = |(at, name): (usize, &PoolName)| {
        let index = state.ledger.pool_named(name);
        let index = index.ok_or_else(|| EngineError::UnknownPool { name: name.clone() })?;
        Ok((index, u32::try_from(at).ok()))
    };
    names.iter().enumerate().map(find).collect()
}

fn candidate(pool: &Pool, index: usize, order: Option<u32>) -> Candidate {
    Candidate {
        priority: pool.spec.priority,
        named: order.is_some(),
        by_selector: pool.is_selective(),
        order,
        ..Candidate::of(u32::try_from(index).unwrap_or(u32::MAX), pool.family())
    }
}

fn with_counts(row: Candidate, state: &mut State, namespace: Option<Print>, now: Now) -> Candidate {
    let pool = row.pool as usize;
    let counts = state.ledger.counts(pool, now);
    Candidate {
        free: saturate(counts.free),
        used: saturate(counts.held),
        resting: saturate(counts.resting),
        retained: saturate(counts.retained),
        held_by_namespace: state.ledger.held_by_namespace(pool, namespace),
        ..row
    }
}

pub(crate) fn saturate(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
