//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The IP address manager daemon for containers: of one machine, or with a role, of a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(
    name = "tenured",
    version,
    after_help = "EXAMPLES:\n  tenured --config /etc/tenure/tenured.toml\n  tenured --state-dir ./state --cni-socket ./cni.sock --admin-socket ./admin.sock --manifests ./pools\n  tenured agent --config /etc/tenure/agent.toml\n  tenured allocator --config /etc/tenure/allocator.toml\n\nSignals: SIGTERM and SIGINT stop it after the running requests."
)]
pub(crate) struct Args {
    /// Configuration file (TOML). Without the option /etc/tenure/tenured.toml is read if it exists.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Apply the objects of all *.yaml, *.yml and *.json files of this folder at start, in the order of their names.
    #[arg(long, value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    /// Folder of the store and the agent id; overrides `stateDir`.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Folder of the shipped policies; overrides `policyDir`.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) policy_dir: Option<PathBuf>,
    /// Socket for the CNI plugin; overrides `cni.socket`.
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) cni_socket: Option<PathBuf>,
    /// Socket of the admin API; overrides `admin.socket`.
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) admin_socket: Option<PathBuf>,
    /// Read the configuration, say what is wrong with it, and exit.
    #[arg(long, global = true)]
    pub(crate) check: bool,
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// What the process does in a cluster; without it, it is the daemon of a single machine.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Role {
    /// The agent of a Kubernetes node: serves the CNI plugin and asks the allocators.
    Agent,
    /// An allocator of a Kubernetes cluster: keeps the addresses in its API.
    Allocator,
    /// Put the CNI plugin that lies beside this program into a folder, and exit.
    InstallPlugin {
        /// The runtime's folder of plugins, as seen from here: /opt/cni/bin of the node.
        folder: PathBuf,
    },
    /// Compile a policy for the daemon that started this process: standard input to standard output.
    #[command(hide = true)]
    CompilePolicy {
        /// What the daemon orders.
        order: String,
    },
}
