//! The policy host as the port sees it, and how policies come, change and go.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tenure_core::decision::{
    AffinityAnswer, AffinityRequest, Decided, DecisionRecord, ReclaimRequest, SelectRequest,
    Selection, Verdict,
};
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::PolicySpec;
use tenure_core::ports::{Policies, PolicyRefusal, PolicyStatus};
use tenure_core::time::Clock;
use tenure_trust::Trust;

use crate::bindings::host::Level;
use crate::chain::{Counters, Installed, Table, Version};
use crate::engine::{EngineOptions, Layout, Runtime};
use crate::error::PolicyHostError;
use crate::question::Question;
use crate::ring::{Answer, Ring, RingOptions};
use crate::session::Compiled;
use crate::source::Folders;
use crate::{decide, load, reclaim};

/// A breaker that opens so soon after a swap says that the new version is to blame.
const ON_PROBATION: Duration = Duration::from_secs(10 * 60);

/// Settings of the host.
#[derive(Debug, Clone)]
pub struct PolicyHostOptions {
    /// The folder of the shipped policies (`bundled: NAME` is `NAME.wasm` in it).
    pub folder: PathBuf,
    /// The folder of what was fetched for `oci:` sources, by digest; without it they are refused.
    pub fetched: Option<PathBuf>,
    /// Whose signatures a module needs before it is compiled; without it every module is admitted.
    pub trust: Option<Trust>,
    /// Bounds of the decision ring.
    pub ring: RingOptions,
    /// Settings of the engine.
    pub engine: EngineOptions,
    /// The lowest level of policy logs that is kept.
    pub log_level: tracing::Level,
}

/// How often a shadow policy would have answered as the decision went, and how often not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowCount {
    /// Name of its IPAMPolicy object.
    pub name: ObjectName,
    /// Equal answers.
    pub agreed: u64,
    /// Other answers.
    pub differed: u64,
}

/// The policy host.
///
/// *Guarantees*: a decision is always answered, within the budgets of the policies in the chain; an
/// install that fails changes nothing; decisions never wait for an install.
/// *Assumes*: its methods are called where blocking is allowed.
pub struct PolicyHost {
    pub(crate) runtime: Runtime,
    pub(crate) folders: Folders,
    pub(crate) trust: Option<Trust>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) level: Level,
    pub(crate) ring: Ring,
    pub(crate) table: ArcSwap<Table>,
    /// A compilation runs.
    pub(crate) compiling: Arc<AtomicBool>,
    /// Serialises installs and removals; decisions and roll-backs never take it.
    admin: Mutex<()>,
}

impl Default for PolicyHostOptions {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("/usr/lib/tenure/policies"),
            fetched: None,
            trust: None,
            ring: RingOptions::default(),
            engine: EngineOptions::default(),
            log_level: tracing::Level::INFO,
        }
    }
}

// === impl PolicyHost ===

impl PolicyHost {
    /// Starts the engine. Without any policy the built-in strategies decide.
    ///
    /// # Errors
    /// [`PolicyHostError::Engine`] and [`PolicyHostError::Ticker`]: the machine gives neither
    /// address space nor a thread.
    pub fn new(options: PolicyHostOptions, clock: Arc<dyn Clock>) -> Result<Self, PolicyHostError> {
        Ok(Self {
            runtime: Runtime::new(&options.engine)?,
            folders: Folders { shipped: options.folder, fetched: options.fetched },
            trust: options.trust,
            clock,
            level: level(options.log_level),
            ring: Ring::new(options.ring),
            table: ArcSwap::default(),
            compiling: Arc::default(),
            admin: Mutex::new(()),
        })
    }

    /// How instances get their memory on this machine.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.runtime.layout
    }

    /// One entry per policy in shadow mode.
    #[must_use]
    pub fn shadows(&self) -> Vec<ShadowCount> {
        let table = self.table.load();
        let shadows = table.all().filter(|installed| installed.version.is_shadow());
        let count = |installed: &Arc<Installed>| ShadowCount {
            name: installed.version.name.clone(),
            agreed: installed.counters.agreed.load(Ordering::Relaxed),
            differed: installed.counters.differed.load(Ordering::Relaxed),
        };
        shadows.map(count).collect()
    }

    /// The compiled component of that digest, if a policy has it.
    pub(crate) fn compiled(&self, digest: &Digest) -> Option<Arc<Compiled>> {
        let table = self.table.load();
        let mut all = table.all().map(|installed| &installed.version.compiled);
        all.find(|compiled| compiled.digest == *digest).cloned()
    }

    /// Returns to the version before `failed`, if that one came just now and nobody has changed it since.
    pub(crate) fn roll_back(&self, failed: &Arc<Installed>, cause: &str) {
        let now = self.clock.now();
        let Some(previous) = &failed.previous else { return };
        if now.since(failed.since) > ON_PROBATION {
            return;
        }
        let name = &failed.version.name;
        let digest = &failed.version.compiled.digest;
        let why = format!("{digest} was taken back after repeated faults, the last: {cause}");
        self.table.rcu(|table| {
            if !table.get(name).is_some_and(|present| Arc::ptr_eq(present, failed)) {
                return table.clone();
            }
            Arc::new(table.with(Installed {
                version: previous.clone(),
                previous: None,
                since: now,
                counters: failed.counters.clone(),
                last_refusal: Some(why.clone()),
            }))
        });
        tracing::error!(policy = name.as_str(), to = previous.compiled.digest.as_str(), "{why}");
    }

    fn swap_in(&self, version: Arc<Version>) {
        let now = self.clock.now();
        self.table.rcu(|table| {
            let present = table.get(&version.name);
            table.with(Installed {
                version: version.clone(),
                previous: present.and_then(|present| last_good(present)),
                since: now,
                counters: present.map_or_else(Arc::<Counters>::default, |p| p.counters.clone()),
                last_refusal: None,
            })
        });
    }

    fn note_refusal(&self, name: &ObjectName, refusal: &PolicyRefusal) {
        self.table.rcu(|table| match table.get(name) {
            Some(present) => Arc::new(table.with(present.refused(refusal.to_string()))),
            None => table.clone(),
        });
    }

    fn status_of(&self, name: &ObjectName) -> Option<PolicyStatus> {
        self.table.load().get(name).map(|installed| installed.status())
    }
}

impl Policies for PolicyHost {
    fn affinity(&self, request: &AffinityRequest) -> Decided<AffinityAnswer> {
        let question = || Question::Affinity(Arc::new(request.clone()));
        decide::whole(self, request, |answer| (question(), Answer::Affinity(answer.clone())))
    }

    fn select(&self, request: &SelectRequest) -> Decided<Selection> {
        let question = || Question::Select(Arc::new(request.clone()));
        decide::whole(self, request, |answer| (question(), Answer::Select(answer.clone())))
    }

    fn reclaim(&self, request: &ReclaimRequest) -> Decided<Vec<Verdict>> {
        reclaim::reclaim(self, request)
    }

    fn check(&self, name: &ObjectName, spec: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal> {
        let _one_at_a_time = self.admin.lock();
        let version = load::load(self, name, spec).map_err(|error| error.refusal(name))?;
        Ok(Installed::fresh(Arc::new(version), self.clock.now()).status())
    }

    fn install(&self, name: &ObjectName, spec: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal> {
        let _one_at_a_time = self.admin.lock();
        let version = load::load(self, name, spec).map_err(|error| {
            let refusal = error.refusal(name);
            tracing::warn!(policy = name.as_str(), "{refusal}");
            self.note_refusal(name, &refusal);
            refusal
        })?;
        let digest = version.compiled.digest.as_str().to_owned();
        tracing::info!(policy = name.as_str(), digest, "policy serves");
        let version = Arc::new(version);
        self.swap_in(version.clone());
        // A roll-back may have been faster; then the table has another truth, and this is it.
        Ok(self
            .status_of(name)
            .unwrap_or_else(|| Installed::fresh(version, self.clock.now()).status()))
    }

    fn remove(&self, name: &ObjectName) {
        let _one_at_a_time = self.admin.lock();
        self.table.rcu(|table| table.without(name));
    }

    fn status(&self) -> Vec<PolicyStatus> {
        self.table.load().all().map(|installed| installed.status()).collect()
    }

    fn decisions(&self, limit: usize) -> Vec<DecisionRecord> {
        self.ring.newest(limit)
    }
}

/// What to return to: the present version, or the one before it if the present one is failing.
fn last_good(present: &Installed) -> Option<Arc<Version>> {
    if present.version.breaker.is_open() {
        present.previous.clone()
    } else {
        Some(present.version.clone())
    }
}

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::TRACE => Level::Trace,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::INFO => Level::Info,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::ERROR => Level::Error,
    }
}
