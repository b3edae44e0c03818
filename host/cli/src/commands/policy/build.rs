//! `tenure policy build`.

use std::path::{Path, PathBuf};

use tenure_author::{Checked, Project, check};

use super::page;
use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Build the policy here to a component, describe it inside, and check it
///
/// cargo builds for wasm32-unknown-unknown; all other steps are done by this program. The same source gives the same bytes
/// on every machine. It is written to `target/NAME.wasm`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy build\n  tenure policy build policies/spread --offline\n  tenure policy build --keep-names --out spread-named.wasm"
)]
pub(super) struct Args {
    /// The folder of its crate
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Where to write the component
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Keep the names of functions, for `explain` and for traces; larger
    #[arg(long)]
    keep_names: bool,
    /// Let cargo fetch nothing
    #[arg(long)]
    offline: bool,
    /// The profile of cargo
    #[arg(long, value_name = "PROFILE", default_value = "release")]
    profile: String,
}

/// What a policy that has required settings is refused for.
const SETTINGS: &str = "checking the settings";

pub(super) fn run(args: Args, format: Format) -> Result<(), CliError> {
    let project = Project {
        keep_names: args.keep_names,
        offline: args.offline,
        profile: args.profile,
        ..Project::find(&args.folder)?
    };
    let path = super::component::build(&project, args.out.as_deref())?;
    let checked = check(&path, &serde_json::json!({}))?;
    show(&path, &checked, format)?;
    match &checked.stage {
        Some(stage) if stage != SETTINGS => Err(page::refused(&path, &checked)),
        _ => Ok(()),
    }
}

fn show(path: &Path, checked: &Checked, format: Format) -> Result<(), CliError> {
    let name = path.display().to_string();
    if print_document(format, &serde_json::json!({"path": name, "checked": checked}))? {
        return Ok(());
    }
    if format == Format::Name {
        return print(&format!("{name}\n"));
    }
    let face = &checked.face;
    print(&format!("{name}  {} B  {}\n", face.size, face.digest))?;
    if checked.stage.as_deref() == Some(SETTINGS) {
        let why = checked.why.as_deref().unwrap_or_default();
        eprintln!("note: it needs settings: {why}");
    }
    Ok(())
}
