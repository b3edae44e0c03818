//! Allocators and agents.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::Value;
use tenure_lab::cluster::{NAMESPACE, agent_token, create_node};
use tenure_lab::{Daemon, Front, free_port};

use super::Cluster;
use crate::lab::{policies, until};

/// Lines of a process's log that are shown when its test fails.
const LAST_WORDS: usize = 120;

/// A process of ours.
pub struct Process {
    pub daemon: Option<Daemon>,
    role: &'static str,
    pub(super) folder: PathBuf,
}

// === impl Cluster ===

impl Cluster {
    /// Starts allocator number so and so, or starts it again.
    pub fn start_allocator(&mut self, number: usize) {
        let config = self.world().server.kubeconfig("tenure-allocator");
        self.start_allocator_with(number, &config);
    }

    /// The same, with something between it and the API server.
    pub fn start_allocator_behind(&mut self, number: usize, front: &Front) {
        let config = self.world().server.kubeconfig_through("tenure-allocator", front);
        self.start_allocator_with(number, &config);
    }

    fn start_allocator_with(&mut self, number: usize, kubeconfig: &Value) {
        let folder = self.folder.path().join(format!("a{number}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("kubeconfig"), kubeconfig.to_string()).unwrap();
        if number == self.allocators.len() {
            let port = free_port();
            let mut text = self.common(&folder);
            let _ = write!(
                text,
                "[allocator]\nlisten = \"127.0.0.1:{port}\"\nname = \"a{number}\"\n[reclaim]\nsweep = \"1s\"\n[nodes]\nlostAfter = \"10s\"\n"
            );
            fs::write(folder.join("tenured.toml"), text).unwrap();
            fs::write(folder.join("port"), port.to_string()).unwrap();
            self.allocators.push(Process { daemon: None, role: "allocator", folder });
        }
        self.allocators[number].launch();
    }

    /// Waits until every allocator that runs serves.
    pub fn serving(&self) {
        for allocator in self.allocators.iter().filter(|one| one.daemon.is_some()) {
            until("the allocator serves", || {
                allocator.check();
                std::os::unix::net::UnixStream::connect(allocator.path("admin.sock")).is_ok()
            });
        }
    }

    /// The Node and its lease, and the Pod of its agent with its token.
    pub fn add_node(&mut self, node: &str) {
        let ports: Vec<u16> = self.allocators.iter().map(Process::port).collect();
        self.add_node_with(node, &ports);
    }

    /// The same, where the agent is told of these ports only: of some allocators, or of cables to them.
    pub fn add_node_with(&mut self, node: &str, ports: &[u16]) {
        let folder = self.folder.path().join(node);
        fs::create_dir_all(&folder).unwrap();
        let config = self.world().server.kubeconfig("tenure-agent");
        fs::write(folder.join("kubeconfig"), config.to_string()).unwrap();
        let token = self.wait(async {
            let client = self.client();
            create_node(&client, node).await;
            agent_token(&client, node).await
        });
        fs::write(folder.join("token"), token).unwrap();
        let addresses: Vec<_> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let mut text = self.common(&folder);
        let _ = write!(
            text,
            "[agent]\nallocators = [{}]\ntoken = \"{}\"\n[cni]\nsocket = \"{}\"\nspool = \"{}\"\n[reclaim]\nsweep = \"1s\"\n",
            addresses.join(", "),
            folder.join("token").display(),
            folder.join("cni.sock").display(),
            folder.join("spool").display(),
        );
        fs::write(folder.join("tenured.toml"), format!("node = \"{node}\"\n{text}")).unwrap();
        self.agents.insert(node.to_owned(), Process { daemon: None, role: "agent", folder });
    }

    pub fn start_agent(&mut self, node: &str) {
        self.agents.get_mut(node).unwrap().launch();
        self.agent_serves(node);
    }

    /// Starts it as a manifest would that has neither `hostPID` nor the mount of the network namespaces.
    pub fn start_agent_blindfolded(&mut self, node: &str) {
        self.agents.get_mut(node).unwrap().launch_blindfolded();
        self.agent_serves(node);
    }

    /// Another machine takes the place of a node, under its name: a Node of its own, an empty disk, an agent that nobody knows.
    pub fn replace_machine(&mut self, node: &str) {
        self.agents.get_mut(node).unwrap().kill();
        let folder = self.agents[node].folder.clone();
        fs::remove_dir_all(folder.join("state")).unwrap();
        self.remake_node(node);
        let token = self.wait(async {
            let pods = Api::<Pod>::namespaced(self.client(), NAMESPACE);
            let at_once = DeleteParams::default().grace_period(0);
            pods.delete(&format!("agent-{node}"), &at_once).await.unwrap();
            agent_token(&self.client(), node).await
        });
        fs::write(folder.join("token"), token).unwrap();
        self.start_agent(node);
    }

    fn agent_serves(&self, node: &str) {
        let agent = &self.agents[node];
        let socket = agent.folder.join("cni.sock");
        until("the agent serves", || {
            agent.check();
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
    }

    /// Waits until the agent is connected to so many allocators.
    pub fn reached(&self, node: &str, allocators: usize) {
        let agent = &self.agents[node];
        until("the agent reaches the allocators", || {
            agent.check();
            let last = agent.log();
            let last = last.lines().rev().find(|line| line.contains("allocators in reach"));
            last.is_some_and(|line| {
                line.contains(&format!("replicas={allocators}")) && line.contains("leader=")
            })
        });
    }

    /// The allocator that leads, by the word of the API.
    pub fn leader(&self) -> usize {
        let mut found = None;
        until("somebody leads", || {
            let leases = Api::<Lease>::namespaced(self.client(), NAMESPACE);
            let holder = self
                .wait(leases.get_opt("tenure-allocator"))
                .unwrap()
                .and_then(|lease| lease.spec?.holder_identity);
            let number =
                holder.and_then(|name| name.strip_prefix('a')?.split('-').next()?.parse().ok());
            found = number.filter(|number: &usize| {
                self.allocators.get(*number).is_some_and(|a| a.daemon.is_some())
            });
            found.is_some()
        });
        found.unwrap()
    }

    fn common(&self, folder: &Path) -> String {
        // For whoever looks for the reason of a failure.
        let level = std::env::var("TENURE_TEST_LOG")
            .unwrap_or_else(|_| "info,tenure_engine=debug".to_owned());
        format!(
            "stateDir = \"{0}/state\"\npolicyDir = \"{1}\"\n[admin]\nsocket = \"{0}/admin.sock\"\n[cluster]\nkubeconfig = \"{0}/kubeconfig\"\n[log]\nlevel = \"{level}\"\n",
            folder.display(),
            policies().display(),
        )
    }
}

// === impl Process ===

impl Process {
    pub fn launch(&mut self) {
        let arguments = [self.role.to_owned(), "--config".to_owned(), self.path("tenured.toml")];
        let program = Path::new(env!("CARGO_BIN_EXE_tenured"));
        self.daemon = Some(Daemon::start(program, &arguments, &self.folder.join("log")));
    }

    fn launch_blindfolded(&mut self) {
        let alone = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "sh", "-c"];
        let without = "mount -t tmpfs tmpfs /run/netns && exec \"$0\" \"$@\"";
        let program = env!("CARGO_BIN_EXE_tenured");
        let arguments: Vec<String> = alone
            .into_iter()
            .chain([without, program, self.role, "--config"])
            .map(str::to_owned)
            .chain([self.path("tenured.toml")])
            .collect();
        let unshare = Path::new("/usr/bin/unshare");
        self.daemon = Some(Daemon::start(unshare, &arguments, &self.folder.join("log")));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.daemon = None;
        // What runs below another process ends a moment later.
        let socket = self.folder.join("cni.sock");
        until("it is gone", || std::os::unix::net::UnixStream::connect(&socket).is_err());
    }

    pub fn check(&self) {
        let runs = self.daemon.as_ref().is_some_and(Daemon::is_running);
        assert!(runs, "{} ended:\n{}", self.folder.display(), self.last());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub fn last(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// What the admin API answers.
    pub fn admin(&self, path: &str) -> String {
        self.ask("GET", path, "").1
    }

    /// What it answers to any request, with its status.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        crate::lab::http(&self.folder.join("admin.sock"), method, path, body)
    }

    /// A number of its metrics.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics");
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    pub fn port(&self) -> u16 {
        fs::read_to_string(self.folder.join("port")).unwrap().parse().unwrap()
    }
}
