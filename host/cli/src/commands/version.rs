//! `tenure version`: of this program and of the daemon.

use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Show the versions of this program and of the daemon
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  tenure version\n  tenure version --client")]
pub(crate) struct Args {
    /// Do not ask the daemon
    #[arg(long)]
    client: bool,
}

/// What is known; no daemon where it was not asked or does not answer.
#[derive(Debug, Serialize)]
struct Versions {
    client: &'static str,
    daemon: Option<String>,
}

/// All that every version of a daemon tells of itself.
#[derive(Debug, Deserialize)]
struct Daemon {
    version: String,
}

pub(crate) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    let mut versions = Versions { client: env!("CARGO_PKG_VERSION"), daemon: None };
    let mut text = format!("client: {}\n", versions.client);
    if !args.client {
        match client.get::<Daemon>("/v1/status", &[]).await {
            Ok(daemon) => {
                text.push_str(&format!("daemon: {}\n", daemon.version));
                versions.daemon = Some(daemon.version);
            }
            // The version of this program is asked for above all when something is amiss.
            Err(CliError::Unreachable { why, .. } | CliError::NotAllowed { why, .. }) => {
                text.push_str(&format!("daemon: not reachable ({why})\n"));
            }
            Err(CliError::Cluster(error)) if error.exit_code() == 5 => {
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default();
                text.push_str(&format!("daemon: not reachable ({why})\n"));
            }
            Err(CliError::TimedOut { seconds, .. }) => {
                text.push_str(&format!("daemon: not reachable (no answer in {seconds} s)\n"));
            }
            Err(other) => return Err(other),
        }
    }
    if print_document(format, &versions)? {
        return Ok(());
    }
    print(&text)
}
