//! What operators read: leases, pools and the daemon as a whole.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tenure_core::decision::DecisionRecord;
use tenure_core::lease::{Lease, LeaseKey, LeaseState, Proof};
use tenure_core::ledger::{Counts, Now, Status};
use tenure_core::name::{PoolName, SpaceName};
use tenure_core::objects::{Object, PoolSpec, Resource};
use tenure_core::ports::PolicyStatus;

use crate::engine::{State, pool_name};
use crate::{Engine, EngineError};

/// A lease with what it counts as at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseView {
    /// The record.
    pub lease: Lease,
    /// `held`, `resting`, `lingering`, `retained`, `free` or `quarantined`.
    pub view: String,
    /// The end of the last holder is proved.
    pub proved: bool,
}

/// Which leases are wanted. Empty fields want all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LeaseFilter {
    /// Of this pool.
    pub pool: Option<String>,
    /// Of this owner's namespace.
    pub namespace: Option<String>,
    /// Of this container id (or one that begins so).
    pub container: Option<String>,
    /// With this view, e.g. `held`.
    pub view: Option<String>,
}

/// A pool with its counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolView {
    /// The object.
    #[serde(flatten)]
    pub pool: Resource<PoolSpec>,
    /// What is derived.
    pub status: PoolStatus,
}

/// What is derived about a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// How many addresses are what.
    #[serde(flatten)]
    pub counts: Counts,
    /// Addresses that a rule took out although the ranges hold them.
    pub withheld: Vec<(IpAddr, String)>,
    /// Deleted, and waiting for its holders to leave.
    pub terminating: bool,
    /// Why it serves nothing, where the store took it without asking us. What is applied here is refused instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_served: Option<NotServed>,
}

/// Why a pool serves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotServed {
    /// In one word for programs, such as `Overlaps`.
    pub reason: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// The daemon as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Version of the daemon.
    pub version: String,
    /// Name of the node.
    pub node: String,
    /// Its agent id.
    pub agent: String,
    /// The store's id.
    pub store: String,
    /// The store's life.
    pub epoch: u64,
    /// The store is healthy; else why not.
    pub store_error: Option<String>,
    /// The kernel witness speaks; else why not.
    pub witness_error: Option<String>,
    /// Rows in the ledger.
    pub rows: usize,
    /// ADDs that wait for an address.
    pub waiting: usize,
    /// Pools by name.
    pub pools: Vec<(PoolName, Counts)>,
    /// Policies.
    pub policies: Vec<PolicyStatus>,
}

impl Engine {
    /// Leases that satisfy the filter, by space and address. Reads the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn leases(
        self: &Arc<Self>,
        filter: LeaseFilter,
    ) -> Result<Vec<LeaseView>, EngineError> {
        self.in_background(move |engine| {
            let mut found = Vec::new();
            engine.ports.store.scan(&mut |row| {
                let wanted =
                    |want: &Option<String>, have: &str| want.as_deref().is_none_or(|w| w == have);
                let lease = &row.lease;
                let container = filter.container.as_deref().unwrap_or("");
                if wanted(&filter.pool, lease.pool.as_str())
                    && wanted(&filter.namespace, &lease.owner.namespace)
                    && lease.attachment.container.as_str().starts_with(container)
                {
                    found.push(engine.lease_view(row.lease));
                }
            })?;
            found.retain(|lease| filter.view.as_deref().is_none_or(|view| view == lease.view));
            found.sort_by(|a, b| {
                (&a.lease.space, a.lease.address).cmp(&(&b.lease.space, b.lease.address))
            });
            Ok(found)
        })
        .await?
    }

    /// One lease.
    ///
    /// # Errors
    /// [`EngineError::NotFound`]: the address was never held, or not for long.
    pub async fn lease(&self, space: SpaceName, address: IpAddr) -> Result<LeaseView, EngineError> {
        let key = LeaseKey { space, address };
        let row = self.ports.store.get(&key).await?;
        let row = row.ok_or_else(|| EngineError::NotFound { object: format!("lease {key}") })?;
        Ok(self.lease_view(row.lease))
    }

    /// All pools with their counts.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn pools(&self) -> Result<Vec<PoolView>, EngineError> {
        let mut views = Vec::new();
        for object in self.objects()? {
            let Object::IPPool(pool) = object else { continue };
            views.push(self.pool_view(pool)?);
        }
        Ok(views)
    }

    /// One pool with its counts.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn pool_view(&self, pool: Resource<PoolSpec>) -> Result<PoolView, EngineError> {
        let name = pool_name(&pool.metadata.name)?;
        let now = self.now();
        let mut state = self.state.lock();
        let index = state.ledger.pool_named(&name);
        let counts = index.map(|index| self.counts(&mut state, index, now)).unwrap_or_default();
        let withheld = index.and_then(|index| state.ledger.pool(index));
        let withheld = withheld.map_or_else(Vec::new, |p| p.withheld().to_vec());
        let withheld = withheld.into_iter().map(|(a, why)| (a, why.to_owned())).collect();
        let refusal = state.unserved.iter().find(|one| one.name == pool.metadata.name);
        let not_served = refusal.map(|one| NotServed {
            reason: one.refusal.reason.to_owned(),
            message: one.refusal.message.clone(),
        });
        let terminating = pool.metadata.deletion_timestamp.is_some();
        Ok(PoolView { pool, status: PoolStatus { counts, withheld, terminating, not_served } })
    }

    /// How many addresses of the pool are what (I10).
    pub(crate) fn counts(&self, state: &mut State, pool: usize, now: Now) -> Counts {
        let counts = state.ledger.counts(pool, now);
        if !counts.add_up() {
            self.counters.breaches_i10.one();
        }
        counts
    }

    /// How the policies fare.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyStatus> {
        self.ports.policies.status()
    }

    /// The newest decisions.
    #[must_use]
    pub fn decisions(&self, limit: usize) -> Vec<DecisionRecord> {
        self.ports.policies.decisions(limit)
    }

    /// The daemon as a whole.
    pub async fn overview(self: &Arc<Self>) -> Result<Overview, EngineError> {
        let witness = self.in_background(|engine| engine.ports.kernel.silence()).await?;
        let identity = self.ports.store.identity();
        let now = self.now();
        let mut state = self.state.lock();
        let names: Vec<PoolName> = state.ledger.pools().map(|pool| pool.name.clone()).collect();
        let pools =
            names.into_iter().enumerate().map(|(i, name)| (name, self.counts(&mut state, i, now)));
        let pools = pools.collect();
        Ok(Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.options.node.name.to_string(),
            agent: self.options.node.agent.to_string(),
            store: identity.store_id,
            epoch: identity.epoch.0,
            store_error: self.ports.store.health().err().map(|e| e.to_string()),
            witness_error: witness,
            rows: state.ledger.len(),
            waiting: state.waiting.total(),
            pools,
            policies: self.ports.policies.status(),
        })
    }

    /// The store behind the engine, for export and import.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn tenure_store::Store> {
        &self.ports.store
    }

    pub(crate) fn lease_view(&self, lease: Lease) -> LeaseView {
        let slot = self.state.lock().ledger.slot(&lease.key());
        let now = self.now();
        let (view, proved) = match (slot.map(|slot| slot.status), &lease.state) {
            (Some(Status::Released { since, rest_s, proved, lingering, keep_until, .. }), _) => {
                let settled = proved.is_none_or(|from| from <= now.moment);
                let rested = settled && now.moment.since(since).as_secs() >= u64::from(rest_s);
                let view =
                    match (lingering, keep_until.is_some_and(|until| until > now.wall), rested) {
                        (true, _, _) => "lingering",
                        (_, true, _) => "retained",
                        (_, _, false) => "resting",
                        (_, _, true) => "free",
                    };
                (view, proved.is_some())
            }
            (_, LeaseState::Bound) => ("held", false),
            (_, LeaseState::Quarantined { .. }) => ("quarantined", false),
            (_, LeaseState::Released { proof, .. }) => ("resting", *proof != Proof::None),
        };
        LeaseView { lease, view: view.to_owned(), proved }
    }
}
