//! `tenure policy new`.

use std::path::PathBuf;

use serde_json::json;
use tenure_author::Scaffold;
use tenure_core::decision::Hook;

use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Make the crate of a new policy: it builds, and its tests and fixtures pass
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy new spread --hooks select\n  tenure policy new ours --hooks select,affinity,reclaim --in policies"
)]
pub(super) struct Args {
    /// Its name: lower-case letters, digits and dashes
    #[arg(value_name = "NAME")]
    name: String,
    /// What it decides: which pools, which address, how long to wait before an address is taken back
    #[arg(long, value_name = "HOOK,...", value_delimiter = ',', required = true, value_parser = hook)]
    hooks: Vec<Hook>,
    /// The folder to make it in
    #[arg(long = "in", value_name = "DIR", default_value = ".")]
    parent: PathBuf,
    /// The SDK: a folder of its source, or a version [default: that of this program]
    #[arg(long, value_name = "DIR|VERSION", env = "TENURE_SDK")]
    sdk: Option<String>,
}

pub(super) fn hook(text: &str) -> Result<Hook, String> {
    match text {
        "select" => Ok(Hook::Select),
        "affinity" => Ok(Hook::Affinity),
        "reclaim" => Ok(Hook::Reclaim),
        _ => Err("the hooks are select, affinity, reclaim".to_owned()),
    }
}

pub(super) fn run(args: Args, format: Format) -> Result<(), CliError> {
    let Args { name, hooks, parent, sdk } = args;
    let written = Scaffold { name, hooks, sdk }.write(&parent)?;
    let folder = written.folder.display().to_string();
    if print_document(format, &json!({"folder": folder, "files": written.files}))? {
        return Ok(());
    }
    if format == Format::Name {
        return print(&format!("{folder}\n"));
    }
    let files: String = written.files.iter().map(|file| format!("  {file}\n")).collect();
    print(&format!(
        "{folder}\n{files}\nNext:\n  cd {folder}\n  tenure policy build\n  tenure policy test\n"
    ))
}
