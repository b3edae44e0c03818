//! The cluster: an API server, two allocators, and an agent on each node.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::json;
use tenure_lab::cluster::{self, NAMESPACE};
use tenure_lab::{ApiServer, Daemon, Options};
use tokio::runtime::Runtime;

use super::Built;
use super::counters::Counters;
use super::process::{Process, get};
use super::rooms;
use super::scale::{Scale, Variant};
use super::usage::Roles;

const ALLOCATORS: usize = 2;
/// As often as a kubelet does it.
const RENEWALS_APART: Duration = Duration::from_secs(10);
/// Agents of a container network that is not there: theirs is point to point, one /30 for each node.
const FABRIC: &str = "10.254";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A running cluster. In the order of its fields it is dropped.
pub(crate) struct World {
    allocators: Vec<Process>,
    agents: Vec<Process>,
    pub(crate) nodes: Vec<String>,
    beats: Arc<AtomicBool>,
    server: ApiServer,
    pub(crate) runtime: Runtime,
    folder: PathBuf,
    boots: usize,
}

// === impl World ===

impl World {
    pub(crate) fn start(built: &Built, scale: &Scale, variant: Variant) -> Self {
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
            nodes: (0..scale.nodes).map(|number| format!("n{number}")).collect(),
            beats: Arc::new(AtomicBool::new(true)),
            server,
            runtime,
            folder,
            boots: 0,
        };
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        this.runtime.block_on(cluster::install(&this.client(), &deploy));
        this.make_pools(scale, variant);
        this.make_allocators(built);
        this.make_nodes(built);
        this.keep_node_leases();
        this.power_on();
        this.wait_for_nodes();
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

    fn make_pools(&self, scale: &Scale, variant: Variant) {
        for (name, spec) in variant.specs(scale.pods) {
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
            let arguments = vec!["allocator".to_owned(), "--config".to_owned(), config];
            fs::write(folder.join("listen"), &listen).unwrap();
            let mut process =
                Process { daemon: None, program: built.bin.join("tenured"), arguments, folder };
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

    /// Each with its own network namespace, so that it sees the ends of its own containers only.
    fn make_nodes(&mut self, built: &Built) {
        let client = self.client();
        let bundle = self.runtime.block_on(async {
            let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
            let map = maps.get("tenure-allocator-ca").await.unwrap();
            map.data.unwrap_or_default().into_values().collect::<String>()
        });
        let ports: Vec<_> = self.allocators.iter().map(Process::port).collect();
        for (number, node) in self.nodes.clone().into_iter().enumerate() {
            link(number, &node);
            let folder = self.folder.join(&node);
            let allocators: Vec<_> =
                ports.iter().map(|port| format!("\"{FABRIC}.{number}.1:{port}\"")).collect();
            let path = |name: &str| folder.join(name).display().to_string();
            let more = format!(
                "[agent]\nallocators = [{}]\ntoken = \"{}\"\nca = \"{}\"\n[cni]\nsocket = \"{}\"\nspool = \"{}\"\n",
                allocators.join(", "),
                path("token"),
                path("ca.crt"),
                path("cni.sock"),
                path("spool"),
            );
            let more = format!("node = \"{node}\"\n{more}");
            self.write_config(built, &folder, "tenure-agent", &more);
            let token = self.runtime.block_on(async {
                cluster::create_node(&client, &node).await;
                cluster::agent_token(&client, &node).await
            });
            fs::write(folder.join("token"), token).unwrap();
            fs::write(folder.join("ca.crt"), &bundle).unwrap();
            let mut arguments = vec![format!("--net={}", rooms::path(&node).display())];
            arguments.push(built.bin.join("tenured").display().to_string());
            arguments.extend(["agent".to_owned(), "--config".to_owned(), path("tenured.toml")]);
            let program = PathBuf::from("/usr/bin/nsenter");
            self.agents.push(Process { daemon: None, program, arguments, folder });
        }
    }

    fn write_config(&self, built: &Built, folder: &Path, account: &str, more: &str) {
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

    /// What the kubelets do beside their pods.
    fn keep_node_leases(&self) {
        let (client, nodes, beats) = (self.client(), self.nodes.clone(), self.beats.clone());
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease"));
        let api = Api::<DynamicObject>::namespaced_with(client, "kube-node-lease", &resource);
        self.runtime.spawn(async move {
            for count in 1.. {
                tokio::time::sleep(RENEWALS_APART).await;
                for node in nodes.iter().filter(|_| beats.load(Ordering::Relaxed)) {
                    let spec = cluster::node_lease(node, count)["spec"].clone();
                    let patch = Patch::Merge(json!({"spec": spec}));
                    let _ = api.patch(node, &PatchParams::default(), &patch).await;
                }
            }
        });
    }

    /// Every node loses its power: no agent, and its kubelet says nothing.
    pub(crate) fn power_off(&mut self) {
        self.beats.store(false, Ordering::Relaxed);
        self.agents.iter_mut().for_each(|agent| agent.daemon = None);
    }

    /// The nodes boot: with a boot id of their own and what their disks have kept.
    pub(crate) fn power_on(&mut self) {
        self.boots += 1;
        let file = self.folder.join(format!("boot-{}", self.boots));
        fs::write(
            &file,
            format!("{:08x}-b007-4000-8000-{:012x}\n", self.boots, std::process::id()),
        )
        .unwrap();
        if self.boots > 1 {
            let _ = rustix::mount::unmount(BOOT_ID, rustix::mount::UnmountFlags::DETACH);
        }
        rustix::mount::mount_bind(&file, BOOT_ID).unwrap();
        for agent in &mut self.agents {
            let _ = fs::remove_file(agent.folder.join("cni.sock"));
            agent.launch();
        }
        self.beats.store(true, Ordering::Relaxed);
    }

    /// Waits until each agent knows both allocators and which one leads.
    fn wait_for_nodes(&self) {
        for agent in &self.agents {
            agent.until("the agent reaches the allocators", || {
                let log = agent.log();
                let last = log.lines().rev().find(|line| line.contains("allocators in reach"));
                let replicas = format!("replicas={ALLOCATORS}");
                last.is_some_and(|line| line.contains(&replicas) && line.contains("leader="))
            });
        }
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
        let _ = rustix::mount::unmount(BOOT_ID, rustix::mount::UnmountFlags::DETACH);
    }
}

/// The namespace of a node, and the cable to where the allocators are.
fn link(number: usize, node: &str) {
    let (here, there) = (format!("to-{node}"), "eth0");
    rooms::ip_batch(&format!(
        "netns add {node}\n\
         link add {here} type veth peer name {there} netns {node}\n\
         address add {FABRIC}.{number}.1/30 dev {here}\n\
         link set {here} up\n\
         netns exec {node} ip link set lo up\n\
         netns exec {node} ip address add {FABRIC}.{number}.2/30 dev {there}\n\
         netns exec {node} ip link set {there} up\n"
    ));
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
