//! `tenure policy bench`.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use tenure_author::{Comparison, Figure, Figures, NoiseVerdict, Spread, compare, measure};

use super::component::{Component, Settings};
use super::page::bytes;
use crate::error::CliError;
use crate::output::{Format, print, print_document};
use crate::table::table;

/// Measure what a policy costs in the engine of the daemon, under its limits
///
/// Each decision has a fresh instance, as an ADD has. With --compare both are measured in turns, and a difference counts only
/// where it is larger than what the first shows against itself.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy bench target/spread.wasm\n  tenure policy bench old.wasm --compare new.wasm\n  tenure policy bench spread.wasm --max-fuel 100000 -o json"
)]
pub(super) struct Args {
    #[command(flatten)]
    component: Component,
    #[command(flatten)]
    settings: Settings,
    /// Measure this one beside it
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Fail if a decision takes more fuel
    #[arg(long, value_name = "FUEL", conflicts_with = "compare")]
    max_fuel: Option<u64>,
}

pub(super) fn run(args: Args, format: Format) -> Result<(), CliError> {
    let path = args.component.ready()?.path;
    let settings = args.settings.read()?;
    if let Some(other) = &args.compare {
        let comparisons = compare(&path, other, &settings, &mut tell)?;
        return match print_document(format, &comparisons)? {
            true => Ok(()),
            false => print(&compared(&comparisons)),
        };
    }
    let figures = measure(&path, &settings, &mut tell)?;
    if !print_document(format, &figures)? {
        print(&page(&figures))?;
    }
    let most = figures.decisions.iter().map(|figure| figure.fuel).max().unwrap_or_default();
    match args.max_fuel {
        Some(bound) if most > bound => Err(CliError::NotDone {
            what: format!("a decision takes {most} fuel, more than {bound}"),
        }),
        _ => Ok(()),
    }
}

/// A sign of life, on a terminal only.
fn tell(what: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[Kmeasuring: {what}\r");
    }
}

fn page(figures: &Figures) -> String {
    let instance = &figures.instance;
    let mut text = format!(
        "{}: {}, compiles in {}, instance {} (p99 {})\n\n",
        figures.component,
        bytes(figures.size),
        time(figures.compile_ns),
        time(instance.p50_ns),
        time(instance.p99_ns),
    );
    let header = [
        "HOOK",
        "ROWS",
        "P50",
        "P99",
        "P99.9",
        "FUEL",
        "OF BUDGET",
        "MEMORY",
        "COPIED",
        "DECISIONS",
    ];
    text.push_str(&table(&header, figures.decisions.iter().map(row).collect()));
    for figure in figures.decisions.iter().filter(|figure| figure.fault.is_some()) {
        let fault = figure.fault.as_deref().unwrap_or_default();
        text.push_str(&format!("{}, {} rows: a fault, {fault}\n", figure.hook.name(), figure.rows));
    }
    text
}

fn row(figure: &Figure) -> Vec<String> {
    let Spread { p50_ns, p99_ns, p999_ns, count } = figure.spread;
    vec![
        figure.hook.name().to_owned(),
        figure.rows.to_string(),
        time(p50_ns),
        time(p99_ns),
        time(p999_ns),
        figure.fuel.to_string(),
        format!("{:.2} %", figure.of_budget * 100.0),
        bytes(usize::try_from(figure.memory).unwrap_or(usize::MAX)),
        bytes(figure.lowered),
        count.to_string(),
    ]
}

fn compared(comparisons: &[Comparison]) -> String {
    let header = ["HOOK", "ROWS", "TIME B/A", "95 %", "NOISE A/A", "FUEL A", "FUEL B", "VERDICT"];
    let range = |low: f64, high: f64| format!("{low:.3}-{high:.3}");
    let row = |one: &Comparison| {
        vec![
            one.hook.name().to_owned(),
            one.rows.to_string(),
            format!("{:.3}", one.ratio.median),
            range(one.ratio.low, one.ratio.high),
            range(one.noise.low, one.noise.high),
            one.fuel_a.to_string(),
            one.fuel_b.to_string(),
            match one.verdict {
                NoiseVerdict::Faster => "B is faster",
                NoiseVerdict::Slower => "B is slower",
                NoiseVerdict::Same => "no difference beyond noise",
            }
            .to_owned(),
        ]
    };
    table(&header, comparisons.iter().map(row).collect())
}

/// `12.3 us`.
fn time(nanos: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let nanos = nanos as f64;
    match nanos {
        small if small < 1e3 => format!("{small} ns"),
        some if some < 1e6 => format!("{:.1} us", some / 1e3),
        more if more < 1e9 => format!("{:.1} ms", more / 1e6),
        many => format!("{:.2} s", many / 1e9),
    }
}
