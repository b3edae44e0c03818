//! `cargo xtask test`: the whole suite, with everything that it needs.

use std::process::Command;

use crate::{examples, policies, sandbox, tools, workspace};

/// Where `tests/cluster` of the daemon writes what it measured.
const TIMES: &str = "cluster-times.txt";

/// Runs all tests; `filter` goes to the test runner.
pub(crate) fn run(filter: &[String]) -> anyhow::Result<()> {
    tools::require("ip", "install iproute2")?;
    tools::install()?;
    tools::install_registry()?;
    let tools = tools::install_kubernetes()?;
    policies::build()?;
    examples::build(&["go".to_owned()])?;
    let plugin = workspace::build_plugin()?;
    let args = ["test", "--workspace", "--no-fail-fast"];
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Tests make links in namespaces of their own; without root that takes a user namespace.
    let mut command = if sandbox::is_root() {
        Command::new(cargo)
    } else {
        let mut command = sandbox::unshare();
        command.arg(cargo);
        command
    };
    command.args(args).args(filter).current_dir(workspace::root());
    command.env("TENURE_TOOLS", tools).env("TENURE_PLUGIN", plugin);
    let table = workspace::target().join("tmp").join(TIMES);
    // That of an earlier run, if there was one.
    let _ = std::fs::remove_file(&table);
    let outcome = workspace::run(&mut command);
    if let Ok(rows) = std::fs::read_to_string(&table) {
        println!("\nwhat the stories of tenure-daemon's `cluster` measured:\n{rows}");
    }
    outcome
}

/// Runs the tests that have golden files, accepting what they see.
pub(crate) fn bless() -> anyhow::Result<()> {
    workspace::build_plugin()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let packages = [
        "test",
        "-p",
        "tenure-cni",
        "-p",
        "tenure-api",
        "-p",
        "tenure-cli",
        "-p",
        "tenure-store",
        "-p",
        "xtask",
    ];
    // Its other tests need an API server and have no golden file.
    let manifests = ["test", "-p", "tenure-kube", "--test", "goldens"];
    for arguments in [&packages[..], &manifests[..]] {
        let mut command = Command::new(&cargo);
        command.args(arguments).env("TENURE_BLESS", "1").current_dir(workspace::root());
        workspace::run(&mut command)?;
    }
    Ok(())
}
