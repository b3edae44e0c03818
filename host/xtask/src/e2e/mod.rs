//! `cargo xtask e2e`: Tenure in a real Kubernetes, through what happens to clusters.
//!
//! Three nodes with macvlan and a pool of exactly 60 addresses. After each scenario every pod runs on an address that its
//! lease says is its own; and during all of them an observer in the network of the pods sees no address answer twice.

mod cli;
mod observer;
mod outages;
mod rebuilds;
mod state;
mod world;

use std::time::Instant;

use anyhow::{bail, ensure};

use crate::cluster::{self, Cluster};
use crate::workspace;
use world::World;

/// A scenario, by name and what it shows.
struct Scenario {
    name: &'static str,
    shows: &'static str,
    play: fn(&mut World) -> anyhow::Result<()>,
}

/// How one ended.
struct Row {
    scenario: &'static Scenario,
    seconds: f64,
    answers: u64,
    doubles: usize,
    outcome: anyhow::Result<()>,
}

/// Each leaves 60 pods, or nothing; any can be the first.
static SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "create",
        shows: "a Deployment of 60 in a pool of 60",
        play: rebuilds::create,
    },
    Scenario {
        name: "rebuild",
        shows: "all 60 deleted at once and rebuilt",
        play: rebuilds::rebuild,
    },
    Scenario {
        name: "stateful",
        shows: "a StatefulSet of 6 keeps its addresses over restart and move",
        play: rebuilds::stateful,
    },
    Scenario {
        name: "power-cut",
        shows: "a node is off, its pods are replaced elsewhere",
        play: outages::power_cut,
    },
    Scenario { name: "all-off", shows: "all nodes off and on", play: outages::all_off },
    Scenario {
        name: "partition",
        shows: "a node is cut off with its pods alive, then they are force-deleted",
        play: outages::partition,
    },
    Scenario {
        name: "kills",
        shows: "kubelet, containerd, agent and allocator killed in between",
        play: rebuilds::kills,
    },
    Scenario {
        name: "cli",
        shows: "tenure by kubeconfig; a dead node gives nothing before its death is confirmed",
        play: cli::cli,
    },
    Scenario {
        name: "empty",
        shows: "everything deleted leaves no held lease",
        play: rebuilds::empty,
    },
];

/// Builds, starts a cluster, plays the named scenarios or all, and ends the cluster.
pub(crate) fn run(names: &[String], no_build: bool, keep: bool) -> anyhow::Result<()> {
    let chosen = chosen(names)?;
    let built = cluster::build(no_build)?;
    let cluster = Cluster::of_this_machine();
    let outcome = cluster.up(&built).and_then(|()| play(&cluster, &chosen));
    let logs = workspace::target().join("e2e-logs");
    match cluster.save_logs(&logs) {
        Ok(()) => println!("the logs are in {}", logs.display()),
        Err(error) => eprintln!("the logs could not be kept: {error:#}"),
    }
    if keep {
        println!("the cluster is still up; end it by `cargo xtask cluster down`");
        return outcome;
    }
    outcome.and(cluster.down())
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    for name in names {
        ensure!(
            SCENARIOS.iter().any(|scenario| scenario.name == name),
            "no scenario {name:?}; there are {}",
            SCENARIOS.each_ref().map(|scenario| scenario.name).join(", ")
        );
    }
    let is_chosen =
        |scenario: &&Scenario| names.is_empty() || names.iter().any(|name| name == scenario.name);
    Ok(SCENARIOS.iter().filter(is_chosen).collect())
}

fn play(cluster: &Cluster, scenarios: &[&'static Scenario]) -> anyhow::Result<()> {
    let mut world = World::new(cluster.clone())?;
    let mut rows = Vec::new();
    for scenario in scenarios {
        let row = play_one(&mut world, scenario);
        let failed = row.outcome.is_err();
        rows.push(row);
        // What follows would begin in a state that nobody knows.
        if failed {
            break;
        }
    }
    print_table(&rows);
    let failed: Vec<_> =
        rows.iter().filter(|row| row.outcome.is_err()).map(|row| row.scenario.name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn play_one(world: &mut World, scenario: &'static Scenario) -> Row {
    world.say(&format!("== {}: {}", scenario.name, scenario.shows));
    let (answers_before, doubles_before) = world.observer.report();
    let began = Instant::now();
    let mut outcome = (scenario.play)(world).and_then(|()| world.hears_all());
    let (answers, doubles) = world.observer.report();
    let doubles = doubles.get(doubles_before.len()..).unwrap_or_default();
    for double in doubles {
        let [one, other] = &double.by;
        let when = world.when(double.at);
        world.say(&format!("!! at {when:.1} s {} answered from {one} and {other}", double.address));
    }
    if outcome.is_ok() && !doubles.is_empty() {
        outcome = Err(anyhow::anyhow!("{} times two pods answered for one address", doubles.len()));
    }
    if let Err(error) = &outcome {
        world.say(&format!("FAILED {}: {error:#}", scenario.name));
    }
    Row {
        scenario,
        seconds: began.elapsed().as_secs_f64(),
        answers: answers - answers_before,
        doubles: doubles.len(),
        outcome,
    }
}

fn print_table(rows: &[Row]) {
    println!(
        "\n{:<10} {:>8} {:>8} {:>7}  {:<6}  what it shows",
        "scenario", "seconds", "answers", "doubles", "result"
    );
    for Row { scenario, seconds, answers, doubles, outcome } in rows {
        let result = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!(
            "{:<10} {seconds:>8.1} {answers:>8} {doubles:>7}  {result:<6}  {}",
            scenario.name, scenario.shows
        );
    }
}
