//! `cargo xtask cluster up|down`: a real Kubernetes on this machine, with Tenure in it.
//!
//! ```text
//! programs   the foreign programs, built once
//! image      images without a registry
//! install    Tenure by the manifests of deploy/, and the pool of 60 addresses
//! *.sh       control plane, nodes and their end, where a shell is the natural tool
//! ```
//!
//! Everything is below `target/cluster` and in namespaces of its own that no link leads out of: nothing is pulled, no port
//! clashes, and the machine's network is not touched.

mod image;
mod install;
mod programs;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use serde_json::Value;

use crate::{policies, sandbox, workspace};

pub(crate) use image::{Built, PAUSE};
pub(crate) use install::is_ready;

/// The nodes of a cluster.
pub(crate) const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// What to do with the cluster.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Starts it: three nodes, Tenure, and a pool of 60 addresses. About a minute once the programs are built.
    Up {
        /// Takes tenured, plugin and policies as they stand in the target folder.
        #[arg(long)]
        no_build: bool,
    },
    /// Ends it and removes everything but the programs.
    Down,
    /// Runs kubectl in it: `cargo xtask cluster kubectl -- get pods -A`.
    Kubectl {
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Does something to a node: `cargo xtask cluster node -- off n2`; without arguments it says what there is.
    Node {
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

/// The cluster of this machine; there is one at a time.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    tools: PathBuf,
    state: PathBuf,
}

/// `cargo xtask cluster`.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    let cluster = Cluster::of_this_machine();
    match verb {
        Verb::Up { no_build } => {
            cluster.up(&build(no_build)?)?;
            println!("the cluster is up; try: cargo xtask cluster kubectl -- get pods -A");
            Ok(())
        }
        Verb::Down => cluster.down(),
        Verb::Kubectl { arguments } => workspace::run(cluster.kubectl().args(arguments)),
        Verb::Node { arguments } => workspace::run(cluster.script("node.sh").args(arguments)),
    }
}

/// Builds the programs of the cluster, and those of Tenure unless they are taken as they are.
pub(crate) fn build(no_build: bool) -> anyhow::Result<Built> {
    programs::install()?;
    let target = workspace::target();
    if !no_build {
        policies::build()?;
        workspace::build_daemon("dev")?;
        workspace::build_plugin()?;
    }
    Ok(Built {
        daemon: target.join("debug/tenured"),
        cli: target.join("debug/tenure"),
        plugin: target.join("plugin/tenure-ipam"),
        policies: target.join("policies"),
    })
}

// === impl Cluster ===

impl Cluster {
    pub(crate) fn of_this_machine() -> Self {
        let target = workspace::target();
        Self { tools: target.join("tools/bin"), state: target.join("cluster") }
    }

    /// Starts control plane and nodes and installs Tenure.
    pub(crate) fn up(&self, built: &Built) -> anyhow::Result<()> {
        ensure!(sandbox::is_root(), "a node mounts cgroups and file systems: run this as root");
        ensure!(
            !self.state.join("nodes").exists(),
            "a cluster is up; end it by `cargo xtask cluster down`"
        );
        std::fs::create_dir_all(&self.state).context("making the folder of the cluster")?;
        image::pause(self)?;
        image::tenure(self, built)?;
        install::network(self)?;
        let began = Instant::now();
        workspace::run(&mut self.script("control-plane.sh"))?;
        println!("{:6.1} s  control plane", began.elapsed().as_secs_f64());
        install::manifests(self)?;
        for node in NODES {
            self.node(&["up", node])?;
        }
        install::wait(self)?;
        println!("{:6.1} s  nodes and Tenure are ready", began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Ends everything and removes it.
    pub(crate) fn down(&self) -> anyhow::Result<()> {
        workspace::run(&mut self.script("down.sh"))
    }

    /// Copies the logs of nodes and pods into a folder that is made anew.
    pub(crate) fn save_logs(&self, folder: &std::path::Path) -> anyhow::Result<()> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(self.state.join("cp/log")).arg(folder.join("control-plane"));
        workspace::run(&mut copy)?;
        for node in NODES {
            let from = self.state.join("nodes").join(node).join("var/log");
            workspace::run(Command::new("cp").arg("-r").arg(from).arg(folder.join(node)))?;
        }
        Ok(())
    }

    /// One of the scripts beside this file.
    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(workspace::root().join("host/xtask/src/cluster").join(name));
        command.env("CLUSTER_TOOLS", &self.tools).env("CLUSTER_STATE", &self.state);
        command
    }

    /// Does to a node what `node.sh` says.
    pub(crate) fn node(&self, arguments: &[&str]) -> anyhow::Result<()> {
        workspace::run(self.script("node.sh").args(arguments))
    }

    /// A command in the network of the control plane, which is on the segment of the pods, too.
    pub(crate) fn in_fabric(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--net=/run/netns/tenure-e2e").arg("--").arg(program);
        command
    }

    /// kubectl, as one who may do everything.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = self.in_fabric(self.tools.join("kubectl"));
        command.arg("--kubeconfig").arg(self.state.join("cp/admin.kubeconfig"));
        command
    }

    /// Runs kubectl and answers what it prints.
    pub(crate) fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.kubectl();
        let output = command.args(arguments).output().context("running kubectl")?;
        if !output.status.success() {
            bail!(
                "kubectl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The objects that kubectl finds.
    pub(crate) fn list(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let text = self.ask(&[&["get", "-o", "json"], arguments].concat())?;
        let mut answer: Value =
            serde_json::from_str(&text).context("reading what kubectl prints")?;
        match answer.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(vec![answer]),
        }
    }

    /// Applies a manifest.
    pub(crate) fn apply(&self, text: &str) -> anyhow::Result<()> {
        use std::io::Write as _;
        let mut command = self.kubectl();
        command.args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().context("running kubectl")?;
        child.stdin.take().context("the input of kubectl")?.write_all(text.as_bytes())?;
        let status = child.wait()?;
        ensure!(status.success(), "kubectl apply ended with {status}");
        Ok(())
    }
}

/// Asks again until it is so, or fails after a while.
pub(crate) fn until(
    what: &str,
    patience: Duration,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let end = Instant::now() + patience;
    loop {
        let answer = is_so();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > end {
            answer.with_context(|| format!("waiting until {what}"))?;
            bail!("after {} s it is still not so that {what}", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}
