//! `tenure policy replay`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tenure_author::{Change, Replayed, Ring, replay};
use tenure_core::name::ObjectName;

use crate::commands::text::Text;
use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Changes that are shown.
const SHOWN: usize = 20;

/// Make recorded decisions again: with the same modules to the unit of fuel, with another one to see whom it changes
///
/// Without --module everything must come out as it was recorded; exit code 1 if it does not.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy replay ring.json\n  tenure policy replay ring.json --module pool-order=target/spread.wasm\n  tenure policy replay ring.json --save 4711 --to fixtures/that-pod.yaml"
)]
pub(super) struct Args {
    /// What `tenure policy record` wrote
    #[arg(value_name = "RING")]
    ring: PathBuf,
    /// Replace the module of a policy; the name may be left out where the ring has one policy
    #[arg(long = "module", value_name = "[NAME=]FILE")]
    modules: Vec<String>,
    /// The folder of the shipped policies [default: `policies` beside this program]
    #[arg(long, value_name = "DIR", env = "TENURE_POLICIES")]
    policies: Option<PathBuf>,
    /// Write this decision as a fixture, and replay nothing
    #[arg(long, value_name = "DECISION", requires = "to")]
    save: Option<u64>,
    /// Where to write the fixture
    #[arg(long, value_name = "FILE", requires = "save")]
    to: Option<PathBuf>,
}

pub(super) fn run(args: Args, format: Format) -> Result<(), CliError> {
    let ring = Ring::read(&args.ring)?;
    if let (Some(id), Some(to)) = (args.save, &args.to) {
        return save(&ring, id, to);
    }
    let modules = modules(&ring, &args.modules)?;
    let policies = args.policies.map_or_else(beside_the_program, Ok)?;
    let replayed = replay(&ring, &modules, &policies)?;
    if !print_document(format, &replayed)? {
        print(&page(&replayed, !modules.is_empty()))?;
    }
    match modules.is_empty() && replayed.same < replayed.decisions {
        true => {
            let other = replayed.decisions - replayed.same;
            Err(CliError::NotDone { what: format!("{other} decisions came out otherwise") })
        }
        false => Ok(()),
    }
}

/// Where the daemon has them, too.
fn beside_the_program() -> Result<PathBuf, CliError> {
    let failed =
        |source| CliError::File { act: "finding", path: "this program".to_owned(), source };
    let program = std::env::current_exe().map_err(failed)?;
    Ok(program.with_file_name("policies"))
}

fn save(ring: &Ring, id: u64, to: &Path) -> Result<(), CliError> {
    let text = ring.fixture(id, &format!("decision {id}, as it was recorded"))?;
    let failed = |source| CliError::File { act: "writing", path: to.display().to_string(), source };
    std::fs::write(to, text.trim_end().to_owned() + "\n").map_err(failed)?;
    print(&format!("decision {id} written to {}\n", to.display()))
}

fn modules(ring: &Ring, given: &[String]) -> Result<BTreeMap<ObjectName, PathBuf>, CliError> {
    let mut modules = BTreeMap::new();
    for text in given {
        let (name, file) = match text.split_once('=') {
            Some((name, file)) => (name.to_owned(), file),
            None => match ring.policies().as_slice() {
                [only] => (only.to_string(), text.as_str()),
                several => {
                    let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                    let why = format!(
                        "say whose module {text} replaces: --module NAME={text}; the ring has {}",
                        names.join(", ")
                    );
                    return Err(CliError::Usage { why });
                }
            },
        };
        let name =
            ObjectName::new(&name).map_err(|error| CliError::Usage { why: error.to_string() })?;
        modules.insert(name, PathBuf::from(file));
    }
    Ok(modules)
}

fn page(replayed: &Replayed, is_other: bool) -> String {
    let mut text = Text::default();
    let Replayed { decisions, same, left_out, .. } = replayed;
    text.line("Decisions", decisions).line("The same", same);
    if *left_out > 0 {
        text.line(
            "Left out",
            format!(
                "{left_out} (a breaker was open, or a policy or its settings have changed since)"
            ),
        );
    }
    let count = |(effect, count): (&String, &usize)| format!("{count:>6}  {effect}");
    if is_other {
        text.list("What would change, for how many pods", replayed.effects.iter().map(count));
    }
    let told = |change: &Change| {
        let first = format!("{}  {}  {}", change.id, change.hook.name(), change.whom);
        std::iter::once(first)
            .chain(change.effects.iter().map(|effect| format!("  {effect}")))
            .collect::<Vec<_>>()
    };
    if !replayed.changes.is_empty() {
        text.list("Otherwise", replayed.changes.iter().take(SHOWN).flat_map(told));
        let more = replayed.changes.len().saturating_sub(SHOWN);
        if more > 0 {
            text.line("And", format!("{more} more; see -o json"));
        }
    }
    text.finish()
}
