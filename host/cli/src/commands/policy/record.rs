//! `tenure policy record`.

use std::path::PathBuf;

use serde_json::Value;
use tenure_author::Ring;
use tenure_core::decision::DecisionRecord;

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Format, print, refuse_format};
use crate::wire::Items;

/// Write the decisions that a daemon remembers into a file, with the policies that made them
///
/// It holds names of pods, their labels and annotations as far as policies asked for them, and addresses.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy record ring.json\n  tenure --context lab policy record ring.json --limit 10000"
)]
pub(super) struct Args {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// So many of the newest at most
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    limit: u32,
}

pub(super) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    refuse_format("policy record", format)?;
    let limit = args.limit.to_string();
    let decisions: Items<DecisionRecord> =
        client.get("/v1/decisions", &[("limit", limit.as_str())]).await?;
    let policies: Items<Value> = client.get("/v1/policies", &[]).await?;
    let ring = Ring::of(&policies.items, decisions.items)?;
    ring.write(&args.file)?;
    print(&format!("{} decisions written to {}\n", ring.len(), args.file.display()))
}
