//! One instance from birth to death. Whatever fails, the store is dropped: a failed lift leaves it
//! callable, and only a dropped one has surely forgotten the call.

use tenure_core::decision::{FaultKind, Hook};
use tenure_core::name::Digest;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::bindings::affinity::{AffinityPolicy, AffinityPolicyIndices};
use crate::bindings::lifecycle::{LifecyclePolicy, LifecyclePolicyIndices};
use crate::bindings::lifecycle_types::Description;
use crate::bindings::reclaim::{ReclaimPolicy, ReclaimPolicyIndices};
use crate::bindings::select::{SelectPolicy, SelectPolicyIndices};
use crate::bindings::{affinity_types, reclaim_types, select_types, types};
use crate::engine::{Runtime, Slot};
use crate::error::PolicyHostError;
use crate::fault::Fault;
use crate::guest::{Guest, Looked};
use crate::limits::{Budget, LIFTED_BYTES};

/// A component, compiled and linked. Policies of one digest share it.
pub(crate) struct Compiled {
    pub(crate) digest: Digest,
    pub(crate) hooks: Vec<Hook>,
    pre: InstancePre<Guest>,
    lifecycle: LifecyclePolicyIndices,
    select: Option<SelectPolicyIndices>,
    affinity: Option<AffinityPolicyIndices>,
    reclaim: Option<ReclaimPolicyIndices>,
}

/// A living instance.
pub(crate) struct Session<'a> {
    compiled: &'a Compiled,
    store: Store<Guest>,
    instance: Instance,
    /// Fuel that was given so far.
    given: u64,
    /// Fuel that the hook was given.
    budget: u64,
    // After the store, so that the place is free when it is offered.
    _slot: Slot<'a>,
}

/// What a call used and left behind.
#[derive(Debug, Default, Clone)]
pub(crate) struct Spent {
    pub(crate) fuel: u64,
    /// Bytes of linear memory: it never shrinks.
    pub(crate) memory: usize,
    /// Of its budget by the hook alone, in thousandths.
    pub(crate) share: u64,
    pub(crate) log: Vec<String>,
    pub(crate) lookups: Vec<Looked>,
}

type Answer<T> = wasmtime::Result<Result<T, types::PolicyError>>;

// === impl Compiled ===

impl Compiled {
    /// Finds the interfaces by name. Their shapes are checked by [`Session::check_shapes`] only:
    /// wasmtime compares the types of exported interfaces on an instance.
    pub(crate) fn new(
        digest: Digest,
        hooks: Vec<Hook>,
        pre: InstancePre<Guest>,
    ) -> Result<Self, PolicyHostError> {
        let wrong = |interface| {
            move |error: wasmtime::Error| PolicyHostError::Shape {
                interface,
                why: format!("{error:#}"),
            }
        };
        let has = |hook| hooks.contains(&hook);
        Ok(Self {
            lifecycle: LifecyclePolicyIndices::new(&pre).map_err(wrong("lifecycle"))?,
            select: has(Hook::Select)
                .then(|| SelectPolicyIndices::new(&pre).map_err(wrong("select")))
                .transpose()?,
            affinity: has(Hook::Affinity)
                .then(|| AffinityPolicyIndices::new(&pre).map_err(wrong("affinity")))
                .transpose()?,
            reclaim: has(Hook::Reclaim)
                .then(|| ReclaimPolicyIndices::new(&pre).map_err(wrong("reclaim")))
                .transpose()?,
            digest,
            hooks,
            pre,
        })
    }
}

// === impl Session ===

impl<'a> Session<'a> {
    /// Makes an instance that has `budget`. The deadline runs from here.
    pub(crate) fn open(
        runtime: &'a Runtime,
        compiled: &'a Compiled,
        guest: Guest,
        budget: &Budget,
    ) -> Result<Self, Fault> {
        let instance_fault = |error: &dyn std::fmt::Display| {
            Fault::new(FaultKind::Instance, format!("no instance could be made: {error}"))
        };
        let slot = runtime.slot().ok_or_else(|| instance_fault(&"all slots are taken"))?;
        let mut store =
            Store::try_new(&runtime.engine, guest).map_err(|error| instance_fault(&error))?;
        store.limiter(|guest| guest);
        store.set_hostcall_fuel(LIFTED_BYTES);
        store.set_epoch_deadline(Runtime::ticks(budget.deadline));
        store.set_fuel(budget.fuel).map_err(|error| instance_fault(&error))?;
        let instance = compiled.pre.instantiate(&mut store).map_err(|error| {
            let fault = Fault::of(&error, store.data(), "starting");
            // Not a trap and not ours: wasmtime itself could not, e.g. the pool's limits.
            if fault.kind == FaultKind::BadOutput { instance_fault(&error) } else { fault }
        })?;
        Ok(Self { compiled, store, instance, given: budget.fuel, budget: 0, _slot: slot })
    }

    /// Compares the types of all exported interfaces with the contract.
    pub(crate) fn check_shapes(&mut self) -> Result<(), PolicyHostError> {
        let wrong = |interface| {
            move |error: wasmtime::Error| PolicyHostError::Shape {
                interface,
                why: format!("{error:#}"),
            }
        };
        let (compiled, store, instance) = (self.compiled, &mut self.store, &self.instance);
        compiled.lifecycle.load(&mut *store, instance).map_err(wrong("lifecycle"))?;
        if let Some(indices) = &compiled.select {
            indices.load(&mut *store, instance).map_err(wrong("select"))?;
        }
        if let Some(indices) = &compiled.affinity {
            indices.load(&mut *store, instance).map_err(wrong("affinity"))?;
        }
        if let Some(indices) = &compiled.reclaim {
            indices.load(&mut *store, instance).map_err(wrong("reclaim"))?;
        }
        Ok(())
    }

    pub(crate) fn describe(&mut self) -> Result<Description, Fault> {
        self.lifecycle("describe", |policy, store| {
            policy.tenure_policy_lifecycle().call_describe(store)
        })
    }

    pub(crate) fn validate(&mut self, settings: &str) -> Result<Vec<types::FieldError>, Fault> {
        self.lifecycle("validate-settings", |policy, store| {
            policy.tenure_policy_lifecycle().call_validate_settings(store, settings)
        })
    }

    pub(crate) fn init(
        &mut self,
        settings: &str,
    ) -> Result<Result<(), Vec<types::FieldError>>, Fault> {
        self.lifecycle("init", |policy, store| {
            policy.tenure_policy_lifecycle().call_init(store, settings)
        })
    }

    /// Fuel used so far.
    pub(crate) fn used(&self) -> u64 {
        self.given.saturating_sub(self.store.get_fuel().unwrap_or(0))
    }

    /// Gives the hook its own fuel: what `init` left over does not count.
    pub(crate) fn refuel(&mut self, fuel: u64) -> Result<(), Fault> {
        let left = self.store.get_fuel().unwrap_or(0);
        self.given = self.given.saturating_sub(left).saturating_add(fuel);
        self.budget = fuel;
        self.store
            .set_fuel(fuel)
            .map_err(|error| Fault::new(FaultKind::Instance, error.to_string()))
    }

    pub(crate) fn select(
        &mut self,
        request: &select_types::Request,
        candidates: &select_types::Candidates,
    ) -> Result<select_types::Decision, Fault> {
        let indices = self.compiled.select.as_ref();
        let called = (|| -> Option<Answer<_>> {
            let policy: wasmtime::Result<SelectPolicy> =
                indices?.load(&mut self.store, &self.instance);
            let called = policy.and_then(|policy| {
                policy.tenure_policy_select().call_select(&mut self.store, request, candidates)
            });
            Some(called)
        })();
        self.answer(Hook::Select, called)
    }

    pub(crate) fn affinity(
        &mut self,
        request: &affinity_types::Request,
    ) -> Result<affinity_types::Answer, Fault> {
        let indices = self.compiled.affinity.as_ref();
        let called = (|| -> Option<Answer<_>> {
            let policy: wasmtime::Result<AffinityPolicy> =
                indices?.load(&mut self.store, &self.instance);
            let called = policy.and_then(|policy| {
                policy.tenure_policy_affinity().call_affinity(&mut self.store, request)
            });
            Some(called)
        })();
        self.answer(Hook::Affinity, called)
    }

    pub(crate) fn reclaim(
        &mut self,
        request: &reclaim_types::Request,
    ) -> Result<reclaim_types::Decision, Fault> {
        let indices = self.compiled.reclaim.as_ref();
        let called = (|| -> Option<Answer<_>> {
            let policy: wasmtime::Result<ReclaimPolicy> =
                indices?.load(&mut self.store, &self.instance);
            let called = policy.and_then(|policy| {
                policy.tenure_policy_reclaim().call_reclaim(&mut self.store, request)
            });
            Some(called)
        })();
        self.answer(Hook::Reclaim, called)
    }

    /// Drops the instance and hands over what it left.
    pub(crate) fn close(self) -> Spent {
        let left = self.store.get_fuel().unwrap_or(0);
        let fuel = self.used();
        let used = self.budget.saturating_sub(left).saturating_mul(1000);
        let share = used.checked_div(self.budget).unwrap_or(0);
        let memory = self.store.data().memory();
        let (log, lookups) = self.store.into_data().into_traces();
        Spent { fuel, share, memory, log, lookups }
    }

    fn lifecycle<T>(
        &mut self,
        act: &str,
        call: impl FnOnce(&LifecyclePolicy, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        self.compiled
            .lifecycle
            .load(&mut self.store, &self.instance)
            .and_then(|policy| call(&policy, &mut self.store))
            .map_err(|error| Fault::of(&error, self.store.data(), act))
    }

    fn answer<T>(&self, hook: Hook, called: Option<Answer<T>>) -> Result<T, Fault> {
        let act = hook.name();
        match called {
            Some(Ok(Ok(answer))) => Ok(answer),
            Some(Ok(Err(own))) => Err(Fault::new(
                FaultKind::PolicyError,
                format!(
                    "{}: {}",
                    crate::guest::cut(&own.code, 64),
                    crate::guest::cut(&own.message, 1024)
                ),
            )),
            Some(Err(error)) => Err(Fault::of(&error, self.store.data(), act)),
            None => Err(Fault::new(FaultKind::Instance, format!("it has no hook `{act}`"))),
        }
    }
}
