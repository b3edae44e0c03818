//! The life of the daemon.
//!
//! Stop: ADDs that wait for an address are sent away, no new CNI calls, the running ones end -> no new admin calls -> spool, sweep and watch end -> the
//! store's writer ends. Whatever was answered is durable before its answer, so that a kill at any point loses
//! nothing.

use std::sync::Arc;

use anyhow::Context as _;
use tenure_cni::{Service, Spool};
use tenure_core::time::Clock;
use tenure_engine::{Background, EngineVerbs};
use tenure_store::Store as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::args::{Args, Role};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::high_water::HighWater;
use crate::{cluster, install, log, metrics, spool, wiring};

/// Decisions, looks and reads of the store run there, each short, and up to 16 probes of a third of a second; each
/// thread costs memory.
const BLOCKING_THREADS: usize = 40;
/// The same of an allocator, whose looks wait for agents; a thread that waits costs little.
const THREADS_THAT_WAIT: usize = 128;
/// Open files at most: every connection, twice over.
const DESCRIPTORS: u64 = 8192;
/// How long work on other threads may go on when all has been closed.
const LAST_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if let Some(Role::InstallPlugin { folder }) = &args.role {
        println!("installed {}", install::plugin(folder)?.display());
        return Ok(());
    }
    let config = Config::read(&args)?;
    if args.check {
        println!("the configuration is valid");
        return Ok(());
    }
    log::start(&config.log)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("tenured")
        .max_blocking_threads(match args.role {
            Some(Role::Allocator) => THREADS_THAT_WAIT,
            _ => BLOCKING_THREADS,
        })
        .build()
        .context("starting the runtime")?;
    let outcome = runtime.block_on(async {
        match args.role {
            Some(Role::Agent) => cluster::agent::serve(&config).await,
            Some(Role::Allocator) => cluster::allocator::serve(&config).await,
            Some(Role::InstallPlugin { .. } | Role::CompilePolicy { .. }) | None => {
                serve(&args, &config).await
            }
        }
    });
    // A policy that is being compiled, or a look that hangs, does not hold up the end.
    runtime.shutdown_timeout(LAST_PATIENCE);
    outcome
}

async fn serve(args: &Args, config: &Config) -> anyhow::Result<()> {
    let mut stop = StopSignals::new()?;
    let (store, is_new) = wiring::build_store(config)?;
    let (kernel, node) = wiring::build_witness(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let policies = wiring::build_policies(config, clock.clone())?;
    let ports = wiring::ports(&store, policies.clone(), kernel.clone(), clock);
    let mark = Arc::new(HighWater::beside(&config.cni.socket, node.boot.to_string()));
    let went_back = wiring::check_history(&store, &mark).await?;
    let engine = wiring::build_engine(ports, node, (config, went_back))?;
    let fetching = tokio::spawn(policies.follow(engine.clone()));
    wiring::hear_ends(&kernel, &engine);
    wiring::apply_manifests(&engine, is_new, args.manifests.as_deref()).await?;
    engine.learn_what_lives().await?;
    let noting = tokio::spawn(mark.clone().note_forever(store.clone(), engine.clone()));

    let background = Background::start(&engine);
    // The engine is always there.
    let never = watch::Sender::new(0);
    let verbs = EngineVerbs::new(engine.clone());
    let drain = tokio::spawn(spool::drain_forever(
        Spool::new(&config.cni.spool),
        verbs.clone(),
        config.reclaim.sweep.0,
        never.subscribe(),
    ));
    let cni = Service::bind(cni_options(config), Arc::new(verbs))?.start();
    let admin = metrics::admin(config, &engine, cni.metrics())?.start();

    tracing::info!(cni = %config.cni.socket.display(), admin = %config.admin.socket.display(), "tenured serves");
    notify(&[sd_notify::NotifyState::Ready]);
    stop.wait().await;
    tracing::info!("tenured stops");
    notify(&[sd_notify::NotifyState::Stopping]);

    engine.send_waiters_away();
    cni.shutdown().await;
    admin.shutdown().await;
    drain.abort();
    noting.abort();
    fetching.abort();
    mark.note_if_known(&engine, &store.identity());
    background.stop().await;
    tokio::task::spawn_blocking(move || store.close()).await.context("closing the store")?;
    Ok(())
}

/// Each caller needs a descriptor, and 1024 is what many supervisors give.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays low; many callers at once may be turned away");
        }
    }
}

pub(crate) fn cni_options(config: &Config) -> tenure_cni::Options {
    let mut options = tenure_cni::Options::new(&config.cni.socket);
    options.allowed_uids.extend(&config.cni.allowed_uids);
    options.max_connections = config.cni.max_connections;
    options
}

/// Tells the service supervisor, if there is one.
pub(crate) fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service supervisor was not told");
    }
}

pub(crate) struct StopSignals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl StopSignals {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
            int: signal(SignalKind::interrupt()).context("listening for SIGINT")?,
        })
    }

    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
