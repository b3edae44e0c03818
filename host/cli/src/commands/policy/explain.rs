//! `tenure policy explain`.

use std::path::PathBuf;

use tenure_author::{Explained, explain};
use tenure_core::decision::StepOutcome;

use super::component::{Component, Limits};
use super::page::bytes;
use crate::commands::text::Text;
use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Functions that are shown.
const SHOWN: usize = 20;

/// Take one decision apart: the answer, the log, the look-ups, the host's checks, and fuel by function
///
/// `tenure explain ADDRESS` tells of decisions that a daemon has made; `tenure policy replay --save` makes a fixture of one.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy explain target/spread.wasm --fixture fixtures/select.yaml\n  tenure policy build --keep-names --out named.wasm && tenure policy explain named.wasm --fixture fixtures/select.yaml"
)]
pub(super) struct Args {
    #[command(flatten)]
    component: Component,
    /// The request
    #[arg(long, value_name = "FILE")]
    fixture: PathBuf,
    #[command(flatten)]
    limits: Limits,
}

pub(super) fn run(args: Args, format: Format) -> Result<(), CliError> {
    let path = args.component.ready()?.path;
    let explained = explain(&path, &args.fixture, &args.limits.read()?)?;
    match print_document(format, &explained)? {
        true => Ok(()),
        false => print(&page(&explained)),
    }
}

fn page(explained: &Explained) -> String {
    let mut text = Text::default();
    let outcome = match &explained.outcome {
        StepOutcome::Decided => "decided".to_owned(),
        StepOutcome::Abstained => "abstained".to_owned(),
        StepOutcome::Fault { kind, message } => format!("fault {}: {message}", kind.as_str()),
        StepOutcome::Skipped => "not asked".to_owned(),
    };
    text.line("Fixture", &explained.about)
        .line("Hook", explained.hook.name())
        .line("Outcome", outcome)
        .line("Answer", &explained.answer)
        .line("Expected", if explained.expected { "yes" } else { "no, the fixture says otherwise" })
        .line("Fuel", format!("{} of {}", explained.fuel, explained.budget))
        .line("Memory", bytes(usize::try_from(explained.memory).unwrap_or(usize::MAX)));
    text.list(
        "Look-ups",
        explained.lookups.iter().map(|one| format!("{} -> {}", one.call, one.answer)),
    );
    text.list("Log", explained.log.iter().cloned());
    text.list("Checks of the host", explained.checks.iter().cloned());
    let line = |one: &tenure_author::FunctionFuel| {
        format!("{:>10}  {:>10}  {}", one.own, one.within, one.function)
    };
    let header = format!("{:>10}  {:>10}  FUNCTION", "OWN", "WITHIN");
    let functions = explained.functions.iter().take(SHOWN).map(line);
    text.list("Fuel by function", std::iter::once(header).chain(functions));
    if !explained.has_names {
        text.line(
            "Names",
            "none in this component; `tenure policy build --keep-names` leaves them in",
        );
    }
    text.finish()
}
