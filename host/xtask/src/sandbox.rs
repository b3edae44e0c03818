//! A network and mount namespace of its own for everything that makes links: what happens in it ends with it,
//! and the machine's own network is never touched.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

use crate::tools::require;
use crate::workspace::run;

const INSIDE: &str = "TENURE_SANDBOX";

/// Starts this very command again inside the sandbox, unless it runs there already. Without root it is a user
/// namespace in which the caller is root.
pub(crate) fn enter() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return prepare();
    }
    require("unshare", "install util-linux")?;
    require("ip", "install iproute2")?;
    let mut command = unshare();
    command.arg(std::env::current_exe().context("finding this program")?);
    command.args(std::env::args_os().skip(1)).env(INSIDE, "1");
    Err(command.exec())
        .context("starting unshare (without root, the kernel must allow user namespaces)")
}

/// `unshare` with the flags of the sandbox, for the program that is to run in it.
pub(crate) fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private"]);
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--");
    command
}

pub(crate) fn is_root() -> bool {
    // The owner of our own entry in /proc is who we are.
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn prepare() -> anyhow::Result<()> {
    // `/run/netns` for the namespaces, `/var/lib/cni` for the results that libcni keeps.
    for folder in ["/run", "/var/lib"] {
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", folder]))?;
    }
    std::fs::create_dir_all("/run/netns")?;
    run(Command::new("ip").args(["link", "set", "lo", "up"]))
}
