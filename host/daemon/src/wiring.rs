//! The parts and how they are put together, one `build_*` step each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tenure_core::error::Coded as _;
use tenure_core::lease::NodeRef;
use tenure_core::objects::ObjectKind;
use tenure_core::ports::Wire;
use tenure_core::time::Clock;
use tenure_engine::{Engine, Options, Ports};
use tenure_policy_host::{CompileBounds, Compiler, PolicyHost, PolicyHostOptions, RingOptions};
use tenure_store::{RedbOptions, RedbStore, Store as _};
use tenure_witness::{KernelWitness, WireWitness};

use crate::cgroup;
use crate::config::Config;
use crate::high_water::HighWater;
use crate::identity::{self, Remembered};
use crate::manifests;
use crate::policies::{Fetching, Kept};

/// Memory of the decision ring: some thousand decisions of a small site, some hundred of a large one.
const RING_BYTES: usize = 4 * 1024 * 1024;
/// The program that runs, also after an upgrade has put another in its place: code is compiled by the wasmtime that loads it.
const OURSELVES: &str = "/proc/self/exe";

/// The code of a policy that does not pass the pipeline.
const REFUSED: &str = "POLICY_REFUSED";

/// Opens the store. A second daemon on the same folder fails here and has touched nothing (I13).
pub(crate) fn build_store(config: &Config) -> anyhow::Result<(Arc<RedbStore>, bool)> {
    let options = RedbOptions {
        cache_bytes: config.store.cache_mib.saturating_mul(1024 * 1024),
        history_events: config.store.history_events,
    };
    let store = RedbStore::open(&config.state_dir, &options)?;
    // Also after a first start that was cut short. Not by its revision: that of a shared store is never 0.
    let is_new = store.identity().fresh && store.objects()?.is_empty();
    Ok((Arc::new(store), is_new))
}

/// Starts the kernel witness and finds out who this agent is.
pub(crate) fn build_witness(config: &Config) -> anyhow::Result<(Arc<KernelWitness>, NodeRef)> {
    let boot = identity::boot_id()?;
    let before = identity::remembered(&config.state_dir)?;
    let earlier =
        before.as_ref().filter(|before| before.boot == boot).and_then(|before| before.home);
    let witness = KernelWitness::start(&tenure_witness::Options { earlier_home: earlier })?;
    let home = witness.home().cookie;
    let me = Remembered::next(before, boot, home)?;
    identity::remember(&config.state_dir, &me)?;
    let node = identity::node(config.node.as_deref(), &me);
    Ok((Arc::new(witness), node))
}

/// Whether the store went back in time: then it begins a new life.
pub(crate) async fn check_history(
    store: &Arc<RedbStore>,
    mark: &HighWater,
) -> anyhow::Result<Option<String>> {
    let went_back = mark.went_back(&store.identity());
    if let Some(why) = &went_back {
        let epoch = store.raise_epoch().await?;
        tracing::error!(
            why,
            epoch = epoch.0,
            "nothing is given before it is known what is alive on this machine"
        );
    }
    Ok(went_back)
}

/// The policy host, and what fetches modules for it.
pub(crate) fn build_policies(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<Fetching>> {
    let folder = match &config.policy_dir {
        Some(folder) => folder.clone(),
        None => beside_the_binary()?,
    };
    let ring = RingOptions { bytes: RING_BYTES, ..RingOptions::default() };
    let kept = Kept::below(&config.state_dir);
    let compiler = Compiler::Child { program: OURSELVES.into(), bounds: compile_bounds() };
    let options = PolicyHostOptions {
        folder,
        fetched: Some(kept.folder().to_owned()),
        trust: config.policy.trust()?,
        ring,
        compiler,
        state: Some(config.state_dir.clone()),
        ..PolicyHostOptions::default()
    };
    let host = Arc::new(PolicyHost::new(options, clock)?);
    Ok(Arc::new(Fetching::new(host, kept, config.policy.registry.clone())))
}

/// Half of the memory of the service at most: the compiler's end must not be that of the daemon.
fn compile_bounds() -> CompileBounds {
    let bounds = CompileBounds::default();
    let half = cgroup::memory_limit().map_or(bounds.memory, |limit| limit / 2);
    CompileBounds { memory: bounds.memory.min(half), ..bounds }
}

/// Starts the engine and installs what the store holds. A policy that is refused is reported and not served.
pub(crate) fn build_engine(
    ports: Ports,
    node: NodeRef,
    (config, went_back): (&Config, Option<String>),
) -> anyhow::Result<Arc<Engine>> {
    let options = Options {
        went_back,
        sweep: config.reclaim.sweep.0,
        rows_kept: config.store.rows_kept,
        ..Options::new(node)
    };
    let engine = Engine::start(ports, options)?;
    for refusal in engine.install_policies()? {
        tracing::error!(%refusal, code = refusal.code(), "the newest version of a policy is not served; the last good one, or the built-in strategy, answers for it");
    }
    Ok(engine)
}

/// Applies what comes with the daemon: the shipped policies to a new store, and the folder of manifests.
pub(crate) async fn apply_manifests(
    engine: &Arc<Engine>,
    is_new: bool,
    folder: Option<&Path>,
) -> anyhow::Result<()> {
    if is_new {
        for policy in manifests::shipped()? {
            let name = policy.name().clone();
            if let Err(error) = engine.apply(vec![policy], false).await {
                tracing::warn!(%error, %name, "a shipped policy was not installed; the built-in strategy answers for it");
            }
        }
    }
    if let Some(folder) = folder {
        let (policies, others): (Vec<_>, Vec<_>) = manifests::read(folder)?
            .into_iter()
            .partition(|object| object.kind() == ObjectKind::IPAMPolicy);
        let applying = || format!("applying the manifests of {}", folder.display());
        let mut applied = engine.apply(others, false).await.with_context(applying)?.len();
        for policy in policies {
            let name = policy.name().clone();
            match engine.apply(vec![policy], false).await {
                Ok(_) => applied += 1,
                // A daemon that does not start because of it would serve nobody, and start again and again.
                Err(error) if error.code() == REFUSED => {
                    tracing::error!(%error, %name, "a policy of the manifests is not taken; what served before, or the built-in strategy, answers for it");
                }
                Err(error) => return Err(error).with_context(applying),
            }
        }
        tracing::info!(objects = applied, folder = %folder.display(), "manifests applied");
    }
    Ok(())
}

pub(crate) fn ports(
    store: &Arc<RedbStore>,
    policies: Arc<Fetching>,
    kernel: Arc<KernelWitness>,
    clock: Arc<dyn Clock>,
) -> Ports {
    tracing::info!(
        store = store.identity().store_id,
        epoch = store.identity().epoch.0,
        "the store is open"
    );
    Ports { store: store.clone(), policies, kernel, wire: build_wire(), clock }
}

/// Starts the wire witness. Without it nothing is probed, and what needs a probe is not given.
pub(crate) fn build_wire() -> Option<Arc<dyn Wire>> {
    match WireWitness::start() {
        Ok(wire) => Some(Arc::new(wire)),
        Err(error) => {
            tracing::warn!(%error, "nothing can be asked on the wire; pools with `probe` are served without it");
            None
        }
    }
}

/// The end of a network namespace wakes the sweep.
pub(crate) fn hear_ends(kernel: &KernelWitness, engine: &Arc<Engine>) {
    // Weak: the engine holds the witness.
    let engine = Arc::downgrade(engine);
    let ended = move || {
        if let Some(engine) = engine.upgrade() {
            engine.note_end();
        }
    };
    if let Err(error) = kernel.on_end(ended) {
        tracing::warn!(%error, "the end of a namespace is noticed by the regular sweep only");
    }
}

fn beside_the_binary() -> anyhow::Result<PathBuf> {
    let binary = std::env::current_exe().context("finding the policy folder beside the binary")?;
    Ok(binary.parent().unwrap_or(Path::new("/")).join("policies"))
}
