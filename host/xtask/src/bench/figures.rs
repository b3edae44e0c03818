//! Figures and how they are shown.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// One figure: medians of runs that were made side by side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) bench: String,
    pub(crate) case: String,
    pub(crate) unit: String,
    pub(crate) ours: f64,
    pub(crate) peer: Option<f64>,
    pub(crate) peer_name: Option<String>,
    pub(crate) ratio: Option<f64>,
    pub(crate) runs: usize,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Figure {
    /// The median of our runs beside that of a peer's.
    pub(crate) fn new(
        bench: &str,
        case: String,
        unit: &str,
        ours: &[f64],
        peer: Option<(&str, &[f64])>,
    ) -> Self {
        let other = peer.map(|(_, runs)| median(runs));
        let mine = median(ours);
        Self {
            bench: bench.to_owned(),
            case,
            unit: unit.to_owned(),
            ours: round(mine),
            peer: other.map(round),
            peer_name: peer.map(|(name, _)| name.to_owned()),
            ratio: other.map(|other| round(mine / other)),
            runs: ours.len(),
            min: round(ours.iter().copied().fold(f64::MAX, f64::min)),
            max: round(ours.iter().copied().fold(0.0, f64::max)),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Says on standard error what the figures depend on: cores, load, and how long the disk takes to be sure.
pub(crate) fn machine(folder: &Path) -> anyhow::Result<()> {
    use std::io::Write as _;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut file = std::fs::File::create(folder.join("fsync"))?;
    let mut took = Vec::new();
    for _ in 0..50 {
        file.write_all(&[0; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let load: Vec<_> = load.split_whitespace().take(3).collect();
    eprintln!(
        "{cores} cores, load {}, fdatasync of 4 KiB: {:.2} ms (median)",
        load.join(" "),
        median(&took)
    );
    Ok(())
}

pub(crate) fn table(figures: &[Figure]) {
    // Those of a cluster say much in their names.
    let wide = figures.iter().map(|figure| figure.case.chars().count()).fold(34, usize::max);
    println!(
        "{:<12} {:<wide$} {:>12} {:>12} {:>8}  {:<16} {:>17}",
        "BENCH", "CASE", "OURS", "PEER", "RATIO", "UNIT", "MIN - MAX (RUNS)"
    );
    for f in figures {
        let peer = f.peer.map_or("-".to_owned(), |peer| format!("{peer:.1}"));
        let ratio = f.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let span = format!("{:.1} - {:.1} ({})", f.min, f.max, f.runs);
        println!(
            "{:<12} {:<wide$} {:>12.1} {:>12} {:>8}  {:<16} {:>17}",
            f.bench, f.case, f.ours, peer, ratio, f.unit, span
        );
    }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}
