//! An allocator.
//!
//! Start: facts and store are read whole, then the port of the agents is opened: that it is open says that this replica is
//! ready. Stop: the lease of the leader is given back -> waiting ADDs are sent away, connections close -> sweep and watches
//! end -> the store ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use tenure_core::error::Coded as _;
use tenure_core::lease::NodeRef;
use tenure_core::time::Clock;
use tenure_engine::{Background, Engine, EngineVerbs, Options, Ports};
use tenure_kube::{
    Authority, AuthorityOptions, Facts, FactsOptions, KubeOptions, KubeStore, Leader,
    LeaderOptions, Leadership, NodeOptions, NodeWitness, PodWitness, ReviewOptions, Reviewer,
    ServingFiles,
};
use tenure_link::agent::Stream;
use tenure_link::allocator::{self, Accept, Sessions};
use tenure_store::Store;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;

use super::nodes::ClusterNodes;
use super::reception::Doorway;
use super::witnesses::Witnesses;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::identity;
use crate::policies::Fetching;
use crate::run::{StopSignals, notify};
use crate::{metrics, wiring};

/// Looks of agents take as long as the network does: many may wait at once.
const JOBS: usize = 64;
/// The store is counted on so often: a backup of etcd that is younger than this may be restored unnoticed, where its
/// revision has grown beyond what was seen.
const COUNTS_APART: Duration = Duration::from_secs(5);

/// What the parts of an allocator share.
struct Cluster {
    client: Client,
    clock: Arc<dyn Clock>,
    facts: Arc<Facts>,
    nodes: Arc<NodeWitness>,
    sessions: Arc<Sessions>,
    /// By what this process is known among the replicas.
    identity: String,
}

/// Serves agents until it is told to stop.
pub(crate) async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut stop = StopSignals::new()?;
    let api = super::api_config(config).await?;
    let cluster = build_cluster(config, api.clone()).await?;
    let options =
        KubeOptions { namespace: config.cluster.namespace.clone(), ..KubeOptions::default() };
    let store = Arc::new(KubeStore::open(api, options).await?);
    // Both are long lists in a large cluster.
    let (engine, ()) =
        tokio::join!(build_engine(config, &cluster, store.clone()), cluster.facts.ready());
    let (engine, policies) = engine?;
    let mut background = Background::start_following(&engine);
    let mut tasks = JoinSet::new();
    tasks.spawn(policies.follow(engine.clone()));
    tasks.spawn(wake(engine.clone(), cluster.facts.changed()));
    tasks.spawn(cluster_nodes(&cluster, &engine).keep_up());
    let authority = build_authority(config, &cluster).await?;
    tasks.spawn({
        let authority = authority.clone();
        async move { match authority.keep().await {} }
    });
    let options = LeaderOptions::new(&config.cluster.namespace, &cluster.identity);
    let leadership = Leadership::start(cluster.client.clone(), options);
    let mut leader = leadership.watch();
    let (says, leads) = watch::channel(None);
    let agents =
        serve_agents(config, &cluster, (&engine, store.clone()), (accept(&authority), leads))
            .await?;
    let nodes = Arc::new(cluster_nodes(&cluster, &engine));
    let admin = metrics::allocator(config, &engine, cluster.sessions.clone(), nodes)?.start();

    tracing::info!(agents = %config.allocator.listen, identity = cluster.identity, "the allocator serves");
    notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        () = stop.wait() => {}
        () = follow_leader(&mut leader, &says, &mut background) => {}
        () = count(&store, leadership.watch()) => {}
    }
    tracing::info!("the allocator stops");
    notify(&[sd_notify::NotifyState::Stopping]);

    leadership.resign().await;
    engine.send_waiters_away();
    agents.shutdown().await;
    admin.shutdown().await;
    tasks.shutdown().await;
    background.stop().await;
    Ok(())
}

async fn build_cluster(config: &Config, api: kube::Config) -> anyhow::Result<Cluster> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let client = Client::try_from(api).context("preparing the client of the API server")?;
    let facts = Facts::start(client.clone(), clock.clone(), FactsOptions::default());
    let options = NodeOptions {
        namespace: config.cluster.namespace.clone(),
        lost: config.nodes.lost_after.0,
        ..NodeOptions::default()
    };
    let nodes = NodeWitness::start(client.clone(), facts.clone(), clock.clone(), options);
    let (nodes, sessions) = (Arc::new(nodes), Arc::new(Sessions::default()));
    // No other process may have it, not even the next one of this pod.
    let (name, random) = (config.allocator_name(), identity::new_id()?);
    let identity = format!("{name}-{}", random.get(..8).unwrap_or_default());
    Ok(Cluster { client, clock, facts, nodes, sessions, identity })
}

async fn build_engine(
    config: &Config,
    cluster: &Cluster,
    store: Arc<dyn Store>,
) -> anyhow::Result<(Arc<Engine>, Arc<Fetching>)> {
    let Cluster { clock, facts, nodes, sessions, identity, .. } = cluster;
    let witnesses = Arc::new(Witnesses {
        sessions: sessions.clone(),
        nodes: nodes.clone(),
        pods: PodWitness::new(facts.clone(), clock.clone()),
        facts: facts.clone(),
        runtime: Handle::current(),
    });
    let policies = wiring::build_policies(config, clock.clone())?;
    let ports = Ports {
        store,
        policies: policies.clone(),
        kernel: witnesses.clone(),
        wire: Some(witnesses),
        clock: clock.clone(),
    };
    // It has no containers: whose they are is said with each ADD.
    let node = NodeRef {
        name: identity.as_str().into(),
        uid: "".into(),
        agent: format!("allocator/{identity}").into(),
        boot: identity::boot_id()?.into(),
    };
    let options = Options {
        sweep: config.reclaim.sweep.0,
        rows_kept: config.store.rows_kept,
        jobs: JOBS,
        ..Options::new(node)
    };
    // The first view of the store takes as long as the API server does.
    let start = move || -> anyhow::Result<Arc<Engine>> {
        let engine = Engine::start(ports, options)?;
        for refusal in engine.install_policies()? {
            tracing::error!(%refusal, code = refusal.code(), "the newest version of a policy is not served; the last good one, or the built-in strategy, answers for it");
        }
        Ok(engine)
    };
    let engine = tokio::task::spawn_blocking(start).await.context("starting the engine")??;
    Ok((engine, policies))
}

async fn build_authority(config: &Config, cluster: &Cluster) -> anyhow::Result<Arc<Authority>> {
    let settings = &config.allocator;
    let serving_files = settings
        .certificate
        .clone()
        .zip(settings.key.clone())
        .map(|(cert, key)| ServingFiles { cert, key });
    let options = AuthorityOptions {
        serving_files,
        ..AuthorityOptions::new(&config.cluster.namespace, cluster.clock.clone())
    };
    Ok(Authority::open(cluster.client.clone(), options).await?)
}

async fn serve_agents(
    config: &Config,
    cluster: &Cluster,
    (engine, store): (&Arc<Engine>, Arc<KubeStore>),
    ways: (Accept, watch::Receiver<Option<String>>),
) -> anyhow::Result<allocator::Handle> {
    let namespace = &config.cluster.namespace;
    let review = ReviewOptions {
        service_account: format!("system:serviceaccount:{namespace}:tenure-agent"),
        ..ReviewOptions::default()
    };
    let doorway = Arc::new(Doorway {
        reviewer: Reviewer::new(cluster.client.clone(), review),
        facts: cluster.facts.clone(),
        nodes: cluster.nodes.clone(),
        engine: engine.clone(),
        store,
        checking: tokio::sync::Mutex::default(),
    });
    let options = allocator::Options::new(config.allocator.listen, &cluster.identity);
    let ports = (Arc::new(EngineVerbs::new(engine.clone())), doorway);
    let service = allocator::Service::bind(options, ports, cluster.sessions.clone(), ways).await;
    let service = service.with_context(|| format!("listening on {}", config.allocator.listen))?;
    Ok(service.start())
}

fn cluster_nodes(cluster: &Cluster, engine: &Arc<Engine>) -> ClusterNodes {
    ClusterNodes {
        nodes: cluster.nodes.clone(),
        facts: cluster.facts.clone(),
        sessions: cluster.sessions.clone(),
        engine: engine.clone(),
        clock: cluster.clock.clone(),
    }
}

fn accept(authority: &Authority) -> Accept {
    let acceptor = TlsAcceptor::from(authority.server_config());
    Arc::new(move |stream: TcpStream| {
        let secured = acceptor.accept(stream);
        Box::pin(async move { Ok(Box::new(secured.await?) as Box<dyn Stream>) })
    })
}

/// Tells the agents who leads, and sweeps while it is this replica.
async fn follow_leader(
    leader: &mut watch::Receiver<Leader>,
    says: &watch::Sender<Option<String>>,
    background: &mut Background,
) {
    loop {
        let now = leader.borrow_and_update().clone();
        tracing::info!(leader = now.holder, is_me = now.is_me, "the leader of the allocators");
        background.sweep(now.is_me);
        says.send_replace(now.holder);
        if leader.changed().await.is_err() {
            return;
        }
    }
}

/// Counts the store on while this replica leads.
async fn count(store: &KubeStore, leader: watch::Receiver<Leader>) {
    let mut interval = tokio::time::interval(COUNTS_APART);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if !leader.borrow().is_me {
            continue;
        }
        if let Err(error) = store.tick().await {
            tracing::warn!(%error, "the store could not be counted on; it is tried again");
        }
    }
}

/// What the API tells of pods and nodes wakes the sweep.
async fn wake(engine: Arc<Engine>, mut changed: watch::Receiver<u64>) {
    while changed.changed().await.is_ok() {
        engine.note_news_of_owners();
    }
}
