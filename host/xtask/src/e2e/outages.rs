//! Scenarios in which nodes are off or out of reach.

use std::time::Duration;

use super::rebuilds::{STATEFUL, mixed};
use super::state::{Pod, State};
use super::world::{POOL, World};
use crate::cluster::NODES;

const MINUTE: Duration = Duration::from_secs(60);
const NODE: &str = "n2";
/// Free addresses during the partition: some of those that are replaced get one, the others must wait.
const ROOM: usize = 10;

/// A StatefulSet and a Deployment, with pods on every node: an earlier outage may have left one without.
fn everywhere(world: &mut World, web: usize) -> anyhow::Result<State> {
    let least = POOL / NODES.len() / 2;
    let is_everywhere = |state: &State| NODES.iter().all(|node| on(state, node).count() >= least);
    let state = mixed(world, web)?;
    if is_everywhere(&state) {
        return Ok(state);
    }
    world.say("a node has few pods: all are made anew");
    let before = state.uids();
    world.delete_all_pods()?;
    world.until("there are pods on every node", 3 * MINUTE, |state| {
        state.is_settled(web + STATEFUL)
            && state.uids().is_disjoint(&before)
            && is_everywhere(state)
    })
}

pub(super) fn power_cut(world: &mut World) -> anyhow::Result<()> {
    everywhere(world, POOL - STATEFUL)?;
    world.cluster.node(&["off", NODE])?;
    world.say(&format!("the power of {NODE} is cut"));
    world.until("the pods of the dead node are to end", 3 * MINUTE, |state| {
        on(state, NODE).all(|pod| pod.is_ending)
    })?;
    // A StatefulSet waits until somebody says that the old pod is gone.
    force_delete(world, "db")?;
    world.until("all are replaced elsewhere", 4 * MINUTE, |state| {
        let mut living = state.pods.iter().filter(|pod| pod.node != NODE);
        living.clone().count() == POOL && living.all(|pod| pod.is_ready && state.owns(pod))
    })?;
    world.cluster.node(&["on", NODE])?;
    world.say(&format!("{NODE} is on again"));
    world.settled(POOL, 240).map(|_| ())
}

pub(super) fn all_off(world: &mut World) -> anyhow::Result<()> {
    let before = everywhere(world, POOL - STATEFUL)?;
    for node in NODES {
        world.cluster.node(&["off", node])?;
    }
    world.say("all nodes are off");
    for node in NODES {
        world.cluster.node(&["on", node])?;
    }
    world.say("all nodes are on");
    let has_restarted = |pod: &Pod| {
        let then = before.pods.iter().find(|one| one.uid == pod.uid);
        then.is_none_or(|then| pod.restarts > then.restarts)
    };
    world.until("every pod runs again", 4 * MINUTE, |state| {
        state.is_settled(POOL) && state.pods.iter().all(has_restarted)
    })?;
    Ok(())
}

pub(super) fn partition(world: &mut World) -> anyhow::Result<()> {
    everywhere(world, POOL - STATEFUL - ROOM)?;
    world.cluster.node(&["cut", NODE, "eth0"])?;
    world.say(&format!("{NODE} is cut off; its pods are still on their segment"));
    let outcome = cut_off(world);
    world.cluster.node(&["heal", NODE, "eth0"])?;
    world.say("healed");
    outcome?;
    let after = world.settled(POOL - ROOM, 240)?;
    // Nobody needs them now. That they can be had again is what the next scenario that fills the pool shows.
    world.say(&format!("{} addresses are still in quarantine", after.quarantined()));
    Ok(())
}

fn cut_off(world: &mut World) -> anyhow::Result<()> {
    world.until("the pods of the lost node are to end", 3 * MINUTE, |state| {
        on(state, NODE).all(|pod| pod.is_ending)
    })?;
    let names: Vec<_> = {
        let state = State::read(&world.cluster)?;
        on(&state, NODE).map(|pod| pod.name.clone()).collect()
    };
    for name in &names {
        world.kubectl(&["delete", "pod", name, "--force", "--grace-period=0"])?;
    }
    world.say(&format!("{} pods are force-deleted; their containers run on", names.len()));
    // Longer than any grace: who is given an address of the living now answers beside them.
    let mut looks = 0;
    world.until("a minute has passed", 2 * MINUTE, |_| {
        looks += 1;
        looks > 75
    })?;
    Ok(())
}

fn on<'a>(state: &'a State, node: &'a str) -> impl Iterator<Item = &'a Pod> {
    state.pods.iter().filter(move |pod| pod.node == node)
}

fn force_delete(world: &World, workload: &str) -> anyhow::Result<()> {
    let state = State::read(&world.cluster)?;
    for pod in on(&state, NODE).filter(|pod| pod.name.starts_with(workload)) {
        world.say(&format!("{} of the dead node is force-deleted", pod.name));
        world.kubectl(&["delete", "pod", &pod.name, "--force", "--grace-period=0"])?;
    }
    Ok(())
}
