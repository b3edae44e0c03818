//! The agent of a node.
//!
//! Stop: no new CNI calls, the running ones end -> the spool ends -> the connections fall.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tenure_cni::{Service, Spool};
use tenure_link::agent::{Agent, Options, Ports};
use tenure_witness::KernelWitness;
use tokio::sync::watch;

use super::dial;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::run::{StopSignals, cni_options, notify};
use crate::{spool, wiring};

/// How long an ADD waits where its configuration does not say. A kubelet waits for minutes, and begins anew with another
/// sandbox.
const ADD_WAIT: Duration = Duration::from_secs(60);

/// Serves the node until it is told to stop.
pub(crate) async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut stop = StopSignals::new()?;
    std::fs::create_dir_all(&config.state_dir)
        .with_context(|| format!("making the folder {}", config.state_dir.display()))?;
    let (kernel, node) = wiring::build_witness(config)?;
    let ports = Ports {
        dial: dial::dial(config).await?,
        kernel: kernel.clone(),
        wire: wiring::build_wire(),
        clock: Arc::new(SystemClock::new()),
    };
    let agent = Agent::start(ports, Options::new(node.clone()), &config.state_dir)
        .with_context(|| format!("opening the state folder {}", config.state_dir.display()))?;
    hear_ends(&kernel, &agent);
    let drain = tokio::spawn(spool::drain_forever(
        Spool::new(&config.cni.spool),
        agent.clone(),
        config.reclaim.sweep.0,
        agent.links().changes(),
    ));
    let options = tenure_cni::Options { add_wait: ADD_WAIT, ..cni_options(config) };
    let cni = Service::bind(options, Arc::new(agent.clone()))?.start();
    let links = tokio::spawn(report(agent.links().changes(), agent.clone()));

    tracing::info!(cni = %config.cni.socket.display(), node = %node.name, "the agent serves");
    notify(&[sd_notify::NotifyState::Ready]);
    stop.wait().await;
    tracing::info!("the agent stops");
    notify(&[sd_notify::NotifyState::Stopping]);

    cni.shutdown().await;
    drain.abort();
    links.abort();
    Ok(())
}

/// The end of a network namespace is told to the allocators.
fn hear_ends(kernel: &KernelWitness, agent: &Agent) {
    // Weak: the agent holds the witness.
    let agent = agent.downgrade();
    let ended = move || {
        if let Some(agent) = agent.upgrade() {
            agent.note_end();
        }
    };
    if let Err(error) = kernel.on_end(ended) {
        tracing::warn!(%error, "the end of a namespace is noticed by the regular sweep only");
    }
}

/// Says in the log which allocators are reached, each time that changes.
async fn report(mut changes: watch::Receiver<u64>, agent: Agent) {
    let mut last = None;
    while changes.changed().await.is_ok() {
        let views = agent.links().views();
        let leader = views.iter().find(|view| view.leads).map(|view| view.replica.clone());
        let now = (views.len(), leader);
        if last.as_ref() != Some(&now) {
            tracing::info!(replicas = now.0, leader = now.1, "allocators in reach");
            last = Some(now);
        }
    }
}
