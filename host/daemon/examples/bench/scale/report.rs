//! The figures, each with its aim where it has one, and in words what they depend on.

use std::collections::BTreeMap;

use serde_json::json;

use super::size::Size;
use super::story::{Alone, Level, Restart};
use crate::cluster::counters::{Kind, is_write};
use crate::cluster::kubelet::Times;
use crate::cluster::report::round;
use crate::cluster::words::on_path;

/// Aims: an ADD in milliseconds, an allocator in MiB, from its start until it is ready in seconds, and how much more an ADD
/// may cost at the last level than at the first.
const AIM_P99_MS: f64 = 50.0;
const AIM_MIB: f64 = 150.0;
const AIM_READY_S: f64 = 5.0;
const AIM_GROWTH: f64 = 1.3;

/// Whose CPU is told apart.
const ROLES: [&str; 5] = ["leader", "follower", "kube-apiserver", "etcd", "bench"];

#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(String, &'static str, f64, Option<f64>)>,
    /// Leases of each level, what the leader spent on an ADD and a DEL, with and without what it spends when idle, and the
    /// median of an ADD.
    costs: Vec<(usize, [f64; 3])>,
}

// === impl Report ===

impl Report {
    fn row(&mut self, case: impl Into<String>, unit: &'static str, ours: f64, aim: Option<f64>) {
        self.rows.push((case.into(), unit, ours, aim));
    }

    pub(crate) fn take_level(&mut self, level: Level, size: &Size) {
        say(&level, size);
        let leases = level.leases;
        let case = |what: &str| format!("{what} ({leases} leases)");
        let adds = level.adds.times.0.len().max(1) as f64;
        for (verb, outcome, aim) in
            [("ADD", &level.adds, Some(AIM_P99_MS)), ("DEL", &level.dels, None)]
        {
            for (name, share, aim) in [("p50", 0.5, None), ("p99", 0.99, aim), ("most", 1.0, None)]
            {
                let ms = outcome.times.percentile(share);
                self.row(case(&format!("{verb} {name}")), "ms", ms, aim);
            }
            let failed = outcome.failures.len() as f64;
            self.row(case(&format!("{verb} failed")), "verbs", failed, Some(0.0));
        }
        let spent = |role: &str| level.cpu.of(role) * 1e3 / adds;
        let idle = |role: &str| {
            level.idle.of(role) / super::story::IDLE.as_secs_f64() * level.took.as_secs_f64() * 1e3
                / adds
        };
        for role in ["leader", "follower"] {
            let one = |what: &str| case(&format!("CPU of the {role} for an ADD and a DEL{what}"));
            self.row(one(""), "ms", spent(role), None);
            self.row(one(", beyond idle"), "ms", spent(role) - idle(role), None);
        }
        // Of pods, what the kubelets do is not ours.
        let path = |resource: &str, verb: &str| {
            verb != "WATCH" && (resource == "ipleases" || (on_path(resource) && !is_write(verb)))
        };
        let calls = level.calls.sum(Kind::Requests, path) / adds;
        let writes =
            level.calls.sum(Kind::Requests, |r, verb| path(r, verb) && is_write(verb)) / adds;
        self.row(case("API calls for an ADD and a DEL"), "calls", calls, Some(2.0));
        self.row(case("of these writes"), "calls", writes, Some(2.0));
        for (role, memory) in &level.memory {
            let one = |what: &str| case(&format!("memory of the {role}{what}"));
            self.row(one(""), "MiB resident", memory.resident, Some(AIM_MIB));
            self.row(one(", of which its own"), "MiB resident", memory.private, None);
            self.row(one(", the most"), "MiB resident", memory.most, None);
        }
        self.row(case("sweep and list of suspects"), "ms", level.sweep.as_secs_f64() * 1e3, None);
        let median = level.adds.times.percentile(0.5);
        self.costs.push((leases, [spent("leader"), spent("leader") - idle("leader"), median]));
    }

    pub(crate) fn take_restart(&mut self, restart: &Restart, leases: usize) {
        let case = |what: &str| format!("{what} ({leases} leases)");
        let cpu = |role: &str| restart.cpu.of(role);
        eprintln!(
            "    restart: ready in {:.2} s; CPU until then: itself {:.2}, kube-apiserver {:.2}, etcd {:.2}, agents and bench {:.2} s",
            restart.ready.as_secs_f64(),
            cpu("started"),
            cpu("kube-apiserver"),
            cpu("etcd"),
            cpu("bench"),
        );
        self.row(case("restart to ready"), "s", restart.ready.as_secs_f64(), Some(AIM_READY_S));
        self.row(case("restart to all agents"), "s", restart.connected.as_secs_f64(), None);
        let memory = restart.memory;
        self.row(case("memory after a restart"), "MiB resident", memory.resident, Some(AIM_MIB));
        self.row(case("memory after a restart, the most"), "MiB resident", memory.most, None);
    }

    /// The floor of an ADD and a DEL: what the API server takes by itself with as many objects in it.
    pub(crate) fn take_alone(&mut self, alone: &Alone, restart: &Restart, size: &Size) {
        let Alone { leases, creates, replaces, lists } = alone;
        eprintln!(
            "    API server alone, all leases and all pods to somebody who throws them away: {:.2} s; a restart to ready took {:.2} s",
            lists.as_secs_f64(),
            restart.ready.as_secs_f64(),
        );
        let (ready, lists) = (restart.ready.as_secs_f64(), lists.as_secs_f64());
        let case =
            format!("restart to ready, beside the API server's lists alone ({leases} leases)");
        self.row(case, "s", ready, Some(lists));
        for (verb, outcome) in [("create", creates), ("replace", replaces)] {
            for (name, share) in [("p50", 0.5), ("p99", 0.99), ("most", 1.0)] {
                let case = format!("API server alone, {verb} {name} ({leases} leases)");
                self.row(case, "ms", outcome.times.percentile(share), None);
            }
            eprintln!(
                "    API server alone, {} {verb}s at {}/s: p50 {:.1}, p90 {:.1}, p99 {:.1}, most {:.1} ms; {} failed",
                outcome.times.0.len(),
                size.rate,
                outcome.times.percentile(0.5),
                outcome.times.percentile(0.9),
                outcome.times.percentile(0.99),
                outcome.times.percentile(1.0),
                outcome.failures.len(),
            );
        }
    }

    pub(crate) fn take_complaints(&mut self, complaints: BTreeMap<String, usize>) {
        for (words, count) in complaints {
            eprintln!("    logs, {count} times: {words}");
        }
    }

    fn grown(&mut self) {
        let (Some(first), Some(last)) = (self.costs.first(), self.costs.last()) else { return };
        let (from, to) = (first.0, last.0);
        let whats = ["CPU of the leader for an ADD and a DEL", "the same beyond idle", "ADD p50"];
        let grown = std::iter::zip(first.1, last.1).map(|(before, after)| after / before);
        let rows: Vec<_> = std::iter::zip(whats, grown)
            .map(|(what, grown)| (format!("{what}, {to} over {from} leases"), grown))
            .collect();
        for (case, grown) in rows {
            self.row(case, "times", grown, Some(AIM_GROWTH));
        }
    }

    /// One JSON object per line.
    pub(crate) fn print(mut self) {
        self.grown();
        for (case, unit, ours, aim) in &self.rows {
            let ratio = aim.filter(|aim| *aim > 0.0).map(|aim| round(ours / aim));
            println!(
                "{}",
                json!({
                    "bench": "scale", "case": case, "unit": unit, "ours": round(*ours), "peer": aim,
                    "peer_name": aim.map(|_| "aim"), "ratio": ratio, "runs": 1,
                    "min": round(*ours), "max": round(*ours),
                })
            );
        }
    }
}

/// What the figures of a level depend on.
fn say(level: &Level, size: &Size) {
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let (adds, all) = (level.adds.times.0.len() as f64, cores * level.took.as_secs_f64());
    let (ours, machine) = (level.cpu.ours() / all * 100.0, level.cpu.machine / all * 100.0);
    let roles: Vec<String> = ROLES
        .iter()
        .map(|role| format!("{role} {:.1}", level.cpu.of(role) * 1e3 / adds.max(1.0)))
        .collect();
    eprintln!(
        "    {} leases, {} pods: {adds} ADDs and as many DELs at {}/s each in {:.1} s; {cores} cores {ours:.0} % busy with it and {:.0} % with others; CPU ms for an ADD and a DEL: {}",
        level.leases,
        level.pods,
        size.rate,
        level.took.as_secs_f64(),
        machine - ours,
        roles.join(", ")
    );
    eprintln!(
        "      ADD p50 {:.1}, p90 {:.1}, p99 {:.1}, most {:.1} ms; DEL p50 {:.1}, p99 {:.1} ms",
        level.adds.times.percentile(0.5),
        level.adds.times.percentile(0.9),
        level.adds.times.percentile(0.99),
        level.adds.times.percentile(1.0),
        level.dels.times.percentile(0.5),
        level.dels.times.percentile(0.99),
    );
    eprintln!("      calls: {}", level.calls.requests(on_path).join(", "));
    eprintln!("      apart: {}", level.calls.requests(|r| !on_path(r)).join(", "));
    for failure in level.adds.failures.iter().chain(&level.dels.failures).take(5) {
        eprintln!("      FAILED: {failure}");
    }
    let seconds = |times: &Times| times.0.iter().filter(|time| **time > 1.0).count();
    eprintln!("      longer than a second: {} ADDs", seconds(&level.adds.times));
}
