//! The cluster: an API server, two allocators, and an agent on each node.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use serde_json::json;
use tenure_lab::cluster;
use tenure_lab::{ApiServer, Daemon, Options, free_port};
use tokio::runtime::Runtime;

use super::Built;
use super::counters::Counters;
use super::nodes::show_own_boot_id;
use super::process::{Process, get};
use super::rooms;
use super::scale::{Scale, Variant};
use super::usage::Roles;

pub(crate) const ALLOCATORS: usize = 2;

/// A running cluster. In the order of its fields it is dropped.
pub(crate) struct World {
    pub(crate) allocators: Vec<Process>,
    pub(super) agents: Vec<Process>,
    pub(crate) nodes: Vec<String>,
    /// Whether the kubelets renew their node leases.
    pub(super) beats: Arc<AtomicBool>,
    server: ApiServer,
    pub(crate) runtime: Runtime,
    pub(crate) folder: PathBuf,
    /// How often the nodes have booted.
    pub(super) boots: usize,
}

// === impl World ===

impl World {
    pub(crate) fn start(built: &Built, scale: &Scale, variant: Variant) -> Self {
        let mut this = Self::without_agents(built, scale.nodes, variant.specs(scale.pods));
        this.make_nodes(built);
        this.keep_node_leases();
        this.power_on();
        this.wait_for_nodes();
        this
    }

    /// The API server with these pools, and the allocators.
    pub(crate) fn without_agents(
        built: &Built,
        nodes: usize,
        pools: Vec<(String, serde_json::Value)>,
    ) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let server = runtime.block_on(ApiServer::start(Options::default()));
        let folder = built.folder.join("cluster");
        // What was left by an earlier run is another cluster's.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let mut this = Self {
            allocators: Vec::new(),
            agents: Vec::new(),
            nodes: (0..nodes).map(|number| format!("n{number}")).collect(),
            beats: Arc::new(AtomicBool::new(true)),
            server,
            runtime,
            folder,
            boots: 0,
        };
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        this.runtime.block_on(cluster::install(&this.client(), &deploy));
        this.make_pools(pools);
        this.make_allocators(built);
        this
    }

    /// A client that may do everything but write leases.
    pub(crate) fn client(&self) -> Client {
        let _inside = self.runtime.enter();
        self.server.client()
    }

    /// A client that counts as the allocator.
    pub(crate) fn allocator_client(&self) -> Client {
        let _inside = self.runtime.enter();
        Client::try_from(self.server.allocator_config()).unwrap()
    }

    fn make_pools(&self, pools: Vec<(String, serde_json::Value)>) {
        for (name, spec) in pools {
            let pool = json!({"apiVersion": "tenure.dev/v1alpha1", "kind": "IPPool", "metadata": {"name": name}, "spec": spec});
            self.runtime.block_on(cluster::create(&self.client(), pool));
        }
    }

    fn make_allocators(&mut self, built: &Built) {
        for number in 0..ALLOCATORS {
            let folder = self.folder.join(format!("a{number}"));
            let listen = format!("0.0.0.0:{}", free_port());
            let more = format!("[allocator]\nlisten = \"{listen}\"\nname = \"a{number}\"\n");
            self.write_config(built, &folder, "tenure-allocator", &more);
            let config = folder.join("tenured.toml").display().to_string();
            // As `deploy/kubernetes/30-allocator.yaml` starts it.
            let tenured = built.bin.join("tenured").display().to_string();
            let mut arguments = vec!["MALLOC_ARENA_MAX=2".to_owned(), tenured];
            arguments.extend(["allocator".to_owned(), "--config".to_owned(), config]);
            fs::write(folder.join("listen"), &listen).unwrap();
            let mut process =
                Process { daemon: None, program: "/usr/bin/env".into(), arguments, folder };
            process.launch();
            self.allocators.push(process);
        }
        for allocator in &self.allocators {
            let socket = allocator.folder.join("admin.sock");
            allocator.until("the allocator serves", || socket.exists());
            allocator.until("the allocator serves all pools", || {
                let pools = get(&socket, "/v1/pools");
                let pools = pools["items"].as_array().cloned().unwrap_or_default();
                !pools.is_empty() && pools.iter().all(|pool| pool["status"]["size"] != 0)
            });
        }
    }

    pub(super) fn write_config(&self, built: &Built, folder: &Path, account: &str, more: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("kubeconfig"), self.server.kubeconfig(account).to_string()).unwrap();
        let (here, policies) = (folder.display(), built.policies.display());
        let mut text = format!("stateDir = \"{here}/state\"\npolicyDir = \"{policies}\"\n");
        // Keys of the top before the first table.
        let (top, tables) = more.split_at(more.find('[').unwrap_or_default());
        let _ = write!(
            text,
            "{top}[admin]\nsocket = \"{here}/admin.sock\"\n[cluster]\nkubeconfig = \"{here}/kubeconfig\"\n{tables}"
        );
        fs::write(folder.join("tenured.toml"), text).unwrap();
    }

    /// No process of ours: the API server is alone.
    pub(crate) fn stop_ours(&mut self) {
        self.power_off();
        self.allocators.iter_mut().for_each(|allocator| allocator.daemon = None);
    }

    /// Every process of ours still runs.
    pub(crate) fn check(&self) {
        self.allocators.iter().chain(&self.agents).for_each(Process::check);
    }

    pub(crate) fn agent_folders(&self) -> Vec<PathBuf> {
        self.agents.iter().map(|agent| agent.folder.clone()).collect()
    }

    pub(crate) fn roles(&self) -> Roles {
        let pids = |processes: &[Process]| {
            processes.iter().filter_map(|one| one.daemon.as_ref().map(Daemon::pid)).collect()
        };
        let one = |daemon: Option<&Daemon>| daemon.map(Daemon::pid).into_iter().collect();
        BTreeMap::from([
            ("allocators", pids(&self.allocators)),
            ("agents", pids(&self.agents)),
            ("kube-apiserver", one(self.server.server())),
            ("etcd", one(self.server.etcd())),
        ])
    }

    pub(crate) fn counters(&self) -> Counters {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        Counters::parse(&self.runtime.block_on(self.client().request_text(request)).unwrap())
    }

    /// Which container holds which address, as the API says.
    pub(crate) fn held(&self) -> BTreeMap<IpAddr, String> {
        let leases = Api::<DynamicObject>::all_with(self.client(), &cluster::resource("IPLease"));
        let leases = self.runtime.block_on(leases.list(&ListParams::default())).unwrap();
        let bound = |lease: DynamicObject| {
            let spec = &lease.data["spec"];
            let holder = spec["attachment"]["container"].as_str()?.to_owned();
            let address = spec["address"].as_str()?.parse().ok()?;
            (spec["state"] == "Bound").then_some((address, holder))
        };
        leases.into_iter().filter_map(bound).collect()
    }

    /// Warnings and errors in the logs, by their text without particulars, with their count.
    pub(crate) fn complaints(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for words in self.allocators.iter().chain(&self.agents).flat_map(Process::complaints) {
            *found.entry(words).or_default() += 1;
        }
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let keep = std::env::var_os("TENURE_BENCH_KEEP_LOGS").map(PathBuf::from);
        for process in self.allocators.iter_mut().chain(&mut self.agents) {
            process.daemon = None;
            if let (Some(keep), Some(name)) = (&keep, process.folder.file_name()) {
                let _ = fs::create_dir_all(keep);
                let name = format!("{}.log", name.to_string_lossy());
                let _ = fs::copy(process.folder.join("log"), keep.join(name));
            }
        }
        for node in &self.nodes {
            rooms::end(node);
        }
        show_own_boot_id();
    }
}
