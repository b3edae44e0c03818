//! The command line as a whole. Each command has its own arguments beside its code.

use clap::{Parser, Subcommand};

use crate::commands::{
    apply, completions, delete, describe, dial_stdio, explain, export, get, history, import, node,
    policy, reclaim, release, version,
};
use crate::output::Format;
use crate::reach::Reach;

/// Shown behind the options of each command.
pub(crate) const GLOBAL: &str = "Global options";

/// Look at and change what Tenure, the IP address manager for containers, holds on this machine or in a cluster, and write policies for it.
#[derive(Debug, Parser)]
#[command(
    name = "tenure",
    version,
    propagate_version = false,
    max_term_width = 100,
    after_help = "EXAMPLES:\n  tenure apply -f pools.yaml\n  tenure get pools\n  tenure get leases --pool blue-v4 --view held\n  tenure explain 10.6.1.7\n  tenure history 10.6.1.7 --at 2h\n  tenure reclaim --dry-run\n  tenure --context lab get nodes\n\nCLUSTERS:\n  --cluster, --kubeconfig, --context or TENURE_CONTEXT lead to the allocators of a Kubernetes\n  cluster, by `pods/exec`; without any of them, and whatever KUBECONFIG says, a command goes to the\n  socket. What is typed goes before the environment.\n\nEXIT CODES:\n  0 done, 1 failed, 2 usage, 3 not found, 4 refused by a rule, 5 daemon unreachable"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// How answers are shown; `apply` takes what `get -o yaml` or `-o json` shows
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t = Format::Table,
        value_name = "FORMAT",
        help_heading = GLOBAL
    )]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Get(get::Args),
    Describe(describe::Args),
    History(history::Args),
    Apply(apply::Args),
    Delete(delete::Args),
    Explain(explain::Args),
    Reclaim(reclaim::Args),
    Release(release::Args),
    Node(node::Args),
    Policy(policy::Args),
    /// Show whether the daemon is well, and its pools and policies on one screen
    #[command(after_help = "EXAMPLES:\n  tenure status\n  tenure status -o json")]
    Status,
    Export(export::Args),
    Import(import::Args),
    Completions(completions::Args),
    Version(version::Args),
    #[command(hide = true)]
    DialStdio(dial_stdio::Args),
}
