//! Which policies are asked, and in which order.
//!
//! Most specific first: a policy limited to namespaces *and* pools, then one limited to either,
//! then one for everybody; then `spec.priority`, higher first; then the name. The order is total,
//! so that two daemons with the same objects decide alike.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tenure_core::decision::{Catalogue, FaultKind, Holder, Hook};
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::{PolicyMode, PolicyScope, PolicySpec};
use tenure_core::ports::{PolicyStatus, SERVING};
use tenure_core::time::{Moment, WallMs};

use crate::breaker::Breaker;
use crate::figures::Figures;
use crate::kept::TakenBack;
use crate::limits::Budget;
use crate::session::Compiled;
use crate::shadow;

/// One version of a policy, ready to serve.
pub(crate) struct Version {
    pub(crate) name: ObjectName,
    pub(crate) spec: PolicySpec,
    pub(crate) compiled: Arc<Compiled>,
    /// Digest of settings and limits, for the ring.
    pub(crate) terms: Digest,
    /// The settings as the text that `init` receives.
    pub(crate) settings: String,
    /// Attributes that requests shall carry.
    pub(crate) keys: Arc<[String]>,
    /// Hooks that it serves: those of the object, or all that it exports.
    pub(crate) hooks: Vec<Hook>,
    /// What it calls itself, and its version.
    pub(crate) component: (String, String),
    pub(crate) breaker: Breaker,
    /// What its calls cost.
    pub(crate) figures: Figures,
}

/// An installed policy: the version that serves and what an operator wants to know of it.
#[derive(Clone)]
pub(crate) struct Installed {
    pub(crate) version: Arc<Version>,
    /// The version before, to go back to when this one fails soon.
    pub(crate) previous: Option<Arc<Version>>,
    pub(crate) since: Moment,
    /// The same on the clock of people, for what outlives the process.
    pub(crate) since_wall: WallMs,
    /// Lives on from version to version, so that rates do not jump; that of a shadow is its own, for it is judged by it.
    pub(crate) counters: Arc<Counters>,
    pub(crate) refused: Option<Refused>,
    /// What shall not serve again until the object changes.
    pub(crate) taken_back: Option<TakenBack>,
}

/// Why the newest version does not serve.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) stage: &'static str,
    pub(crate) why: String,
}

/// Counted by every decision.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) decisions: AtomicU64,
    faults: [AtomicU64; FaultKind::ALL.len()],
    pub(crate) agreed: AtomicU64,
    pub(crate) differed: AtomicU64,
    pub(crate) abstained: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

/// All installed policies. Replaced whole; readers never wait.
#[derive(Default)]
pub(crate) struct Table {
    by_name: BTreeMap<ObjectName, Arc<Installed>>,
    ordered: Vec<Arc<Installed>>,
}

// === impl Version ===

impl Version {
    /// The budget was checked when the version was loaded.
    pub(crate) fn budget(&self, hook: Hook) -> Budget {
        Budget::of(&self.spec.limits, hook).unwrap_or_else(|_| Budget::default_of(hook))
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.spec.mode == PolicyMode::Shadow
    }
}

// === impl Installed ===

impl Installed {
    /// A version that follows no other.
    pub(crate) fn fresh(version: Arc<Version>, since: Moment, since_wall: WallMs) -> Self {
        let counters = Arc::default();
        let (previous, refused, taken_back) = (None, None, None);
        Self { version, previous, since, since_wall, counters, refused, taken_back }
    }

    pub(crate) fn status(&self) -> PolicyStatus {
        let version = &self.version;
        PolicyStatus {
            name: version.name.clone(),
            digest: version.compiled.digest.clone(),
            component: version.component.0.clone(),
            version: version.component.1.clone(),
            hooks: version.hooks.clone(),
            mode: if version.is_shadow() { "shadow" } else { "active" }.to_owned(),
            decisions: self.counters.decisions.load(Ordering::Relaxed),
            faults: self.counters.faults(),
            breaker_open: version.breaker.is_open(),
            stage: self.refused.as_ref().map_or(SERVING, |refused| refused.stage).to_owned(),
            last_refusal: self.refused.as_ref().map(|refused| refused.why.clone()),
            fuel: version.figures.fuel(),
            latency: version.figures.latency(),
            shadow: shadow::status(self),
        }
    }

    /// The same version with a note why the newest was not taken.
    pub(crate) fn refused(&self, refused: Refused) -> Self {
        Self { refused: Some(refused), ..self.clone() }
    }
}

// === impl Counters ===

impl Counters {
    pub(crate) fn count_fault(&self, kind: FaultKind) {
        if let Some(counter) = self.faults.get(kind as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn faults(&self) -> Vec<(FaultKind, u64)> {
        let counts = self.faults.iter().map(|counter| counter.load(Ordering::Relaxed));
        FaultKind::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

// === impl Table ===

impl Table {
    /// This table with `installed` in the place of its name.
    pub(crate) fn with(&self, installed: Installed) -> Self {
        let mut by_name = self.by_name.clone();
        by_name.insert(installed.version.name.clone(), Arc::new(installed));
        Self::of(by_name)
    }

    /// This table without `name`.
    pub(crate) fn without(&self, name: &ObjectName) -> Self {
        let mut by_name = self.by_name.clone();
        by_name.remove(name);
        Self::of(by_name)
    }

    pub(crate) fn get(&self, name: &ObjectName) -> Option<&Arc<Installed>> {
        self.by_name.get(name)
    }

    /// By name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Installed>> {
        self.by_name.values()
    }

    /// In the order in which they are asked.
    pub(crate) fn chain(&self, hook: Hook, shadow: bool) -> impl Iterator<Item = &Arc<Installed>> {
        self.ordered.iter().filter(move |installed| {
            installed.version.is_shadow() == shadow && installed.version.hooks.contains(&hook)
        })
    }

    fn of(by_name: BTreeMap<ObjectName, Arc<Installed>>) -> Self {
        let mut ordered: Vec<Arc<Installed>> = by_name.values().cloned().collect();
        // Stable, and the map is in the order of names.
        ordered.sort_by_key(|installed| {
            let spec = &installed.version.spec;
            (Reverse(specificity(&spec.scope)), Reverse(spec.priority))
        });
        Self { by_name, ordered }
    }
}

fn specificity(scope: &PolicyScope) -> u8 {
    u8::from(!scope.namespaces.is_empty()) + u8::from(!scope.pools.is_empty())
}

/// Whether the scope admits the holder's namespace.
pub(crate) fn admits_namespace(scope: &PolicyScope, holder: &Holder) -> bool {
    scope.namespaces.is_empty()
        || scope.namespaces.iter().any(|namespace| **namespace == *holder.owner.namespace)
}

/// Whether the scope admits the pool of that index.
pub(crate) fn admits_pool(scope: &PolicyScope, catalogue: &Catalogue, pool: u32) -> bool {
    let name = || catalogue.pools.get(usize::try_from(pool).ok()?).map(|facts| &facts.name);
    scope.pools.is_empty() || name().is_some_and(|name| scope.pools.contains(name))
}
