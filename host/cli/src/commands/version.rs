//! `tenure version`: of this program and of the daemon.

use tenure_engine::Overview;

use crate::client::Client;
use crate::error::CliError;
use crate::output::print;

/// Show the versions of this program and of the daemon
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  tenure version\n  tenure version --client")]
pub(crate) struct Args {
    /// Do not ask the daemon
    #[arg(long)]
    client: bool,
}

pub(crate) async fn run(client: &Client, args: Args) -> Result<(), CliError> {
    print(&format!("tenure  {}\n", env!("CARGO_PKG_VERSION")))?;
    if args.client {
        return Ok(());
    }
    let daemon: Overview = client.get("/v1/status", &[]).await?;
    print(&format!("tenured {}\n", daemon.version))
}
