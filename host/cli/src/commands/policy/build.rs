//! `tenure policy build`.

use std::path::{Path, PathBuf};

use tenure_author::{Checked, Project, SETTINGS, Wasi, adapt};

use super::component::Limits;
use super::page;
use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Build the policy here to a component, describe it inside, and check it
///
/// cargo builds for wasm32-unknown-unknown; all other steps are done by this program. The same source gives the same bytes
/// on every machine. It is written to `target/NAME.wasm`.
///
/// With --module nothing is built: a core module that the compiler of another language made becomes the component.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy build\n  tenure policy build policies/spread --offline\n  tenure policy build --keep-names --out spread-named.wasm\n  tenure policy build --module spread.core.wasm --world select-only --wasi stub --out spread.wasm"
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
    /// Make the component of this core module, with the exports of a world of the contract
    #[arg(long, value_name = "FILE", requires = "out")]
    #[arg(conflicts_with_all = ["folder", "keep_names", "offline", "profile"])]
    module: Option<PathBuf>,
    /// The world of the module: full-policy, select-only, affinity-only or reclaim-only
    #[arg(long, value_name = "WORLD", default_value = "full-policy", requires = "module")]
    world: String,
    /// What becomes of the module's imports of WASI preview 1; without it they are an error
    #[arg(long, value_name = "HOW", requires = "module")]
    wasi: Option<Stub>,
    #[command(flatten)]
    limits: Limits,
}

/// What can become of imports of WASI.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Stub {
    /// They lead nowhere: no files, one instant, no output
    Stub,
}

pub(super) fn run(args: Args, format: Format) -> Result<(), CliError> {
    let (path, component) = match (&args.module, &args.out) {
        (Some(module), Some(out)) => (out.clone(), adapted(module, &args)?),
        (_, out) => {
            let project = Project {
                keep_names: args.keep_names,
                offline: args.offline,
                profile: args.profile.clone(),
                ..Project::find(&args.folder)?
            };
            (out.clone().unwrap_or_else(|| project.output()), project.build()?)
        }
    };
    let checked = super::component::finish(&path, component, &args.limits)?;
    show(&path, &checked, format)?;
    match &checked.stage {
        // One that has required settings is complete without them.
        Some(stage) if stage != SETTINGS => Err(page::refused(&path, &checked)),
        _ => Ok(()),
    }
}

fn adapted(module: &Path, args: &Args) -> Result<Vec<u8>, CliError> {
    let name = module.display().to_string();
    let bytes = std::fs::read(module);
    let bytes =
        bytes.map_err(|source| CliError::File { act: "reading", path: name.clone(), source })?;
    let wasi = if args.wasi.is_some() { Wasi::Stub } else { Wasi::None };
    Ok(adapt(&name, bytes, &args.world, wasi)?)
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
