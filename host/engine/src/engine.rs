//! The engine as a whole: what it is made of and how it starts.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tenure_core::decision::{Catalogue, PoolFacts};
use tenure_core::defaults::SWEEP;
use tenure_core::lease::{Epoch, Generation, LeaseKey, NodeRef};
use tenure_core::ledger::{Ledger, Now, Print, Slot, Status};
use tenure_core::name::{ObjectName, PoolName};
use tenure_core::objects::{Object, PolicySource, PoolSpec, ReservationSpec, Resource};
use tenure_core::pool::{Pool, Reservation};
use tenure_core::ports::{Kernel, Policies, Wire};
use tenure_core::time::{Clock, Moment};
use tenure_store::{Contents, ImportMode, Refusal, Row, Store};
use tokio::sync::{Notify, RwLock, Semaphore};

use crate::EngineError;
use crate::census::Unsettled;
use crate::counters::Counters;
use crate::ends::Ends;
use crate::live::Lists;
use crate::locks::AttachmentLocks;
use crate::policies::{Given, policies_of};
use crate::proof::Proofs;
use crate::reclaim::Takings;
use crate::sweep::Suspicions;
use crate::untold::UntoldSets;
use crate::wait::Waiting;

/// So many addresses are probed at once; further ADDs wait for their turn.
const PROBES_AT_ONCE: usize = 16;

/// What the engine stands on.
#[derive(Clone)]
pub struct Ports {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Who decides.
    pub policies: Arc<dyn Policies>,
    /// Who knows whether a holder lives.
    pub kernel: Arc<dyn Kernel>,
    /// Who asks on the wire; none where nobody can.
    pub wire: Option<Arc<dyn Wire>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node.
    pub node: NodeRef,
    /// How long at most between two sweeps; each is jittered by a quarter downwards.
    pub sweep: Duration,
    /// How many decisions are computed, and namespaces identified, at once.
    pub jobs: usize,
    /// So many released rows are kept before the oldest ones are forgotten.
    pub rows_kept: usize,
    /// Why the store is known to have gone back in time, if it is: nothing is given before it is known what is alive.
    pub went_back: Option<String>,
    /// Decisions and looks run where they are asked for, not on threads of their own: for tests that repeat exactly.
    pub inline: bool,
}

/// The use cases over one store. Share it by `Arc`.
pub struct Engine {
    pub(crate) ports: Ports,
    pub(crate) options: Options,
    /// Read and written by every verb, for microseconds; never held over an `.await`, a policy or a look.
    pub(crate) state: Mutex<State>,
    /// One at a time: whoever changes objects.
    pub(crate) objects: tokio::sync::Mutex<()>,
    /// Policies as they were given to the policy host, under the same lock.
    pub(crate) given: Mutex<BTreeMap<ObjectName, Given>>,
    /// One at a time: whoever finds out what is alive.
    pub(crate) settling: tokio::sync::Mutex<()>,
    pub(crate) locks: AttachmentLocks,
    pub(crate) jobs: Arc<Semaphore>,
    /// What no caller of a verb waits for: sweeps, looks after releases, listings. One at a time, beside the jobs.
    pub(crate) background: Arc<Semaphore>,
    /// Probes on the wire: each takes a third of a second and a thread.
    pub(crate) probes: Arc<Semaphore>,
    /// Held for reading by each write until the ledger knows of it, for writing by an import.
    pub(crate) gate: Arc<RwLock<()>>,
    /// Rows of which the ledger may know something else than the store; the sweep reads them again.
    pub(crate) doubtful: Mutex<BTreeSet<LeaseKey>>,
    /// Held while doubtful rows are read: until then they are neither in doubt nor known.
    pub(crate) resolving: tokio::sync::Mutex<()>,
    pub(crate) proofs: Proofs,
    pub(crate) suspicions: Mutex<Suspicions>,
    /// Claims for which the store has begun a new life: not twice for one.
    pub(crate) blamed: Mutex<HashSet<(LeaseKey, Generation)>>,
    /// The store lacks rows that nobody deletes: it went back in time.
    pub(crate) went_back: Notify,
    /// One sweep at a time: two would judge and write the same rows.
    pub(crate) sweeping: tokio::sync::Mutex<()>,
    /// Wakes the sweep ahead of its time.
    pub(crate) sweep_now: Notify,
    pub(crate) ends: Ends,
    pub(crate) takings: Takings,
    pub(crate) lists: Lists,
    pub(crate) untold: UntoldSets,
    pub(crate) counters: Counters,
}

/// Ledger and catalogue change together: a pool's index means the same in both.
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    pub(crate) catalogue: Arc<Catalogue>,
    /// The life of the store that the ledger was read in.
    pub(crate) epoch: Epoch,
    /// Sticky keys that an ADD in flight is about to hold.
    pub(crate) keys_in_flight: HashSet<Print>,
    /// ADDs that wait for an address.
    pub(crate) waiting: Waiting,
    /// Set until it is known what is alive on this machine.
    pub(crate) unsettled: Option<Unsettled>,
    /// The store went back in the life of this daemon.
    pub(crate) went_back: bool,
    /// Addresses that are not handed out: a census passes them over.
    pub(crate) reservations: Vec<Reservation>,
    /// Pools that the store holds and that cannot be served.
    pub(crate) unserved: Vec<Unserved>,
    /// Pools that are deleted and stay until their holders have left.
    pub(crate) leaving: Vec<ObjectName>,
    /// When another census is due after the store went back: who was on the way then has its links up.
    pub(crate) census_again: Option<Moment>,
}

// === impl Options ===

impl Options {
    /// The defaults of DESIGN section 5 for this node.
    #[must_use]
    pub fn new(node: NodeRef) -> Self {
        // A job computes a decision or waits for the kernel for some microseconds: a few per core keep all busy.
        let jobs = std::thread::available_parallelism().map_or(2, usize::from).saturating_mul(4);
        Self { node, sweep: SWEEP, jobs, rows_kept: 100_000, went_back: None, inline: false }
    }
}

// === impl Engine ===

impl Engine {
    /// Reads the store and takes over its pools and rows. Policies are installed by the caller through
    /// [`Engine::install_policies`], because a policy that fails must not keep the engine from starting.
    ///
    /// # Errors
    /// The store cannot be read, or holds objects that cannot be served.
    pub fn start(ports: Ports, options: Options) -> Result<Arc<Self>, EngineError> {
        let now = now(&*ports.clock);
        let mut ledger = Ledger::new(None);
        ledger.note_agent(&options.node, now);
        ports.store.scan(&mut |Row { lease, revision }| ledger.apply(&lease, revision.0, now))?;
        let mut state = State::new(ledger, ports.store.identity().epoch);
        state.configure(&ports.store.objects()?, now)?;
        if let Some(why) = &options.went_back {
            state.unsettled = Some(Unsettled::new(true, why));
            state.went_back = true;
        }
        Ok(Arc::new(Self {
            jobs: Arc::new(Semaphore::new(options.jobs.max(1))),
            background: Arc::new(Semaphore::new(1)),
            probes: Arc::new(Semaphore::new(PROBES_AT_ONCE)),
            gate: Arc::default(),
            doubtful: Mutex::default(),
            resolving: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
            objects: tokio::sync::Mutex::default(),
            given: Mutex::default(),
            settling: tokio::sync::Mutex::default(),
            locks: AttachmentLocks::default(),
            proofs: Proofs::default(),
            suspicions: Mutex::default(),
            blamed: Mutex::default(),
            went_back: Notify::new(),
            sweeping: tokio::sync::Mutex::default(),
            sweep_now: Notify::new(),
            ends: Ends::default(),
            takings: Takings::default(),
            lists: Lists::default(),
            untold: UntoldSets::default(),
            counters: Counters::default(),
            ports,
            options,
        }))
    }

    /// Replaces what the store holds by an export, and takes it over. The store begins a new life (epoch): it went
    /// back in time. ADDs in flight meet a conflict and decide anew.
    ///
    /// # Errors
    /// The store is not empty and `mode` does not say replace, or the objects cannot be served; nothing changed then.
    pub async fn import(
        self: &Arc<Self>,
        contents: Contents,
        mode: ImportMode,
    ) -> Result<(), EngineError> {
        let _one = self.objects.lock().await;
        check_all(&contents.objects)?;
        let mode = if self.is_untouched()? { ImportMode::Replace } else { mode };
        let engine = self.clone();
        // Its own task: the ledger must follow the store even if the caller goes away.
        let task = tokio::spawn(async move {
            let _alone = engine.gate.clone().write_owned().await;
            engine.ports.store.import(contents, mode).await?;
            engine
                .in_background(|engine| engine.reload("the store was replaced by an import"))
                .await?
        });
        task.await.map_err(|e| EngineError::Bug {
            what: format!("an import ended without an answer: {e}"),
        })??;
        self.learn_if_possible().await;
        Ok(())
    }

    /// A store that holds nothing but bundled policies is one that nobody has used yet.
    fn is_untouched(&self) -> Result<bool, EngineError> {
        let bundled = |object: &Object| match object {
            Object::IPAMPolicy(policy) => matches!(policy.spec.source, PolicySource::Bundled(_)),
            Object::IPPool(_) | Object::IPReservation(_) => false,
        };
        let no_lease = self.state.lock().ledger.is_empty();
        Ok(no_lease && self.ports.store.objects()?.iter().all(bundled))
    }

    /// Reads everything anew after the store has begun another life, for this reason.
    pub(crate) fn reload(&self, why: &str) -> Result<(), EngineError> {
        let now = self.now();
        let mut ledger = Ledger::new(Some(&self.state.lock().ledger));
        self.ports
            .store
            .scan(&mut |Row { lease, revision }| ledger.apply(&lease, revision.0, now))?;
        let mut state = State::new(ledger, self.epoch());
        state.configure(&self.ports.store.objects()?, now)?;
        {
            let mut present = self.state.lock();
            state.unsettled = Some(Unsettled::after_import(&present, why));
            state.went_back = true;
            // Whoever waits goes on waiting; the pools are other ones perhaps.
            state.waiting = std::mem::take(&mut present.waiting);
            state.waiting.wake_all();
            *present = state;
        }
        self.take_back_others(&policies_of(&self.ports.store.objects()?));
        for refusal in self.install_policies()? {
            tracing::error!(%refusal, "the newest version of a policy is not served; what served before, or the built-in strategy, answers for it");
        }
        Ok(())
    }

    /// An agent has spoken, in the boot that `node` names: what it holds from an earlier boot is over.
    pub fn note_agent(&self, node: &NodeRef) {
        let now = self.now();
        let mut state = self.state.lock();
        state.ledger.note_agent(node, now);
        state.waiting.wake();
    }

    /// The names of nodes on which something is held, or may be.
    #[must_use]
    pub fn holding_nodes(&self) -> BTreeSet<Arc<str>> {
        let nodes = self.state.lock().ledger.nodes_where(is_held);
        nodes.into_iter().map(|node| node.name.clone()).collect()
    }

    /// How many addresses each node has that are held, or may be; a node as an agent knew it at ADD.
    #[must_use]
    pub fn held_by_node(&self) -> Vec<(Arc<NodeRef>, usize)> {
        self.state.lock().ledger.count_by_node(is_held)
    }

    /// What the engine counts.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The store's present life.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.ports.store.identity().epoch
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn now(&self) -> Now {
        now(&*self.ports.clock)
    }

    /// Runs a piece that computes or blocks on its own thread; at most `options.jobs` at once.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        self.run(self.jobs.clone(), work).await
    }

    /// The same for what no caller of a verb waits for: it never takes the turn of an ADD.
    pub(crate) async fn in_background<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        self.run(self.background.clone(), work).await
    }

    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        turns: Arc<Semaphore>,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let turn = turns.acquire_owned().await;
        if self.options.inline {
            // Others get in between, as they would while a thread works.
            tokio::task::yield_now().await;
            return Ok(work(self));
        }
        let engine = self.clone();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&engine)
        })
        .await
        .map_err(|e| EngineError::Bug { what: format!("a decision ended without an answer: {e}") })
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("options", &self.options).finish_non_exhaustive()
    }
}

fn now(clock: &dyn Clock) -> Now {
    Now { moment: clock.now(), wall: clock.wall() }
}

// === impl State ===

impl State {
    fn new(ledger: Ledger, epoch: Epoch) -> Self {
        Self {
            ledger,
            epoch,
            catalogue: Arc::default(),
            keys_in_flight: HashSet::new(),
            waiting: Waiting::default(),
            unsettled: None,
            census_again: None,
            went_back: false,
            reservations: Vec::new(),
            unserved: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// Whether the pool may have addresses that it did not have before.
    fn is_wider(&self, pool: &Pool) -> bool {
        let before = self.ledger.pool_named(&pool.name).and_then(|index| self.ledger.pool(index));
        let spec = &pool.spec;
        before.map(|before| &before.spec).is_none_or(|before| {
            (before.cidr, &before.ranges, &before.exclude, before.gateway)
                != (spec.cidr, &spec.ranges, &spec.exclude, spec.gateway)
                || (before.disabled && !spec.disabled)
        })
    }

    /// What can be served of a set of objects. Of two pools that overlap it is the one that serves already, else the earlier
    /// one of the list.
    ///
    /// # Errors
    /// A reservation that cannot be read: without it, addresses would be given that it keeps back.
    pub(crate) fn served(&self, objects: &[Object]) -> Result<Served, EngineError> {
        let (mut pools, mut unserved) = (Vec::<Pool>::new(), Vec::new());
        let mut reservations = Vec::new();
        let mut objects: Vec<&Object> = objects.iter().collect();
        let serves = |object: &Object| {
            self.ledger.pools().any(|p| p.name.as_str() == object.name().as_str())
        };
        objects.sort_by_key(|object| !serves(object));
        for object in objects.iter().copied() {
            match object {
                Object::IPPool(object) => match acceptable(object, &pools) {
                    Ok(pool) => pools.push(pool),
                    Err((reason, error)) => unserved.push(Unserved {
                        name: object.metadata.name.clone(),
                        refusal: Refusal { reason, message: error.to_string() },
                    }),
                },
                Object::IPReservation(reservation) => {
                    reservations.push(reservation_of(reservation)?);
                }
                Object::IPAMPolicy(_) => {}
            }
        }
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        let leaving = leaving(objects.iter().copied()).cloned().collect();
        Ok(Served { pools, reservations, unserved, leaving })
    }

    /// Whether these pools and reservations are served already: to take them over again would make all ADDs in flight
    /// decide anew.
    pub(crate) fn is_configured_by(&self, objects: &[Object]) -> Result<bool, EngineError> {
        let Served { pools, reservations, unserved, leaving } = self.served(objects)?;
        let same_reservations = reservations.len() == self.reservations.len()
            && reservations.iter().all(|one| self.reservations.contains(one));
        let same_rest = unserved == self.unserved && leaving == self.leaving;
        Ok(same_reservations && same_rest && self.ledger.pools().eq(pools.iter()))
    }

    /// Takes over all reservations and those pools that can be served.
    pub(crate) fn configure(&mut self, objects: &[Object], now: Now) -> Result<(), EngineError> {
        let Served { pools, reservations, unserved, leaving } = self.served(objects)?;
        for one in unserved.iter().filter(|one| !self.unserved.contains(one)) {
            tracing::error!(pool = %one.name, why = one.refusal.message, "the pool serves nothing");
        }
        (self.unserved, self.leaving) = (unserved, leaving);
        let facts =
            |pool: &Pool| PoolFacts { name: pool.name.clone(), labels: pool.spec.labels.clone() };
        self.catalogue = Arc::new(Catalogue { pools: pools.iter().map(facts).collect() });
        let is_lifted = |before: &Reservation| !reservations.contains(before);
        let wider =
            pools.iter().any(|pool| self.is_wider(pool)) || self.reservations.iter().any(is_lifted);
        if wider && self.unsettled.is_none() {
            // What the store forgot when it went back may live there.
            let strict = self.went_back;
            self.unsettled = Some(Unsettled::new(strict, "a pool has addresses that it had not"));
        }
        self.reservations.clone_from(&reservations);
        self.ledger.configure(pools, &reservations, now);
        self.waiting.wake_all();
        Ok(())
    }
}

/// What a set of objects comes to.
pub(crate) struct Served {
    /// By name, so that indexes are reproducible.
    pub(crate) pools: Vec<Pool>,
    pub(crate) reservations: Vec<Reservation>,
    pub(crate) unserved: Vec<Unserved>,
    pub(crate) leaving: Vec<ObjectName>,
}

/// A pool that cannot be served: a store that operators write to takes it without asking us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unserved {
    pub(crate) name: ObjectName,
    pub(crate) refusal: Refusal,
}

/// The pools that are deleted and still there.
fn leaving<'a>(objects: impl Iterator<Item = &'a Object>) -> impl Iterator<Item = &'a ObjectName> {
    let is_leaving = |object: &&Object| matches!(object, Object::IPPool(pool) if pool.metadata.deletion_timestamp.is_some());
    objects.filter(is_leaving).map(Object::name)
}

/// Checks that all pools and reservations can be served together.
pub(crate) fn check_all(objects: &[Object]) -> Result<(), EngineError> {
    let mut pools = Vec::<Pool>::new();
    let mut objects: Vec<&Object> = objects.iter().collect();
    objects.sort_by(|a, b| a.name().cmp(b.name()));
    for object in objects {
        match object {
            Object::IPPool(object) => {
                pools.push(acceptable(object, &pools).map_err(|(_, error)| error)?);
            }
            Object::IPReservation(reservation) => drop(reservation_of(reservation)?),
            Object::IPAMPolicy(_) => {}
        }
    }
    Ok(())
}

/// Whether somebody holds it, or may.
pub(crate) fn is_held(slot: &Slot) -> bool {
    matches!(slot.status, Status::Bound { .. } | Status::Quarantined { .. })
}

/// The pool, if it can be served beside these; else why not, in one word and in a sentence.
fn acceptable(
    object: &Resource<PoolSpec>,
    pools: &[Pool],
) -> Result<Pool, (&'static str, EngineError)> {
    let pool = pool_of(object).map_err(|error| ("Invalid", error))?;
    let Some(other) = pools.iter().find(|other| pool.overlaps(other)) else { return Ok(pool) };
    let error = EngineError::Refused {
        object: format!("IPPool {}", pool.name),
        why: format!(
            "spec.cidr {} overlaps {} of pool {} in space {}; choose another CIDR or another space",
            pool.spec.cidr, other.spec.cidr, other.name, other.spec.space
        ),
    };
    Err(("Overlaps", error))
}

fn pool_of(object: &Resource<PoolSpec>) -> Result<Pool, EngineError> {
    let mut spec = object.spec.clone();
    spec.disabled |= object.metadata.deletion_timestamp.is_some();
    Ok(Pool::new(pool_name(&object.metadata.name)?, spec)?)
}

fn reservation_of(object: &Resource<ReservationSpec>) -> Result<Reservation, EngineError> {
    Ok(Reservation::new(object.metadata.name.as_str(), &object.spec)?)
}

pub(crate) fn pool_name(name: &tenure_core::name::ObjectName) -> Result<PoolName, EngineError> {
    // Both names follow the same rule.
    PoolName::new(name.as_str()).map_err(|e| EngineError::Bug { what: e.to_string() })
}
