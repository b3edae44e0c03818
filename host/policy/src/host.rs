//! The policy host as the port sees it, and how policies come, change and go.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tenure_core::decision::{
    AffinityAnswer, AffinityRequest, Decided, DecisionRecord, ReclaimRequest, SelectRequest,
    Selection, Verdict,
};
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::PolicySpec;
use tenure_core::ports::{Pinned, Policies, PolicyRefusal, PolicyStatus};
use tenure_core::time::Clock;
use tenure_trust::Trust;

use crate::bindings::host::Level;
use crate::chain::{Installed, Table};
use crate::compile::{Code, Compiler};
use crate::decide::Place;
use crate::engine::{EngineOptions, Layout, Runtime};
use crate::error::PolicyHostError;
use crate::kept::Keeper;
use crate::question::Question;
use crate::ring::{Answer, Ring, RingOptions};
use crate::session::Compiled;
use crate::shadow::Lane;
use crate::source::Folders;
use crate::{decide, load, reclaim};

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
    /// Who compiles components.
    pub compiler: Compiler,
    /// A folder of this host alone, for compiled code and for the versions that served last. Without it every start
    /// compiles anew, and a component that is gone by then is not served.
    pub state: Option<PathBuf>,
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
    pub(crate) place: Place,
    pub(crate) folders: Folders,
    pub(crate) trust: Option<Trust>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) table: Arc<ArcSwap<Table>>,
    /// What served last, on disk; none without a state folder.
    pub(crate) keeper: Option<Arc<Keeper>>,
    pub(crate) shadows: Lane,
    pub(crate) code: Code,
    /// Serialises installs and removals; decisions and roll-backs never take it.
    pub(crate) admin: Mutex<()>,
}

/// The policies of one moment.
struct View<'h> {
    host: &'h PolicyHost,
    table: Arc<Table>,
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
            compiler: Compiler::Thread,
            state: None,
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
        let runtime = Arc::new(Runtime::new(&options.engine)?);
        let state = options.state.as_deref();
        let code = Code::new(options.compiler, state, &runtime.engine);
        let place = Place { runtime, level: level(options.log_level), clock };
        let (ring, table) = (Arc::new(Ring::new(options.ring)), Arc::default());
        let shadows = Lane::start(place.clone(), ring.clone()).map_err(PolicyHostError::Thread)?;
        let keeper = Keeper::open(state, &table);
        let folders = Folders { shipped: options.folder, fetched: options.fetched };
        let (trust, admin) = (options.trust, Mutex::new(()));
        Ok(Self { place, folders, trust, ring, table, keeper, shadows, code, admin })
    }

    /// How instances get their memory on this machine.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.place.runtime.layout
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

    pub(crate) fn status_of(&self, name: &ObjectName) -> Option<PolicyStatus> {
        self.table.load().get(name).map(|installed| installed.status())
    }
}

impl Pinned for View<'_> {
    fn affinity(&self, request: &AffinityRequest) -> Decided<AffinityAnswer> {
        let question = || Question::Affinity(Arc::new(request.clone()));
        let record = |answer: &AffinityAnswer| (question(), Answer::Affinity(answer.clone()));
        decide::whole(self.host, &self.table, request, record)
    }

    fn select(&self, request: &SelectRequest) -> Decided<Selection> {
        let question = || Question::Select(Arc::new(request.clone()));
        let record = |answer: &Selection| (question(), Answer::Select(answer.clone()));
        decide::whole(self.host, &self.table, request, record)
    }
}

impl Policies for PolicyHost {
    fn pinned(&self) -> Box<dyn Pinned + '_> {
        Box::new(View { host: self, table: self.table.load_full() })
    }

    fn affinity(&self, request: &AffinityRequest) -> Decided<AffinityAnswer> {
        self.pinned().affinity(request)
    }

    fn select(&self, request: &SelectRequest) -> Decided<Selection> {
        self.pinned().select(request)
    }

    fn reclaim(&self, request: &ReclaimRequest) -> Decided<Vec<Verdict>> {
        reclaim::reclaim(self, request)
    }

    fn check(&self, name: &ObjectName, spec: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal> {
        let _one_at_a_time = self.admin.lock();
        let loaded = load::load(self, name, spec).map_err(|error| error.refusal(name))?;
        let (now, wall) = (self.place.clock.now(), self.place.clock.wall());
        Ok(Installed::fresh(Arc::new(loaded.version), now, wall).status())
    }

    fn install(&self, name: &ObjectName, spec: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal> {
        let _one_at_a_time = self.admin.lock();
        self.install_version(name, spec)
    }

    fn remove(&self, name: &ObjectName) {
        let _one_at_a_time = self.admin.lock();
        self.table.rcu(|table| table.without(name));
        self.note(name, None);
    }

    fn status(&self) -> Vec<PolicyStatus> {
        self.table.load().all().map(|installed| installed.status()).collect()
    }

    fn decisions(&self, limit: usize) -> Vec<DecisionRecord> {
        self.ring.newest(limit)
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
