//! `tenure policy inspect`.

use tenure_author::check;

use super::component::{Component, Settings};
use super::page;
use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Show what a component is: imports, exports, sizes, schema; also of one that no daemon would take
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy inspect target/spread.wasm\n  tenure policy inspect /usr/bin/policies/grace.wasm -o json"
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
    if print_document(format, &checked)? {
        return Ok(());
    }
    match format {
        Format::Name => print(&format!("{}\n", checked.face.digest)),
        _ => print(&page::page(&path, &checked)),
    }
}
