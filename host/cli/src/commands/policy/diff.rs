//! `tenure policy diff`.

use std::path::PathBuf;

use tenure_author::{Declared, Difference, Level};

use super::component::Limits;
use super::page::bytes;
use crate::commands::text::Text;
use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Compare two versions of a policy: what the interface asks of its version, and who is answered otherwise
///
/// Exit code 1 if the second version says less than its interface asks for, or goes back.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy diff old.wasm new.wasm\n  tenure policy diff old.wasm new.wasm --fixtures fixtures -o json"
)]
pub(super) struct Args {
    /// The version that is in use
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The one that shall follow it
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Requests to put to both
    #[arg(long, value_name = "FILE|DIR")]
    fixtures: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
}

pub(super) fn run(args: Args, format: Format) -> Result<(), CliError> {
    let difference =
        Difference::of(&args.a, &args.b, args.fixtures.as_deref(), &args.limits.read()?)?;
    if !print_document(format, &difference)? {
        print(&page(&difference))?;
    }
    if difference.is_declared() {
        return Ok(());
    }
    let (a, b) = (&difference.version_a, &difference.version_b);
    let asks = level(difference.level);
    let what = match difference.declared {
        Some(Declared::Earlier) => format!("{a} -> {b} goes back"),
        Some(Declared::Same) => {
            format!("the interface asks for a {asks} version, and both are {a}")
        }
        _ => format!("the interface asks for a {asks} version, and {a} -> {b} is less"),
    };
    Err(CliError::NotDone { what })
}

fn page(difference: &Difference) -> String {
    let mut text = Text::default();
    let Difference { version_a, version_b, sizes, .. } = difference;
    let is_other = difference.declared == Some(Declared::Same) && !difference.is_same_file;
    let note = if is_other { ", two files of one version" } else { "" };
    text.line("Versions", format!("{version_a} -> {version_b}{note}"))
        .line("Size", format!("{} -> {}", bytes(sizes.0), bytes(sizes.1)))
        .line("Interface", level(difference.level));
    let reason = |(of, what): &(Level, String)| format!("{:<6} {what}", level(*of));
    text.list("Reasons", difference.interface.iter().map(reason));
    let told = difference.behaviour.iter().flat_map(|one| {
        [
            format!("{}: {}", one.case, one.about),
            format!("  a: {}", one.a),
            format!("  b: {}", one.b),
        ]
    });
    if difference.cases == 0 {
        text.line("Behaviour", "not compared; name requests with --fixtures");
    } else {
        let (other, all) = (difference.behaviour.len(), difference.cases);
        text.line("Behaviour", format!("{other} of {all} requests are answered otherwise"));
        if other > 0 {
            text.list("Answered otherwise", told);
        }
    }
    text.finish()
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Patch => "patch",
        Level::Minor => "minor",
        Level::Major => "major",
    }
}
