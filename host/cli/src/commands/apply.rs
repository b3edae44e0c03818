//! `tenure apply`: objects from files, all or none.

use std::path::PathBuf;

use hyper::Method;
use serde_json::Value;
use tenure_engine::Change;

use crate::client::Client;
use crate::documents::MAX_BODY;
use crate::error::CliError;
use crate::kinds::Thing;
use crate::manifest;
use crate::output::{Format, print, print_document};
use crate::wire::ApplyAnswer;

/// Create or change pools, reservations and policies from YAML or JSON: all of them or none
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure apply -f pools.yaml\n  tenure apply -f manifests/ --dry-run\n  cat pool.yaml | tenure apply -f -"
)]
pub(crate) struct Args {
    /// File, folder (its *.yaml, *.yml and *.json files) or `-` for standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    filenames: Vec<PathBuf>,
    /// Check everything and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    let manifests = manifest::read_all(&args.filenames)?;
    let body = Value::Array(manifests.iter().map(|manifest| manifest.value.clone()).collect());
    let dry_run = if args.dry_run { "true" } else { "false" };
    let query = [("dryRun", dry_run)];
    let body = body.to_string().into_bytes();
    if body.len() > MAX_BODY {
        return Err(CliError::NotDone { what: too_long(body.len(), manifests.len()) });
    }
    let answer = client.call::<ApplyAnswer>(Method::POST, "/v1/apply", &query, body).await;
    let answer = answer.map_err(|error| match error {
        CliError::Refused { refusal, .. } => manifest::locate(refusal, &manifests),
        other => other,
    })?;
    if print_document(format, &answer)? {
        return Ok(());
    }
    let line = |applied: &tenure_engine::Applied| {
        let name = format!("{}/{}", Thing::of(applied.kind).singular(), applied.name);
        let change = match applied.change {
            Change::Created => "created",
            Change::Configured => "configured",
            Change::Unchanged => "unchanged",
        };
        match (format, answer.dry_run) {
            (Format::Name, _) => format!("{name}\n"),
            (_, true) => format!("{name} {change} (dry run)\n"),
            (_, false) => format!("{name} {change}\n"),
        }
    };
    print(&answer.items.iter().map(line).collect::<String>())
}

/// Nothing is divided here: what is applied together takes effect together or not at all.
fn too_long(bytes: usize, objects: usize) -> String {
    format!(
        "these {objects} objects are {bytes} bytes of JSON, and the daemon takes at most {MAX_BODY} at once; nothing was changed. Apply fewer at a time, by several files and commands"
    )
}
