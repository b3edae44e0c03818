//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// The IP address manager daemon for containers of one machine.
#[derive(Debug, Parser)]
#[command(
    name = "tenured",
    version,
    after_help = "EXAMPLES:\n  tenured --config /etc/tenure/tenured.toml\n  tenured --state-dir ./state --cni-socket ./cni.sock --admin-socket ./admin.sock --manifests ./pools\n\nSignals: SIGTERM and SIGINT stop it after the running requests."
)]
pub(crate) struct Args {
    /// Configuration file (TOML). Without the option /etc/tenure/tenured.toml is read if it exists.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Apply the objects of all *.yaml, *.yml and *.json files of this folder at start, in the order of their names.
    #[arg(long, value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    /// Folder of the store and the agent id; overrides `stateDir`.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Folder of the shipped policies; overrides `policyDir`.
    #[arg(long, value_name = "DIR")]
    pub(crate) policy_dir: Option<PathBuf>,
    /// Socket for the CNI plugin; overrides `cni.socket`.
    #[arg(long, value_name = "PATH")]
    pub(crate) cni_socket: Option<PathBuf>,
    /// Socket of the admin API; overrides `admin.socket`.
    #[arg(long, value_name = "PATH")]
    pub(crate) admin_socket: Option<PathBuf>,
    /// Read the configuration, say what is wrong with it, and exit.
    #[arg(long)]
    pub(crate) check: bool,
}
