//! The figures of all runs, as lines of JSON.

use serde_json::json;

use super::counters::{Kind, is_write};
use super::story::{Phase, Run};
use super::words::{self, ROLES, on_path};

/// Figures of all runs, in the order in which they came up.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

struct Row {
    case: String,
    unit: &'static str,
    ours: Vec<f64>,
    peer: Option<(&'static str, Vec<f64>)>,
}

// === impl Report ===

impl Report {
    /// Takes in one run.
    pub(crate) fn take(&mut self, run: Run) {
        self.times(&run);
        self.floors(&run);
        self.calls(&run);
        self.resources(&run);
        self.safety(&run);
        words::say(&run);
    }

    fn row(
        &mut self,
        case: impl Into<String>,
        unit: &'static str,
        ours: f64,
        peer: Option<(&'static str, f64)>,
    ) {
        let case = case.into();
        if let Some(row) = self.rows.iter_mut().find(|row| row.case == case) {
            row.ours.push(ours);
            if let (Some((_, all)), Some((_, one))) = (&mut row.peer, peer) {
                all.push(one);
            }
            return;
        }
        let peer = peer.map(|(name, one)| (name, vec![one]));
        self.rows.push(Row { case, unit, ours: vec![ours], peer });
    }

    fn times(&mut self, run: &Run) {
        let create = run.phase("create all").took.as_secs_f64();
        let (of_create, _) = run.floors();
        let of_delete = (run.floor.replace + run.plugin).as_secs_f64();
        let floors = [
            ("create all", "raw + plugin", of_create.as_secs_f64()),
            ("rebuild all at once", "create", create),
            ("nodes off and on", "create", create),
            ("delete all", "raw + plugin", of_delete),
        ];
        for (name, peer, floor) in floors {
            let phase = run.phase(name);
            let case = format!("{name} ({})", run.variant);
            self.row(case, "s", phase.took.as_secs_f64(), Some((peer, floor)));
            for (verb, times) in [("ADD", &phase.adds), ("DEL", &phase.dels)] {
                if !times.0.is_empty() {
                    let case = |p: &str| format!("{name}, {verb} {p} ({})", run.variant);
                    self.row(case("p50"), "ms", times.percentile(0.5), None);
                    self.row(case("p99"), "ms", times.percentile(0.99), None);
                }
            }
        }
    }

    fn floors(&mut self, run: &Run) {
        let (of_create, of_rebuild) = run.floors();
        let (of_create, of_rebuild) = (of_create.as_secs_f64(), of_rebuild.as_secs_f64());
        let rebuild = run.phase("rebuild all at once").took.as_secs_f64();
        // How near each is to what it could be at best; and how far apart both are even then.
        let near = format!("rebuild all at once, beside its floor ({})", run.variant);
        self.row(near, "s", rebuild, Some(("raw + plugin + ends", of_rebuild)));
        let apart = format!("floors: rebuild all at once ({})", run.variant);
        self.row(apart, "s", of_rebuild, Some(("floor of create", of_create)));
        let count = run.addresses();
        let rate = |took: std::time::Duration| count / took.as_secs_f64();
        let case = |what: &str| format!("{what} ({})", run.variant);
        self.row(case("API server alone, create"), "objects/s", rate(run.floor.create), None);
        self.row(case("API server alone, replace"), "objects/s", rate(run.floor.replace), None);
        let plugin = run.pods as f64 / run.plugin.as_secs_f64();
        self.row(case("plugin alone, VERSION"), "processes/s", plugin, None);
    }

    fn calls(&mut self, run: &Run) {
        let ends = [("ADD", run.phase("create all")), ("DEL", run.phase("delete all"))];
        for (verb, phase) in ends {
            let leases = |resource: &str| resource.starts_with("ipleases");
            let writes = phase.calls.sum(Kind::Requests, |r, verb| leases(r) && is_write(verb));
            // Over all variants: it must be 1 in each.
            self.row(
                format!("iplease writes per address, {verb}"),
                "writes",
                writes / run.addresses(),
                None,
            );
        }
        let pods = run.pods as f64;
        for (verb, phase) in ends {
            let case = |what: &str| format!("{what} per {verb} ({})", run.variant);
            let path = |resource: &str, verb: &str| on_path(resource) && verb != "WATCH";
            let calls = phase.calls.sum(Kind::Requests, path);
            self.row(case("API calls"), "calls", calls / pods, None);
            // The server counts the bytes of its answers for reads only.
            for (what, kind) in [("sent", Kind::BytesIn), ("read", Kind::BytesOut)] {
                let bytes = phase.calls.sum(kind, path);
                self.row(case(&format!("API bytes {what}")), "bytes", bytes / pods, None);
            }
        }
    }

    fn resources(&mut self, run: &Run) {
        for (verb, phase) in [("ADD", run.phase("create all")), ("DEL", run.phase("delete all"))] {
            for role in ROLES {
                let case = format!("CPU of {role} per {verb} ({})", run.variant);
                self.row(case, "ms", phase.cpu.of(role) * 1e3 / run.pods as f64, None);
            }
        }
        for role in ["allocators", "agents", "kube-apiserver", "etcd"] {
            let (mean, max) = run.memory.of(role);
            let case = |what: &str| format!("memory of {role}, {what} ({})", run.variant);
            self.row(case("mean of one"), "MiB", mean, None);
            self.row(case("most of one"), "MiB", max, None);
        }
    }

    fn safety(&mut self, run: &Run) {
        let sum = |count: fn(&Phase) -> usize| run.phases.iter().map(count).sum::<usize>() as f64;
        self.row("failures", "pods", sum(|phase| phase.failures), None);
        self.row("failed tries", "tries", sum(|phase| phase.failed_tries), None);
        self.row("held twice", "addresses", run.held_twice.len() as f64, None);
        self.row("recorded otherwise", "addresses", sum(|phase| phase.differing), None);
    }

    /// One JSON object per line, medians of the runs.
    pub(crate) fn print(&self) {
        for row in &self.rows {
            let ours = median(&row.ours);
            let peer = row.peer.as_ref().map(|(_, all)| median(all));
            println!(
                "{}",
                json!({
                    "bench": "cluster", "case": row.case, "unit": row.unit, "ours": round(ours),
                    "peer": peer.map(round), "peer_name": row.peer.as_ref().map(|(name, _)| name),
                    "ratio": peer.map(|peer| round(ours / peer)), "runs": row.ours.len(),
                    "min": round(row.ours.iter().copied().fold(f64::MAX, f64::min)),
                    "max": round(row.ours.iter().copied().fold(0.0, f64::max)),
                })
            );
        }
    }
}

// === impl Run ===

impl Run {
    pub(crate) fn phase(&self, name: &str) -> &Phase {
        self.phases.iter().find(|phase| phase.name == name).unwrap()
    }

    pub(crate) fn addresses(&self) -> f64 {
        (self.pods * self.variant.families()) as f64
    }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn round(figure: f64) -> f64 {
    // Without the sign of a zero that came out of a sum of nothing.
    (figure * 100.0).round() / 100.0 + 0.0
}
