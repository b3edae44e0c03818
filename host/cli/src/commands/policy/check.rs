//! `tenure policy check`.

use tenure_author::check;

use super::component::{Component, Settings};
use super::page;
use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Try whether a daemon would take a component, and say what stands in the way
///
/// It goes through the same stages as in the daemon, up to requests on trial. Exit code 4 if it is refused.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy check target/spread.wasm\n  tenure policy check spread.wasm --settings settings.yaml -o json"
)]
pub(super) struct Args {
    #[command(flatten)]
    component: Component,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: Args, format: Format) -> Result<(), CliError> {
    let path = args.component.ready()?.path;
    let checked = check(&path, &args.settings.read()?)?;
    if !print_document(format, &checked)? {
        match format {
            Format::Name => print(&format!("{}\n", checked.face.digest))?,
            _ if checked.accepted => print(&page::page(&path, &checked))?,
            // The error says what matters; the imports say whose fault it is.
            _ => page::tell_unwanted(&checked.face),
        }
    }
    if checked.accepted { Ok(()) } else { Err(page::refused(&path, &checked)) }
}
