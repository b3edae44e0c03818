//! Scenarios in which all nodes are on.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::state::State;
use super::world::{POOL, World};

const MINUTE: Duration = Duration::from_secs(60);
/// How many pods the StatefulSet has.
pub(super) const STATEFUL: usize = 6;

pub(super) fn create(world: &mut World) -> anyhow::Result<()> {
    world.workload("Deployment", "web", POOL)?;
    world.settled(POOL, 120).map(|_| ())
}

/// Sixty pods: with a StatefulSet among them if there was one, because its addresses are kept for it after its end.
fn full(world: &mut World) -> anyhow::Result<State> {
    if State::read(&world.cluster)?.of("db").next().is_some() {
        return mixed(world, POOL - STATEFUL);
    }
    world.workload("Deployment", "web", POOL)?;
    world.settled(POOL, 180)
}

pub(super) fn rebuild(world: &mut World) -> anyhow::Result<()> {
    let before = full(world)?.uids();
    world.delete_all_pods()?;
    let after = world.until("all are new", 3 * MINUTE, |state| {
        state.is_settled(POOL) && state.uids().is_disjoint(&before)
    })?;
    ensure!(after.held() == POOL, "{after}");
    Ok(())
}

/// A StatefulSet of 6 and a Deployment of the rest.
pub(super) fn mixed(world: &mut World, web: usize) -> anyhow::Result<State> {
    world.workload("Deployment", "web", web)?;
    world.until("there is room for a StatefulSet", 2 * MINUTE, |state| {
        state.of("web").count() == web
    })?;
    world.workload("StatefulSet", "db", STATEFUL)?;
    world.settled(web + STATEFUL, 180)
}

pub(super) fn stateful(world: &mut World) -> anyhow::Result<()> {
    let first = mixed(world, POOL - STATEFUL)?;
    let wanted = addresses(&first, "db");
    let old: Vec<_> = first.of("db").map(|pod| pod.uid.clone()).collect();
    world.kubectl(&["rollout", "restart", "statefulset/db"])?;
    let restarted = world.until("the StatefulSet has restarted", 3 * MINUTE, |state| {
        state.is_settled(POOL) && state.of("db").all(|pod| !old.contains(&pod.uid))
    })?;
    same(&wanted, &addresses(&restarted, "db")).context("after a restart")?;
    for name in ["db-0", "db-3"] {
        let node = node_of(&restarted, name)?;
        world.kubectl(&["cordon", &node])?;
        world.kubectl(&["delete", "pod", name])?;
        let moved = world.until(&format!("{name} has left {node}"), MINUTE, |state| {
            state.is_settled(POOL) && state.of("db").any(|pod| pod.name == name && pod.node != node)
        });
        world.kubectl(&["uncordon", &node])?;
        same(&wanted, &addresses(&moved?, "db")).context("after a move")?;
    }
    Ok(())
}

pub(super) fn kills(world: &mut World) -> anyhow::Result<()> {
    full(world)?;
    for what in ["kubelet", "containerd", "agent", "allocator"] {
        let before = full(world)?.uids();
        world.delete_all_pods()?;
        std::thread::sleep(Duration::from_secs(2));
        match what {
            "agent" => world.kill("n1", what)?,
            "allocator" => {
                let leader = world.leader()?;
                world.kill(&leader, what)?;
            }
            _ => {
                world.cluster.node(&["stop", "n1", what])?;
                std::thread::sleep(Duration::from_secs(5));
                world.cluster.node(&["start", "n1", what])?;
            }
        }
        world.until(&format!("all are new though {what} was killed"), 4 * MINUTE, |state| {
            state.is_settled(POOL) && state.uids().is_disjoint(&before)
        })?;
    }
    Ok(())
}

pub(super) fn empty(world: &mut World) -> anyhow::Result<()> {
    full(world)?;
    world.kubectl(&["delete", "deployment,statefulset", "--all"])?;
    world.until("nothing is held", 2 * MINUTE, |state| {
        state.pods.is_empty() && state.leases.iter().all(|lease| lease.state == "Released")
    })?;
    Ok(())
}

pub(super) fn addresses(state: &State, workload: &str) -> BTreeMap<String, String> {
    state.of(workload).map(|pod| (pod.name.clone(), pod.address.clone())).collect()
}

fn node_of(state: &State, pod: &str) -> anyhow::Result<String> {
    let found = state.pods.iter().find(|one| one.name == pod);
    found.map(|pod| pod.node.clone()).with_context(|| format!("there is no {pod}"))
}

fn same(wanted: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> anyhow::Result<()> {
    ensure!(wanted == now, "addresses changed from {wanted:?} to {now:?}");
    Ok(())
}
